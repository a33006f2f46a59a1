"""`vedit models info`: what a model is."""

from __future__ import annotations

import click

from vedit.cli.common import echo, examples, print_json

EXAMPLES = (
    ("vedit models info shapes", "parts, sizes and noise schedule of the embedded model"),
    ("vedit models info shapes --sites", "the attention and residual sites that methods can name"),
)


@click.command(
    help=f"""Tell what a model is: parts, sizes, noise schedule, and the sites that methods can name.

{examples(EXAMPLES)}"""
)
@click.argument("name", metavar="MODEL")
@click.option("--revision", metavar="REV", help="Branch, tag or commit of a Hub model.")
@click.option("--sites", is_flag=True, help="List attention and residual sites in forward order.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(name: str, revision: str | None, sites: bool, as_json: bool) -> None:
    from vedit.jobs.extras import need
    from vedit.jobs.models import describe

    need("diffusion")
    facts = describe(name, revision, sites)
    if as_json:
        print_json(facts)
        return
    listed = facts.pop("sites", [])
    for key, value in facts.items():
        echo(f"{key:<14}{value}")
    for site in listed:
        echo(
            f"{site['layer'] if site['layer'] >= 0 else '':>3} {site['kind']:<6} 1/{site['scale']} "
            f" {site['path']}"
        )
