"""`vedit models`: the models on this machine."""

from __future__ import annotations

import click

from vedit.cli import LazyGroup

OWN = {"pack": "Pack a training run into a model folder."}


@click.group(cls=LazyGroup, table=OWN, modules={name: f"vedit.cli.models_{name}" for name in OWN})
def command() -> None:
    """Make model folders from training runs."""
