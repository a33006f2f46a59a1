"""`vedit score blind`: a sheet on which people compare two methods."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import echo, examples

EXAMPLES = (
    ("vedit score blind glp.json p2p.json -o sheet.html", "the sheet, and its key beside it"),
    ("vedit score blind glp.json p2p.json -o sheet.html --limit 20", "twenty pairs, drawn at random"),
)


@click.command(
    help=f"""Make a sheet on which people compare two methods blind.

The page shows the two edits of each video side by side with their source and prompt, in a random order, on
random sides and without names, and saves what was chosen as a file. It loads and sends nothing. Which side
is which stands in the key alone, which whoever answers should not have.

{examples(EXAMPLES)}"""
)
@click.argument("reports", nargs=-1, required=True, metavar="A.json B.json")
@click.option("-o", "--output", required=True, metavar="FILE.html", help="Write the sheet here.")
@click.option("--key", metavar="FILE.json", help="Write the key here; OUTPUT.key.json by default.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many pairs, drawn at random.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Seed of order and sides.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace outputs that exist.")
def command(**given: Any) -> None:
    from vedit.jobs.score.reports import blind_sheet
    from vedit.jobs.score.request import BlindRequest

    sheet, key, pairs = blind_sheet(BlindRequest(**given))
    echo(f"{sheet}: {pairs} {'pair' if pairs == 1 else 'pairs'}; its key is {key}", err=True)
