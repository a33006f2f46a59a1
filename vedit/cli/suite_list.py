"""`vedit suite list`: the suites there are."""

from __future__ import annotations

import click

from vedit.cli.common import echo, examples, print_json

EXAMPLES = (("vedit suite list", "their names, and what each is"),)


@click.command(
    help=f"""List the suites there are.

{examples(EXAMPLES)}"""
)
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def command(as_json: bool) -> None:
    from vedit.jobs.suite.run import names

    found = names()
    if as_json:
        print_json(found)
        return
    width = max(map(len, found))
    for name, summary in found.items():
        echo(f"{name.ljust(width)}  {summary}")
