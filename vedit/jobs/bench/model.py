"""Measure a packed embedded model against its gates.

Every figure is taken on held-out compositions that training never drew. Shares come with
Wilson's 95 % interval, means with a normal one. A gate is passed when the measured value
reaches the bar; the interval is printed so that a reader sees what the trials can tell.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vedit.jobs.shapes_model import write_record
from vedit.models.shapes.folder import BUILTIN, ShapesModel, check_folder, load, record_of

SAMPLE_BARS = {"ground": 0.99, "colour": 0.97, "pattern": 0.95, "texture": 0.95, "shape": 0.90, "size": 0.85}
SCORER_BAR = 0.95
CODEC_BAR_DB = 32.0
INVERSION_LOSS_BAR_DB = 1.0
CEILING_DB = 120.0  # of equal pictures
MAX_BYTES = 12_000_000
MAX_LOAD_S = 1.0
MAX_SAMPLE_S = 4.0


@dataclass(frozen=True)
class Trials:
    """How much is measured; the default is what the gates ask for."""

    samples: int = 300
    digits: int = 100
    steps: int = 50
    codec: int = 256
    inversions: int = 48
    scorer: int = 512
    judge: int = 2000


@dataclass(frozen=True)
class Figure:
    """One measured value. bar: what it should reach (or stay under, for `at_most`), if anything."""

    group: str
    name: str
    value: float
    low: float | None = None
    high: float | None = None
    trials: int | None = None
    bar: float | None = None
    at_most: bool = False
    unit: str = ""

    @property
    def passed(self) -> bool | None:
        if self.bar is None:
            return None
        return self.value <= self.bar if self.at_most else self.value >= self.bar


def bench_model(folder: Path = BUILTIN, trials: Trials = Trials(), device: str = "cpu") -> Iterator[Figure]:
    """Measure every gate of a packed model, cheap ones first; yield each figure as it is known."""
    check_folder(folder)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    yield Figure("package", "size", size, bar=MAX_BYTES, at_most=True, unit="bytes")
    _import_libraries()
    model, seconds = _load(folder, device)
    yield Figure("package", "load", round(seconds, 2), bar=MAX_LOAD_S, at_most=True, unit="s")
    yield from _judge(model, trials)
    yield from _codec(model, trials)
    yield from _scorer(model, trials)
    yield from _sample_time(model)
    yield from _inversion(model, trials)
    yield from _samples(model, trials)


def _import_libraries() -> None:
    """Import now, so that loading is timed without it."""
    import diffusers
    import open_clip
    import transformers

    assert diffusers.AutoencoderKL and transformers.CLIPTextModel
    assert open_clip.model and diffusers.UNet2DConditionModel


def _load(folder: Path, device: str) -> tuple[ShapesModel, float]:
    """Load three times; the fastest says what loading takes, the others what else ran."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        model = load(folder, device)
        times.append(time.perf_counter() - started)
    return model, min(times)


def _judge(model: ShapesModel, trials: Trials) -> Iterator[Figure]:
    from vedit.training.shapes_judge import judge_accuracy

    shares = {
        **judge_accuracy(model.judge, trials.judge),
        "digit": judge_accuracy(model.judge, trials.judge, digits=1.0)["shape"],
    }
    for name, value in shares.items():
        yield share_of("judge on drawn scenes", name, round(value * trials.judge), trials.judge)


def _codec(model: ShapesModel, trials: Trials) -> Iterator[Figure]:
    from vedit.training.shapes_codec import codec_psnrs

    yield _mean("codec", "psnr", codec_psnrs(model.vae, trials.codec), bar=CODEC_BAR_DB)


def _scorer(model: ShapesModel, trials: Trials) -> Iterator[Figure]:
    from vedit.training.shapes_scorer import digits_right, scorer_right

    for name, right in {
        **scorer_right(model.scorer, trials.scorer),
        "digit": digits_right(model.scorer, trials.scorer),
    }.items():
        yield share_of("scorer", name, int(right.sum()), trials.scorer, SCORER_BAR)


def _sample_time(model: ShapesModel) -> Iterator[Figure]:
    """Time one clip of eight frames; on a busy machine CPU time says more than the clock."""
    from vedit.engine.embedded import sample_pictures
    from vedit.models.shapes.codec import decode
    from vedit.models.shapes.networks import PictureNetwork

    captions = ["a red circle on a grey background"] * 8
    clock, cpu = time.perf_counter(), time.process_time()
    network = PictureNetwork(model.unet, model.schedule)
    decode(model.vae, sample_pictures(network, model.text_encoder, captions, steps=50))
    clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    yield Figure("speed", "50-step clip", round(clock, 2), bar=MAX_SAMPLE_S, at_most=True, unit="s")
    yield Figure("speed", "50-step clip, CPU time", round(cpu, 2), unit="s")


