"""`vedit bench motion`: measure the clips of the embedded generator."""

from __future__ import annotations

import click

from vedit.cli.bench_model import begin, figure_options, report
from vedit.cli.common import examples

EXAMPLES = (
    ("vedit bench motion", "the motion adapter that ships with vedit"),
    (
        "vedit bench motion DIR --base MODEL --store",
        "another one on another denoiser; write the figures into DIR/training.json",
    ),
    ("vedit bench motion --clips 20 --strict", "a quick look; exit 1 when a bar is missed"),
)


@click.command(
    help=f"""Sample a clip for each of many captions and read what it shows.

Everything is measured on compositions that training never drew. The object is tracked through
the frames; colour, background and shape are those of the nearest drawing at its place. Shares
carry Wilson's 95 % interval, and what this reading gets right on drawn clips is printed first.

{examples(EXAMPLES)}"""
)
@click.argument("folder", required=False, metavar="[DIR]")
@click.option(
    "--base", default=None, metavar="DIR", help="The packed denoiser; the embedded one when not given."
)
@click.option("--clips", type=click.IntRange(1), default=100, show_default=True, help="Captions to sample.")
@click.option("--steps", type=click.IntRange(2, 1000), default=25, show_default=True, help="DDIM steps.")
@figure_options("bar")
def command(
    folder: str | None,
    base: str | None,
    clips: int,
    steps: int,
    device: str,
    threads: int | None,
    store: bool,
    strict: bool,
    as_json: bool,
) -> None:
    from pathlib import Path

    begin(threads)
    from vedit.jobs.bench import motion as bench_motion
    from vedit.models.shapes.folder import BUILTIN, MOTION

    place = Path(folder) if folder else MOTION
    trials = bench_motion.Trials(clips=clips, steps=steps)
    figures = bench_motion.bench_motion(place, Path(base) if base else BUILTIN, trials, device)
    report(figures, place, store=store, strict=strict, as_json=as_json)
