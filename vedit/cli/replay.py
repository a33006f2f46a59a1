"""`vedit replay`: repeat an edit or a generated clip from its run record."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from vedit.cli.common import Voice, examples, voice_options

if TYPE_CHECKING:
    from vedit.jobs.recorded import Recorded

EXAMPLES = (
    (
        "vedit replay blue.gif -o again.gif",
        "the same edit, or generated clip: the same bytes, on the same device with the same versions",
    ),
    ("vedit replay blue.gif -o again.gif --input clip.gif", "with the source where it is now"),
)


@click.command(
    help=f"""Repeat an edit or a generated clip from the run record beside its output, or from the recipe that
the output carries.

The model must be the one recorded, by the hash of its weights, and the source by the hash of its
file. Versions that differ are named, since they may change the last bits.

A recipe inside a file, or a record that your vedit did not write, may come from somebody else. What
it would open is shown; files outside its folder and models that are not in the cache need --yes, or
the option that names them.

{examples(EXAMPLES)}"""
)
@click.argument("made", metavar="OUTPUT")
@click.option("-o", "--output", metavar="FILE", required=True, help="Write the repetition here.")
@click.option(
    "--input",
    "source",
    metavar="FILE",
    help="The source clip, where it is now; - is standard input. One with other contents is edited as well.",
)
@click.option("--model", metavar="NAME", help="The model, where it is now: a folder, or a Hub id.")
@click.option(
    "--mask", multiple=True, metavar="MASK", help="The masks of the edit, instead of those recorded."
)
@click.option(
    "--accept-licence",
    is_flag=True,
    help="Accept the licence of a released editor's weights, which are fetched only then.",
)
@click.option("--yes", is_flag=True, help="Open and fetch all that the record names, whoever wrote it.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace the output if it exists.")
@voice_options()
def command(
    made: str,
    output: str,
    source: str | None,
    model: str | None,
    mask: tuple[str, ...],
    accept_licence: bool,
    yes: bool,
    overwrite: bool,
    quiet: bool,
    progress: str,
) -> None:
    from vedit.jobs.extras import need
    from vedit.jobs.record import find_record
    from vedit.jobs.record_shape import check_record
    from vedit.media.atomic import check_output
    from vedit.media.formats import output_format

    found = find_record(made)
    named = named_by_user(source, model, mask)
    found = found.with_named(named)
    record = found.record
    output_format(output)
    check_output(output, tuple(path for _, path in found.opens()), True if overwrite else None)
    need("diffusion")
    from vedit.jobs.generate.run import may_be_repeated
    from vedit.jobs.replay import replay

    may_be_repeated(record)
    check_record(record, found.name)
    voice = Voice(quiet, progress)
    if not found.is_own and not yes:
        ask(found, named, voice)
    replay(
        record,
        output,
        name=found.name,
        is_other_source="input" in named,
        accept_licence=accept_licence,
        may_fetch=found.is_own or yes or "model" in named,
        warn=voice.warn,
        watch=voice.steps,
    )


def named_by_user(source: str | None, model: str | None, mask: tuple[str, ...]) -> dict[str, Any]:
    """What takes the place of the record's own, by its key there."""
    import os

    if model is not None and os.path.exists(model) and not os.path.isabs(model):
        model = os.path.join(".", model)  # a folder, though it may be spelt like a Hub id
    given = {"input": source, "model": model, "edit_mask": list(mask) or None}
    return {key: value for key, value in given.items() if value is not None}


def ask(found: Recorded, named: dict[str, Any], voice: Voice) -> None:
    """Show what a record that may be a stranger's would open and fetch; ask, or refuse, where that leads
    outside its folder.

    Raises InputError.
    """
    from vedit.errors import InputError
    from vedit.jobs.replay import steps_outside

    told, outside = steps_outside(found, set(named))
    for line in told:
        voice.warn(line)
    if not outside:
        return
    if sys.stdin.isatty() and sys.stderr.isatty():
        sys.stderr.write("".join(f"vedit: it would {step}\n" for step in outside) + "Go on? [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return
    raise InputError(
        f"{found.name}: this record may be somebody else's, and it would {'; '.join(outside)}.",
        "A record opens files of its own folder and models of the cache without asking.",
        "If that is right: add --yes, or name them with --input, --model and --mask",
    )
