"""`vedit bench`: measure models and methods."""

from __future__ import annotations

import click

from vedit.cli import LazyGroup

OWN = {
    "model": "Measure the embedded model against its gates.",
    "motion": "Measure the clips of the embedded generator.",
    "rewrite": "Measure rewritten prompts on frozen pairs.",
    "scenes": "Score editing methods where the true edited clip is known.",
}


@click.group(cls=LazyGroup, table=OWN, modules={name: f"vedit.cli.bench_{name}" for name in OWN})
def command() -> None:
    """Measure models and methods where the right answer is known."""
