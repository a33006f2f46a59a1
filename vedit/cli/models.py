"""`vedit models`: the models on this machine."""

from __future__ import annotations

import click

from vedit.cli import LazyGroup

OWN = {
    "export": "Write a trained generator as a folder for use.",
    "fetch": "Download a model from the Hub into the cache.",
    "info": "Tell what a model is: parts, sizes, schedule, attention sites.",
    "list": "List the models on this machine.",
    "pack": "Pack a run of the embedded model into a model folder.",
}


@click.group(cls=LazyGroup, table=OWN, modules={name: f"vedit.cli.models_{name}" for name in OWN})
def command() -> None:
    """List, fetch and look into models; make model folders from training runs."""
