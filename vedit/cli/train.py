"""`vedit train`: train the models that ship with the package, or go on training them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from vedit.cli.common import Voice, examples, print_json

PRESETS = ("shapes-all", "shapes-codec", "shapes-judge", "shapes-scorer", "shapes")
EXAMPLES = (
    ("vedit train --preset shapes-all --out RUN", "every stage of the embedded model; stop and call again as you like"),
    ("vedit train --preset shapes --out RUN --steps 20000", "the denoiser alone, up to a step"),
    ("vedit train --preset shapes --out RUN --anneal 1500", "a copy of the newest state, its rate falling to zero: weights to ship"),
    ("vedit train --preset shapes-all --out RUN --device cuda --compile --batch 1024 --rate 2e-3", "on a GPU, drawing included"),
)


@click.command(
    help=f"""Train the embedded models on scenes drawn as they are needed.

The presets are stages: shapes-codec, shapes-judge (the classifier that reads samples),
shapes-scorer, shapes (denoiser and text encoder, without end), and shapes-all, which goes
through them in this order. The run folder holds everything; the same command goes on where it
was stopped, exactly. SIGTERM and Ctrl-C save first and exit with 75.

{examples(EXAMPLES)}"""
)
@click.option("--preset", type=click.Choice(PRESETS), required=True, help="What to train.")
@click.option("--out", "folder", required=True, metavar="RUN", help="The run folder: state, log and frozen parts.")
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu, cuda, cuda:1, mps.")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True, help="Arithmetic; weights stay in fp32.")
@click.option("--threads", type=click.IntRange(1), default=None, metavar="N", help="Threads on a CPU.")
@click.option("--compile", "compiled", is_flag=True, help="Compile the denoiser; takes minutes, then saves a tenth of the time on a CPU.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Decides weights at the start and everything drawn.")
@click.option("--steps", type=click.IntRange(1), default=None, metavar="N", help="Train up to this step in all.")
@click.option("--anneal", type=click.IntRange(1), default=None, metavar="N", help="Train a copy N steps further, its rate falling to zero.")
@click.option("--batch", type=click.IntRange(1), default=None, metavar="N", help="Pictures per step of the denoiser (default 32).")
@click.option("--rate", type=click.FloatRange(0, min_open=True), default=None, metavar="X", help="Learning rate of the denoiser (default 0.0012).")
@click.option("--json", "as_json", is_flag=True, help="Print each report as one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No reports.")
def command(
    preset: str,
    folder: str,
    device: str,
    precision: str,
    threads: int | None,
    compiled: bool,
    seed: int,
    steps: int | None,
    anneal: int | None,
    batch: int | None,
    rate: float | None,
    as_json: bool,
    quiet: bool,
) -> None:
    from dataclasses import asdict
    from pathlib import Path

    from vedit.app.extras import need

    need("diffusion")
    from vedit.app.train_shapes import Settings, train_shapes

    chosen: dict[str, Any] = {"steps": steps, "anneal": anneal or 0, "batch": batch, "rate": rate}
    settings = Settings(device=device, precision=precision, threads=threads, compiled=compiled, seed=seed, **chosen)
    voice = Voice(quiet)
    with stop_flag() as should_stop:
        for stage, report in train_shapes(preset, Path(folder), settings, should_stop):
            if as_json:
                print_json({"stage": stage, **asdict(report)})
            else:
                voice.say(_line(stage, asdict(report)))
            sys.stdout.flush()


def _line(stage: str, report: dict[str, Any]) -> str:
    measured = " ".join(f"{name} {value}" for name, value in report["measured"].items())
    place = f"{stage} step {report['step']}, {report['pictures']} pictures"
    return f"{place}, loss {report['losses']['loss']:.4f}, {report['pictures_per_s']:.0f}/s {measured}".rstrip()


@contextmanager
def stop_flag() -> Iterator[Any]:
    """Turn SIGTERM, SIGINT and SIGUSR1 into a question: should the loop stop after this step?"""
    asked: list[int] = []
    before = {}
    for name in ("SIGTERM", "SIGINT", "SIGUSR1"):
        number = getattr(signal, name, None)
        if number is not None:
            before[number] = signal.signal(number, lambda number, frame: asked.append(number))
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
