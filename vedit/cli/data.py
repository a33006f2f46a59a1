"""`vedit data`: data sets for training and benchmarks from one's own files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vedit.cli import LazyGroup
from vedit.cli.common import Voice, options, print_json, voice_options

if TYPE_CHECKING:
    from vedit.jobs.data.request import SetRequest

OWN = {
    "check": "Read a data set again and tell what is wrong with it.",
    "clip": "Cut one clip out of a video, with its caption.",
    "edit-pairs": "Clips before and after an edit, to train an instruction editor on.",
    "folder": "Make a data set of the clips in a folder.",
    "moving-mnist": "Moving MNIST, from the public file or drawn here.",
    "msrvtt": "MSR-VTT from your own copy.",
    "table": "Make a data set of the clips that a table names.",
    "v2vbench": "Clips and edits of V2VBench, or of a list like it.",
}


@click.group(
    cls=LazyGroup, table=OWN, modules={name: f"vedit.cli.data_{name.replace('-', '_')}" for name in OWN}
)
def command() -> None:
    """Make data sets for training and benchmarks from your own files.

    A data set is a folder of NAME.gif with NAME.txt beside it, one caption a line, and
    manifest.jsonl with what each clip is. A call that was stopped goes on where it was when it is
    made again; clips that cannot be read are named and left out, and the exit code is 8.
    """


set_options = options(
    click.option(
        "--to",
        type=click.Choice(["gif", "mp4"]),
        default="gif",
        show_default=True,
        help="Format of the clips.",
    ),
    click.option(
        "--limit",
        type=click.IntRange(1),
        metavar="N",
        help="Take at most so many clips; a later call without it adds the rest.",
    ),
    click.option(
        "-j",
        "--jobs",
        type=click.IntRange(1),
        envvar="VEDIT_JOBS",
        metavar="N",
        help="Threads; as many as there are cores by default.",
    ),
    click.option(
        "-y", "--overwrite", is_flag=True, help="Make it anew where the folder holds one with other settings."
    ),
    click.option("--json", "as_json", is_flag=True, help="Print what came of it as one JSON object."),
    voice_options(),
)
cut_options = options(
    click.option(
        "--frames",
        type=click.IntRange(1),
        metavar="N",
        help="Frames of each clip, at even times over its length; all by default.",
    ),
    click.option(
        "--size",
        metavar="S|WxH",
        help="Side of the square cut from the middle, or width and height without cutting.",
    ),
    click.option(
        "--fps",
        metavar="R",
        help="Frames a second that the clips play at; the time they stand for by default.",
    ),
)


def build(request: SetRequest, *, as_json: bool, quiet: bool, progress: str) -> None:
    """Make a data set and print what came of it; a PartialFailure when clips could not be read."""
    from vedit.jobs.data.request import plan

    voice = Voice(quiet, progress)
    summary = plan(request).run(voice)
    if as_json:
        print_json({**summary._asdict(), "failed": list(summary.failed)})
    else:
        voice.say(summary.line)
    summary.check()
