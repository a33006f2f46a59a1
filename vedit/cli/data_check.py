"""`vedit data check`: what is wrong with a data set."""

from __future__ import annotations

import click

from vedit.cli.common import Voice, echo, examples, print_json
from vedit.errors import CheckFailed

EXAMPLES = (
    ("vedit data check digits", "read every clip again; exit 1 when something is wrong"),
    ("vedit data check digits --json", "frames, sizes, captions and faults as one JSON object"),
)


@click.command(
    help=f"""Read a data set again: pairs, pixels, hashes, captions.

Any folder of NAME.gif with NAME.txt will do; with a manifest, files are held against it too.

{examples(EXAMPLES)}"""
)
@click.argument("folder", metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="Only the exit code.")
@click.option(
    "--progress",
    type=click.Choice(["auto", "jsonl", "none"]),
    default="auto",
    help="Progress on standard error.",
)
def command(folder: str, as_json: bool, quiet: bool, progress: str) -> None:
    from vedit.jobs.data.check import check_set

    voice = Voice(quiet, progress)
    found = check_set(folder, watch=voice.steps)
    if as_json:
        print_json({**found._asdict(), "faults": [list(fault) for fault in found.faults]})
    else:
        voice.say(found.line)
    for name, fault in found.faults[:20] if not (quiet or as_json) else ():
        echo(f"{name}: {fault}")
    if found.faults:
        more = "" if as_json or len(found.faults) <= 20 else ", the first 20 of which are named above"
        raise CheckFailed(f"{folder}: {len(found.faults)} faults{more}.")
