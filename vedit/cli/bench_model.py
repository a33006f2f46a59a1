"""`vedit bench model`: measure the embedded model against its gates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from vedit.cli.common import Decorator, Voice, echo, examples, options, print_json
from vedit.errors import CheckFailed

if TYPE_CHECKING:
    from pathlib import Path

    from vedit.jobs.bench.model import Figure

EXAMPLES = (
    ("vedit bench model", "the model that ships with vedit"),
    ("vedit bench model RUN/package --store", "write the figures into the folder's training.json"),
    ("vedit bench model --samples 60 --strict", "a quick look; exit 1 when a gate is missed"),
)


def figure_options(bar: str) -> Decorator:
    """How figures are measured and told. bar: what a figure may miss."""
    return options(
        click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu, cuda, mps."),
        click.option(
            "--threads", type=click.IntRange(1), default=None, metavar="N", help="Threads on a CPU."
        ),
        click.option("--store", is_flag=True, help="Write the figures into DIR/training.json."),
        click.option("--strict", is_flag=True, help=f"Exit 1 when a {bar} is missed."),
        click.option("--json", "as_json", is_flag=True, help="Print each figure as one JSON object."),
    )


def begin(threads: int | None) -> None:
    """Load what measuring needs. Raises ModelError where it is not installed."""
    from vedit.jobs.extras import need

    need("diffusion")
    import torch

    if threads:
        torch.set_num_threads(threads)


@click.command(
    help=f"""Measure an embedded model: codec, inversion, samples, scorer, size and speed.

Everything is measured on compositions that training never drew. Shares carry Wilson's 95 %
interval; whether a sample shows what its caption says is read by a classifier that shares
nothing with the model, and whose own accuracy is printed first.

{examples(EXAMPLES)}"""
)
@click.argument("folder", required=False, metavar="[DIR]")
@click.option("--samples", type=click.IntRange(1), default=300, show_default=True, help="Captions to sample.")
@click.option(
    "--steps",
    type=click.IntRange(2, 1000),
    default=50,
    show_default=True,
    help="DDIM steps of samples and inversions.",
)
@figure_options("gate")
def command(
    folder: str | None,
    samples: int,
    steps: int,
    device: str,
    threads: int | None,
    store: bool,
    strict: bool,
    as_json: bool,
) -> None:
    from pathlib import Path

    begin(threads)
    from vedit.jobs.bench import model as bench_model
    from vedit.models.shapes.folder import BUILTIN

    place = Path(folder) if folder else BUILTIN
    trials = bench_model.Trials(samples=samples, steps=steps)
    report(bench_model.bench_model(place, trials, device), place, store=store, strict=strict, as_json=as_json)


def report(figures: Iterable[Figure], place: Path, *, store: bool, strict: bool, as_json: bool) -> None:
    """Print figures as they come; then store them, and raise CheckFailed for those that miss their bars, as
    asked.
    """
    from dataclasses import asdict

    from vedit.jobs.bench import model as bench_model

    seen = []
    for figure in figures:
        seen.append(figure)
        if as_json:
            print_json({**asdict(figure), "passed": figure.passed})
        else:
            echo(bench_model.table([figure]))
    if store:
        bench_model.store(place, seen)
        Voice().say(f"the figures are in {place / 'training.json'}")
    missed = [f"{figure.group} {figure.name}" for figure in seen if figure.passed is False]
    if strict and missed:
        raise CheckFailed(f"{len(missed)} gates missed: {', '.join(missed)}.")
