"""`vedit data v2vbench`: a benchmark of editing, as clips with prompts and edits."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import examples
from vedit.cli.data import build, cut_options, set_options

EXAMPLES = (
    ("vedit data v2vbench V2VBench OUT", "a copy of the benchmark: its YAML list and frames/ID/NN.png"),
    (
        (
            "vedit data v2vbench clips OUT --list thesis.toml --frames 8 --stride 3 --size 512 --fps 8"
            " --one-edit"
        ),
        "a set as in the thesis, from your own list",
    ),
)


@click.command(
    help=f"""Make clips and edits.jsonl of V2VBench, or of a list like it.

SRC holds the clips as files or as folders of pictures, named by the video_id of the list. The list
is YAML, TOML or JSON: data = [{{video_id, prompt, edit: [{{prompt, kind}}], stride, start, offset}}].
Each clip's prompt becomes NAME.txt, its edits rows of edits.jsonl: video, source_prompt,
target_prompt, kind; suite.toml is the index that vedit score reads. The
benchmark's card states no licence for its clips.

{examples(EXAMPLES)}"""
)
@click.argument("source", metavar="SRC")
@click.argument("folder", metavar="OUT")
@click.option(
    "--list", "listing", metavar="FILE", help="The list; the only YAML, TOML or JSON file of SRC by default."
)
@cut_options
@click.option(
    "--stride",
    type=click.IntRange(1),
    metavar="N",
    help="Take every so many-th frame instead of even times; the list's own goes before it.",
)
@click.option("--one-edit", is_flag=True, help="Keep one edit a clip, drawn by its name and the seed.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of --one-edit.")
@set_options
def command(as_json: bool, quiet: bool, progress: str, **given: Any) -> None:
    from vedit.jobs.data.request import BenchmarkRequest

    build(BenchmarkRequest(**given), as_json=as_json, quiet=quiet, progress=progress)
