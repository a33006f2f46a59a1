"""`vedit models list`: the models on this machine."""

from __future__ import annotations

import click

from vedit.cli.common import echo, examples, print_json

EXAMPLES = (
    ("vedit models list", "the embedded model, and those in the Hub cache that these methods can use"),
)


@click.command(
    "list",
    help=f"""List the models on this machine that `vedit edit` can use.

{examples(EXAMPLES)}""",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per model.")
def command(as_json: bool) -> None:
    from vedit.jobs.models import list_models

    for entry in list_models():
        if as_json:
            print_json(entry._asdict())
        else:
            echo(f"{entry.name:<48} {entry.size / 2**20:9.1f} MiB  {entry.note}")