def _samples(model: ShapesModel, trials: Trials) -> Iterator[Figure]:
    from vedit.training.shapes_gates import judged, samples

    records, pictures = samples(
        model.unet, model.text_encoder, model.vae, model.schedule, trials.samples, steps=trials.steps
    )
    for name, right in judged(model.judge, records, pictures).items():
        yield share_of("samples", name, int(right.sum()), trials.samples, SAMPLE_BARS[name])
    records, pictures = samples(
        model.unet,
        model.text_encoder,
        model.vae,
        model.schedule,
        trials.digits,
        steps=trials.steps,
        digits=1.0,
    )
    for name, right in judged(model.judge, records, pictures).items():
        if name in ("shape", "colour", "ground"):
            yield share_of("samples of digits", name, int(right.sum()), trials.digits)


def _inversion(model: ShapesModel, trials: Trials) -> Iterator[Figure]:
    """Invert held-out frames and come back, with and without film grain in the source."""
    for grain in (True, False):
        yield from _inversion_of(model, trials, grain)


def _inversion_of(model: ShapesModel, trials: Trials, grain: bool) -> Iterator[Figure]:
    from dataclasses import replace

    import torch

    from vedit.data import scenes, vocabulary
    from vedit.engine.invert import invert
    from vedit.engine.sample import Stream, sample
    from vedit.models.shapes.codec import decode
    from vedit.models.shapes.networks import PictureNetwork
    from vedit.pixels import psnr_each

    records = scenes.sample_records(trials.inversions, 9_000_005, held_out=True)
    records = [replace(record, grain=scenes.MAX_GRAIN if grain else 0.0) for record in records]
    source = torch.cat([scenes.clip(record, 1) for record in records]).to(model.vae.device)
    captions = [record.caption for record in records]
    with torch.no_grad():
        text = model.text_encoder(vocabulary.token_ids(captions).to(source.device)).last_hidden_state
        clean = model.vae.encode(2 * source - 1).latent_dist.mean
    network, timesteps = PictureNetwork(model.unet, model.schedule), model.schedule.timesteps(trials.steps)
    coded = decode(model.vae, clean)
    group = "inversion, grain 0.02" if grain else "inversion, no grain"
    yield _mean(group, "codec to source", psnr_each(coded, source, ceiling=CEILING_DB))
    for name, passes in (("ddim", 0), ("fixed-point", 1)):
        *_, there = invert(network, timesteps, clean, text, fixed_point=passes, frames_per_call=len(clean))
        stream = Stream("src", there.latents, text)
        *_, last = sample(network, timesteps, [stream], frames_per_call=len(clean))
        back, noise = decode(model.vae, last.latents["src"]), there.latents
        yield _mean(group, f"{name} to codec", psnr_each(back, coded, ceiling=CEILING_DB))
        yield _mean(group, f"{name} noise deviation", noise.flatten(1).std(dim=1), unit="")
        lost = psnr_each(coded, source, ceiling=CEILING_DB) - psnr_each(back, source, ceiling=CEILING_DB)
        is_gate = name == "fixed-point"
        yield _mean(
            group,
            f"{name} loss to source",
            lost,
            bar=INVERSION_LOSS_BAR_DB if is_gate else None,
            at_most=True,
        )


def share_of(group: str, name: str, right: int, trials: int, bar: float | None = None) -> Figure:
    from vedit.training.shapes_gates import interval

    low, high = interval(right, trials)
    return Figure(group, name, round(right / trials, 4), round(low, 4), round(high, 4), trials, bar)


def _mean(
    group: str, name: str, values: Any, bar: float | None = None, at_most: bool = False, unit: str = "dB"
) -> Figure:
    mean, half = float(values.mean()), 1.96 * float(values.std()) / len(values) ** 0.5
    return Figure(
        group,
        name,
        round(mean, 3),
        round(mean - half, 3),
        round(mean + half, 3),
        len(values),
        bar,
        at_most,
        unit,
    )


def store(folder: Path, figures: list[Figure]) -> None:
    """Write the figures into the folder's training.json, over what was measured before."""
    record = record_of(folder)
    record["gates"] |= {f"{f.group}: {f.name}": {**asdict(f), "passed": f.passed} for f in figures}
    write_record(folder, record)


def table(figures: list[Figure]) -> str:
    """Lay the figures out for reading, one line each."""
    lines = []
    for f in figures:
        spread = f"[{f.low:g}, {f.high:g}]" if f.low is not None else ""
        bar = "" if f.bar is None else f"{'<=' if f.at_most else '>='} {f.bar:g}"
        verdict = {None: "", True: "passed", False: "MISSED"}[f.passed]
        trials = "" if f.trials is None else f"n {f.trials}"
        lines.append(
            f"{f.group:24} {f.name:26} {f'{f.value:g} {f.unit}':>14} {spread:18} {trials:8} {bar:12}"
            f" {verdict}".rstrip()
        )
    return "\n".join(lines)
