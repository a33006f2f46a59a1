"""`vedit replay`: repeat an edit or a generated clip from its run record."""

from __future__ import annotations

import click

from vedit.cli.common import Voice, examples

EXAMPLES = (("vedit replay blue.gif -o again.gif", "the same edit, or generated clip: the same bytes, on the same device with the same versions"),)


@click.command(
    help=f"""Repeat an edit or a generated clip from the run record beside its output, or from the recipe that the output carries.

The model must be the one recorded, by the hash of its weights. Versions that differ are named,
since they may change the last bits.

{examples(EXAMPLES)}"""
)
@click.argument("made", metavar="OUTPUT")
@click.option("-o", "--output", metavar="FILE", required=True, help="Write the repetition here.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace the output if it exists.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no warnings.")
@click.option("--progress", type=click.Choice(["auto", "jsonl", "none"]), default="auto", help="Progress on standard error.")
def command(made: str, output: str, overwrite: bool, quiet: bool, progress: str) -> None:
    from vedit.app.extras import need
    from vedit.app.record import read_record
    from vedit.media.atomic import check_output
    from vedit.media.formats import output_format

    record = read_record(made)
    output_format(output)
    check_output(output, (record.get("input", ""),), True if overwrite else None)
    need("diffusion")
    from vedit.app.replay import replay

    voice = Voice(quiet, progress)
    replay(record, output, warn=voice.warn, watch=voice.steps)
