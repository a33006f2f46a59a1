"""`vedit suite`: a paper's runs and tables by one command."""

from __future__ import annotations

import click

from vedit.cli import LazyGroup

OWN = {
    "list": "List the suites there are.",
    "run": "Run a suite, or go on with one.",
    "show": "Print what a suite does.",
}


@click.group(cls=LazyGroup, table=OWN, modules={name: f"vedit.cli.suite_{name}" for name in OWN})
def command() -> None:
    """Make edits by several methods, score them, and print a paper's tables."""
