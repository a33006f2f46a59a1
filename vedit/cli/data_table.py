"""`vedit data table`: the clips that a table names."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import examples
from vedit.cli.data import build, cut_options, set_options

EXAMPLES = (
    (
        (
            "vedit data table results.csv videos OUT --id-column videoid --caption-column name --size 256"
            " --frames 16"
        ),
        "a table in WebVid's form with your clips",
    ),
    ("vedit data table captions.jsonl clips OUT", "columns id and caption"),
)


@click.command(
    help=f"""Make a data set of the clips that a table names, with the captions of its rows.

The table is .csv, .tsv or .jsonl; rows with the same id are captions of one clip. A clip is found in
VIDEODIR, or in folders in it, by its name without suffix. Nothing is downloaded.

{examples(EXAMPLES)}"""
)
@click.argument("source", metavar="TABLE")
@click.argument("clips", metavar="VIDEODIR")
@click.argument("folder", metavar="OUT")
@click.option(
    "--id-column", default="id", show_default=True, metavar="NAME", help="Column with the clip's name."
)
@click.option(
    "--caption-column", default="caption", show_default=True, metavar="NAME", help="Column with its caption."
)
@cut_options
@set_options
def command(as_json: bool, quiet: bool, progress: str, **given: Any) -> None:
    from vedit.jobs.data.request import ListedRequest

    build(ListedRequest(**given), as_json=as_json, quiet=quiet, progress=progress)
