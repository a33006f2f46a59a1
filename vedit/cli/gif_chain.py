"""`vedit gif chain`: several stages in one process, decoded and quantised once."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import examples, manner_options, output_options
from vedit.cli.gif import clip_options, metadata_options, palette_options, run_stages
from vedit.errors import UsageError

EXAMPLES = (
    (
        'vedit gif chain "crop:left=10%,right=10%; resize:scale=50%; speed:2" in.gif -o out.gif',
        "crop, then shrink, then play twice as fast",
    ),
    ("vedit gif chain -f steps.txt *.gif -O done", "the stages in a file, one per line, over many clips"),
    ("vedit gif chain --preset web-small in.gif -o out.gif", "the stages of a preset"),
)


@click.command(
    help=f"""Run several stages in one process, in the order written.

CHAIN is a line such as "crop:left=10%,right=10%; resize:scale=50%; rotate:90; speed:2":
stages with ; between them, each with its options after a colon. Options and defaults are those
of the single commands. The result shows the same frames as the single commands one after
another, but is decoded once and gets new colours at most once.

{examples(EXAMPLES)}"""
)
@click.argument("arguments", nargs=-1, metavar="[CHAIN] [INPUT]...")
@click.option(
    "-f",
    "--file",
    "file",
    metavar="FILE",
    help="Read the stages from a file, one per line; lines that begin with # are comments.",
)
@click.option("--preset", metavar="NAME", help="Take the stages of a preset (see: vedit presets list).")
@output_options
@metadata_options
@palette_options
@clip_options
@manner_options
def command(arguments: tuple[str, ...], file: str | None, preset: str | None, **common: Any) -> None:
    from vedit.jobs.media.chain import parse_chain, read_chain

    inputs = list(arguments)
    if file and preset:
        raise UsageError("-f and --preset were given together.", "Give one of them, or a CHAIN.")
    if file:
        specs = read_chain(file)
    elif preset:
        from vedit.presets import load_chain

        specs = load_chain(preset)
    elif inputs:
        specs = parse_chain(inputs.pop(0))
    else:
        raise UsageError(
            "no chain given.", "Name the stages first, then the inputs.", f"Example: {EXAMPLES[0][0]}"
        )
    run_stages(inputs, specs, **common)
