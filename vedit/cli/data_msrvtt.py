"""`vedit data msrvtt`: MSR-VTT from the user's own copy."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import examples
from vedit.cli.data import cut_of, cut_options, run_of, set_options, tell
from vedit.errors import UsageError

EXAMPLES = (
    ("vedit data msrvtt train_val_videodatainfo.json TrainValVideo OUT --size 64 --frames 10 --i-have-rights", "as seed and base project use it"),
    ("vedit data msrvtt msrvtt.csv videos OUT --split train --captions all --limit 500 --i-have-rights", "all captions of each clip"),
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
@click.option("--captions", type=click.Choice(["first", "all", "random"]), default="first", show_default=True, help="Which of the 20 captions of a clip.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Only clips of this split.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of random captions.")
@click.option("--i-have-rights", is_flag=True, help="Say that you may use these clips.")
@set_options
def command(annotation: str, clips: str, folder: str, captions: str, split: str | None, seed: int, i_have_rights: bool, **given: Any) -> None:
    from vedit.app.data.sets import msr_vtt

    if not i_have_rights:
        raise UsageError(
            "MSR-VTT's clips are third-party web videos; no page seen states a licence.", "Use them only if you may.", "If you may, add --i-have-rights"
        )
    run, voice = run_of(folder, given)
    tell(msr_vtt(annotation, clips, run, cut_of(given), captions=captions, split=split, seed=seed), voice, given["as_json"])
