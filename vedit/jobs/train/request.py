"""What training is asked for, checked and made ready, and done: a stage of the embedded models, or a
generator on one's own clips.

plan(request) -> TrainPlan                   printable; loads no torch, writes nothing
plan.run(sink, should_stop) -> (stage, Report) as training goes on
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vedit import presets
from vedit.errors import UsageError, nearest, option
from vedit.jobs.extras import need
from vedit.jobs.request import Request
from vedit.jobs.sink import Sink
from vedit.jobs.train import generator, shapes
from vedit.training.stages import EVERY, PRESETS, STAGES

if TYPE_CHECKING:
    from vedit.training.loop import Report

Reports = Iterator[tuple[str, "Report"]]
ShouldStop = Callable[[], bool]
FIRST = f"vedit train --preset {EVERY} --out RUN"
WITH_DATA = "vedit train --preset moving-mnist --data DIR --out RUN"
ONLY_SHAPES = ("anneal", "compiled", "begin")
ONLY_GENERATOR = ("data", "settings", "launch", "fresh", "overwrite", "vgg_weights")
OF_OPTIONS = {
    "run.steps": "steps",
    "run.seed": "seed",
    "optim.batch": "batch",
    "optim.rate": "rate",
}  # settings that are options too
BUILTIN = "builtin"


@dataclass(frozen=True)
class TrainRequest(Request):
    """One training, in one run folder; the same request goes on where it was stopped.

    preset: a stage of the embedded models, or a generator's. folder: the run. data: the clips of a
    generator. settings: of a generator, by TABLE.KEY. launch: processes. precision: "auto", "fp32",
    "bf16" or "fp16". compiled: the embedded denoiser. steps: in all. anneal: steps of a copy whose
    rate falls to zero. begin: a packed video model to begin with, "builtin" for the one that ships.
    vgg_weights: as `train.vgg.load_vgg` reads it. fresh: begin anew; overwrite: remove what is there.
    """

    preset: str | None = None
    folder: str | None = None
    data: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    launch: int | None = None
    precision: str = "auto"
    threads: int | None = None
    compiled: bool = False
    seed: int | None = None
    steps: int | None = None
    anneal: int | None = None
    batch: int | None = None
    rate: float | None = None
    begin: str | None = None
    vgg_weights: str | None = None
    fresh: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class ShapesPlan:
    """Stages of the embedded models that will be trained."""

    preset: str
    folder: Path
    settings: shapes.Settings

    def __str__(self) -> str:
        stages = (
            ", ".join(stage.preset for stage in STAGES if stage.in_turn)
            if self.preset == EVERY
            else self.preset
        )
        return f"train {stages} on {self.settings.device} in {self.folder}"

    @property
    def processes(self) -> int:
        return 1

    def run(self, sink: Sink, should_stop: ShouldStop = lambda: False) -> Reports:
        """Train stage after stage.

        Raises Stopped, with everything saved, soon after `should_stop` turns true.
        """
        yield from shapes.train_shapes(
            self.preset, self.folder, self.settings, should_stop, say=sink.warn, warn=sink.warn
        )


@dataclass(frozen=True)
class GeneratorPlan:
    """A generator that will be trained. processes: how many train together on this machine."""

    preset: str
    job: generator.Job
    processes: int = 1
    is_fresh: bool = False
    overwrite: bool = False

    def __str__(self) -> str:
        many = f" in {self.processes} processes" if self.processes > 1 else ""
        return f"train {self.preset} on {self.job.data}, on {self.job.device}{many}, in {self.job.folder}"

    def launch(self, command: Sequence[str]) -> None:
        """Run a command line that asks for the same, without `fresh`, in every process."""
        self._begin()
        generator.launch(command, self.processes)

    def run(self, sink: Sink, should_stop: ShouldStop = lambda: False) -> Reports:
        """Train in this process.

        Raises Stopped, with the state saved, soon after `should_stop` turns true.
        """
        self._begin()
        for report in generator.train_generator(self.job, should_stop, warn=sink.warn, say=sink.warn):
            yield self.preset, report

    def _begin(self) -> None:
        if self.is_fresh:
            generator.start_afresh(self.job.folder, self.overwrite)


TrainPlan = ShapesPlan | GeneratorPlan


def plan(request: TrainRequest) -> TrainPlan:
    """Check what is asked for. Raises UsageError."""
    if request.preset is None or request.folder is None:
        missing = option("preset") if request.preset is None else option("folder")
        raise UsageError(
            f"{missing} is missing.", "Training needs a preset and a run folder.", f"Example: {FIRST}"
        )
    is_stage = request.preset == EVERY or _is_of_a_stage(request.preset)
    for name in ONLY_GENERATOR if is_stage else ONLY_SHAPES:
        if getattr(request, name):
            raise UsageError(
                f"{option(name)} is not for the preset {request.preset}.",
                f"It is for {'a generator' if is_stage else 'the embedded models'}.",
            )
    need("diffusion")
    make = _shapes_plan if is_stage else _generator_plan
    return make(request, request.preset, Path(request.folder))


def _is_of_a_stage(preset: str) -> bool:
    return (_is_file(preset) or preset in presets.paths()) and presets.load(preset).kind == "embedded"


def _is_file(preset: str) -> bool:
    return os.sep in preset or preset.endswith(presets.SUFFIX)


def _shapes_plan(request: TrainRequest, preset: str, folder: Path) -> ShapesPlan:
    if request.precision == "fp16":
        raise UsageError(
            f"{option('precision', 'fp16')} is not for the embedded models.", "They train in fp32 or bf16."
        )
    settings = shapes.Settings(
        device=request.device,
        precision=request.precision,
        threads=request.threads,
        compiled=request.compiled,
        seed=request.seed or 0,
        steps=request.steps,
        anneal=request.anneal or 0,
        batch=request.batch,
        rate=request.rate,
        begin=_begin_with(preset, request.begin),
    )
    return ShapesPlan(preset, folder, settings)


def _begin_with(preset: str, place: str | None) -> Path | None:
    """The packed model to begin with, if any."""
    from vedit.models.shapes.folder import VIDEO

    if place is None:
        return None
    if preset == EVERY or not presets.load_embedded(preset)["stage"].startswith("video"):
        stages = ", ".join(stage.preset for stage in STAGES if stage.is_video)
        raise UsageError(
            f"{option('begin')} is not for the preset {preset}.",
            f"It is for the stages of the video model: {stages}.",
        )
    return VIDEO if place == BUILTIN else Path(place)


def _generator_plan(request: TrainRequest, preset: str, folder: Path) -> GeneratorPlan:
    if preset not in presets.paths() and not _is_file(preset):
        known = [
            *PRESETS,
            *(name for name, path in presets.paths().items() if presets.load(path).kind == "train"),
        ]
        raise UsageError(
            f"there is nothing to train called {preset!r}{nearest(preset, known)}",
            f"There are: {', '.join(known)}; or name a TOML file.",
        )
    if request.data is None:
        raise UsageError(
            f"{option('data')} is missing.",
            "A generator trains on a folder of NAME.gif and NAME.txt.",
            f"Example: {WITH_DATA}",
        )
    options = {
        path: value for path, name in OF_OPTIONS.items() if (value := getattr(request, name)) is not None
    }
    changes = {**request.settings, **options}
    if request.precision != "auto":
        changes["run.precision"] = request.precision
    params = generator.settings_of(
        presets.load_train(preset), changes, f"{preset} with {option('settings')}" if changes else preset
    )
    job = generator.Job(
        params, Path(request.data), folder, request.device, request.threads, request.vgg_weights
    )
    is_one_of_several = generator.world_is_set()  # then the first of all has begun anew and launched them
    return GeneratorPlan(
        preset,
        job,
        processes=1 if is_one_of_several else request.launch or 1,
        is_fresh=request.fresh and not is_one_of_several,
        overwrite=request.overwrite,
    )
