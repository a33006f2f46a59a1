"""Measure the clips of the embedded generator: do they move as asked, and show what was asked.

Captions are of held-out compositions. No learned judge takes part: the object is tracked, and
what it is, is the nearest drawing (vedit/train/shapes_truth.py). What this reading itself gets
right on drawn clips is printed first.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vedit.app.bench.model import Figure, share_of
from vedit.app.shapes_model import BUILTIN, MOTION, check_motion, load

BARS = {"motion": 0.90, "colour": 0.95, "ground": 0.95}  # shape is as the denoiser's
MAX_BYTES = 4_500_000


@dataclass(frozen=True)
class Trials:
    """How much is measured."""

    clips: int = 100
    drawn: int = 100
    steps: int = 25


def bench_motion(folder: Path = MOTION, base: Path = BUILTIN, trials: Trials = Trials(), device: str = "cpu") -> Iterator[Figure]:
    """Measure a motion adapter on the denoiser in `base`; yield each figure as it is known."""
    check_motion(folder)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    yield Figure("package", "size", size, bar=MAX_BYTES, at_most=True, unit="bytes")
    yield from _reading(trials)
    yield from _clips(folder, base, trials, device)


def _reading(trials: Trials) -> Iterator[Figure]:
    from vedit.data import scenes
    from vedit.train.shapes_gates import CLIP_DIGITS, read_right

    records = scenes.sample_records(trials.drawn, 9_000_006, held_out=True, digits=CLIP_DIGITS)
    for name, right in read_right(records, [scenes.clip(record) for record in records]).items():
        yield share_of("reading of drawn clips", name, int(right.sum()), trials.drawn)


def _clips(folder: Path, base: Path, trials: Trials, device: str) -> Iterator[Figure]:
    from vedit.data import grammar
    from vedit.train.shapes_gates import read_right, sampled_clips
    from vedit.train.shapes_motion import load_clip_denoiser

    model = load(base, device)
    unet = load_clip_denoiser(model.unet, folder).to(device)
    clock, cpu = time.perf_counter(), time.process_time()
    records, clips = sampled_clips(unet, model.text_encoder, model.vae, model.scheduler, trials.clips, steps=trials.steps)
    clock, cpu = (time.perf_counter() - clock) / trials.clips, (time.process_time() - cpu) / trials.clips
    right = read_right(records, clips)
    for name, values in right.items():
        yield share_of("clips", name, int(values.sum()), trials.clips, BARS.get(name))
    for motion in grammar.MOTIONS:
        values = _of(records, right["motion"], "motion", {motion})
        yield share_of("clips, motion", motion, sum(values), len(values))
    for kind, family in (("shape", grammar.SHAPES), ("digit", grammar.DIGITS)):
        values = _of(records, right["shape"], "shape", set(family))
        yield share_of("clips, shape", kind, sum(values), len(values))
    yield Figure("speed", "clip", round(clock, 2), unit="s")
    yield Figure("speed", "clip, CPU time", round(cpu, 2), unit="s")


def _of(records: list[Any], right: Any, field: str, wanted: set[str]) -> list[int]:
    return [int(value) for record, value in zip(records, right.tolist(), strict=True) if getattr(record, field) in wanted]
