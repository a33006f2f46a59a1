"""`vedit data table`: the clips that a table names."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import examples
from vedit.cli.data import cut_of, cut_options, run_of, set_options, tell

EXAMPLES = (
    ("vedit data table results.csv videos OUT --id-column videoid --caption-column name --size 256 --frames 16", "a table in WebVid's form with your clips"),
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
@click.option("--id-column", default="id", show_default=True, metavar="NAME", help="Column with the clip's name.")
@click.option("--caption-column", default="caption", show_default=True, metavar="NAME", help="Column with its caption.")
@cut_options
@set_options
def command(source: str, clips: str, folder: str, id_column: str, caption_column: str, **given: Any) -> None:
    from vedit.app.data.sets import own_table

    run, voice = run_of(folder, given)
    tell(own_table(source, clips, run, cut_of(given), id_column=id_column, caption_column=caption_column), voice, given["as_json"])
