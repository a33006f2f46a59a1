"""`vedit env`: what a bug report needs to say about the machine."""

from __future__ import annotations

import click

from vedit.cli.common import echo, examples, print_json

EXAMPLES = (
    ("vedit env", "versions, devices, ffmpeg and caches"),
    ("vedit env --json", "the same for a program"),
)


@click.command(
    help=f"""Show versions, devices, ffmpeg and caches, for bug reports.

{examples(EXAMPLES)}"""
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> None:
    from vedit.jobs.env import environment

    facts = environment()
    if as_json:
        print_json(facts)
        return
    for section, entries in facts.items():
        echo(section)
        for key, value in entries.items():
            echo(f"  {key:<22}{value}")
