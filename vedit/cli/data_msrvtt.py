"""`vedit data msrvtt`: MSR-VTT from the user's own copy."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import examples
from vedit.cli.data import build, cut_options, set_options

EXAMPLES = (
    (
        (
            "vedit data msrvtt train_val_videodatainfo.json TrainValVideo OUT --size 64 --frames 10"
            " --i-have-rights"
        ),
        "as seed and base project use it",
    ),
    (
        "vedit data msrvtt msrvtt.csv videos OUT --split train --captions all --limit 500 --i-have-rights",
        "all captions of each clip",
    ),
)


@click.command(
    help=f"""Make a data set of MSR-VTT: an annotation file and a folder of its clips.

The annotation is the original JSON (videos, sentences) or a .csv or .jsonl table with the columns
video_id and caption. The clips are third-party web videos without a stated licence: whether you
may use them is for you to know, and --i-have-rights says that you do. Nothing is downloaded.

{examples(EXAMPLES)}"""
)
@click.argument("annotation", metavar="ANNOTATION")
@click.argument("clips", metavar="VIDEODIR")
@click.argument("folder", metavar="OUT")
@cut_options
@click.option(
    "--captions",
    type=click.Choice(["first", "all", "random"]),
    default="first",
    show_default=True,
    help="Which of the 20 captions of a clip.",
)
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Only clips of this split.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of random captions.")
@click.option("--i-have-rights", is_flag=True, help="Say that you may use these clips.")
@set_options
def command(as_json: bool, quiet: bool, progress: str, **given: Any) -> None:
    from vedit.jobs.data.request import MsrVttRequest

    build(MsrVttRequest(**given), as_json=as_json, quiet=quiet, progress=progress)
