"""Measure the clips of the embedded generator: do they move as asked, and show what was asked.

Captions are of held-out compositions. No learned judge takes part: the object is tracked, and
what it is, is the nearest drawing (vedit/training/shapes_truth.py). What this reading itself gets
right on drawn clips is printed first.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vedit.jobs.bench.model import Figure, share_of
from vedit.models.shapes.folder import BUILTIN, MOTION, check_motion, check_video, is_video, load, load_video

BARS = {"motion": 0.90, "colour": 0.95, "ground": 0.95}  # shape is as the denoiser's
VIDEO_BARS = {**BARS, "shape": 0.85}
MAX_BYTES, MAX_VIDEO_BYTES = 4_500_000, 15_000_000
VIDEO_CODEC_BAR_DB, MAX_VIDEO_CLIP_S = 32.0, 4.0


@dataclass(frozen=True)
class Trials:
    """How much is measured."""

    clips: int = 100
    drawn: int = 100
    steps: int = 25
    codec: int = 32  # clips, of a video model


def bench_motion(
    folder: Path = MOTION, base: Path = BUILTIN, trials: Trials = Trials(), device: str = "cpu"
) -> Iterator[Figure]:
    """Measure a motion adapter on the denoiser in `base`, or a video model; yield figures as they come."""
    video = is_video(folder)
    (check_video if video else check_motion)(folder)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    yield Figure(
        "package", "size", size, bar=MAX_VIDEO_BYTES if video else MAX_BYTES, at_most=True, unit="bytes"
    )
    yield from _reading(trials)
    yield from _video_clips(folder, trials, device) if video else _clips(folder, base, trials, device)


def _reading(trials: Trials) -> Iterator[Figure]:
    from vedit.data import scenes
    from vedit.training.shapes_gates import CLIP_DIGITS, read_right

    records = scenes.sample_records(trials.drawn, 9_000_006, held_out=True, digits=CLIP_DIGITS)
    for name, right in read_right(records, [scenes.clip(record) for record in records]).items():
        yield share_of("reading of drawn clips", name, int(right.sum()), trials.drawn)


def _clips(folder: Path, base: Path, trials: Trials, device: str) -> Iterator[Figure]:
    from vedit.models.shapes.motion import load_clip_denoiser
    from vedit.training.shapes_gates import sampled_clips

    model = load(base, device)
    unet = load_clip_denoiser(model.unet, folder).to(device)
    clock, cpu = time.perf_counter(), time.process_time()
    records, clips = sampled_clips(
        unet, model.text_encoder, model.vae, model.schedule, trials.clips, steps=trials.steps
    )
    clock, cpu = (time.perf_counter() - clock) / trials.clips, (time.process_time() - cpu) / trials.clips
    yield from _read(records, clips, BARS)
    yield from _times(clock, cpu)


def _video_clips(folder: Path, trials: Trials, device: str) -> Iterator[Figure]:
    from vedit.training.shapes_gates import CLIP_DIGITS
    from vedit.training.shapes_video import sampled_clips
    from vedit.training.shapes_video_codec import codec_psnr

    model = load_video(folder, device)
    yield Figure(
        "codec",
        "psnr",
        round(codec_psnr(model.vae, trials.codec), 3),
        trials=trials.codec,
        bar=VIDEO_CODEC_BAR_DB,
        unit="dB",
    )
    clock, cpu = time.perf_counter(), time.process_time()
    records, clips = sampled_clips(
        model.transformer,
        model.text_encoder,
        model.decode,
        trials.clips,
        steps=trials.steps,
        digits=CLIP_DIGITS,
    )
    clock, cpu = (time.perf_counter() - clock) / trials.clips, (time.process_time() - cpu) / trials.clips
    yield from _read(records, clips, VIDEO_BARS)
    yield from _times(clock, cpu, bar=MAX_VIDEO_CLIP_S)


def _read(records: list[Any], clips: list[Any], bars: dict[str, float]) -> Iterator[Figure]:
    """Read what sampled clips show, in all and by word."""
    from vedit.data import grammar
    from vedit.training.shapes_gates import read_right

    right = read_right(records, clips)
    for name, values in right.items():
        yield share_of("clips", name, int(values.sum()), len(records), bars.get(name))
    words = [("motion", motion, {motion}) for motion in grammar.MOTIONS] + [
        ("shape", "shape", {*grammar.SHAPES}),
        ("shape", "digit", {*grammar.DIGITS}),
    ]
    for field, name, wanted in words:
        hits = _of(records, right[field], field, wanted)
        if hits:  # few captions need not name every motion
            yield share_of(f"clips, {field}", name, sum(hits), len(hits))


def _times(clock: float, cpu: float, bar: float | None = None) -> Iterator[Figure]:
    yield Figure("speed", "clip", round(clock, 2), unit="s")
    yield Figure("speed", "clip, CPU time", round(cpu, 2), bar=bar, at_most=bar is not None, unit="s")


def _of(records: list[Any], right: Any, field: str, wanted: set[str]) -> list[int]:
    return [
        int(value)
        for record, value in zip(records, right.tolist(), strict=True)
        if getattr(record, field) in wanted
    ]
