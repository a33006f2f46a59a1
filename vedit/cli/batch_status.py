"""`vedit batch status`: how far a batch is."""

from __future__ import annotations

import time

import click

from vedit.cli.common import echo, examples, print_json

EXAMPLES = (
    ("vedit batch status out", "how far it is, from any machine that sees the folder"),
    ("vedit batch status out --watch", "again every two seconds, until nothing is open"),
)


@click.command(
    help=f"Tell how far the batch in a folder is, also while another call is at it.\n\n{examples(EXAMPLES)}"
)
@click.argument("out", metavar="DIR")
@click.option("--watch", is_flag=True, help="Tell again when it has changed, until nothing is open.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(out: str, watch: bool, as_json: bool) -> None:
    from vedit.jobs.batch.status import status

    told = None
    while True:
        now = status(out)
        if now != told:
            print_json(now.json()) if as_json else echo(str(now))
        told = now
        if not watch or not now.open:
            return
        time.sleep(2)
