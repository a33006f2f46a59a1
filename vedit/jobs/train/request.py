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
from vedit.training.stages import EVERY, PRESETS, STAGES, stage_of

if TYPE_CHECKING:
    from vedit.jobs.train.easyv2v import Job as EditorJob
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
EDITOR = "easyv2v"
WITH_PAIRS = "vedit train --method easyv2v --pairs pairs.jsonl --backbone shapes-video --out RUN"


@dataclass(frozen=True)
class TrainRequest(Request):
    """One training, in one run folder; the same request goes on where it was stopped.

    preset: a stage of the embedded models, or a generator's; or method: "easyv2v", an instruction editor on
    pairs, a manifest of pairs of clips, and a backbone, a model of Wan's layout. folder: the run. data: the
    clips of a generator. settings: of a generator, by TABLE.KEY. launch: processes. precision: "auto",
    "fp32", "bf16" or "fp16". compiled: the embedded denoiser. steps: in all. anneal: steps of a copy whose
    rate falls to zero. begin: a packed video model to begin with, "builtin" for the one that ships.
    vgg_weights: as `train.vgg.load_vgg` reads it. fresh: begin anew; overwrite: remove what is there.
    """

    preset: str | None = None
    method: str | None = None
    pairs: str | None = None
    backbone: str | None = None
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


@dataclass(frozen=True)
class EditorPlan:
    """An instruction editor that will be trained."""

    job: EditorJob
    is_fresh: bool = False
    overwrite: bool = False

    def __str__(self) -> str:
        return f"train easyv2v on {self.job.backbone} with {self.job.pairs}, in {self.job.folder}"

    @property
    def processes(self) -> int:
        return 1

    def run(self, sink: Sink, should_stop: ShouldStop = lambda: False) -> Reports:
        """Train in this process.

        Raises Stopped, with state and weights saved, soon after `should_stop` turns true.
        """
        from vedit.jobs.train.easyv2v import train_easyv2v

        if self.is_fresh:
            generator.start_afresh(self.job.folder, self.overwrite)
        for report in train_easyv2v(self.job, should_stop, say=sink.warn, warn=sink.warn):
            yield "easyv2v", report


TrainPlan = ShapesPlan | GeneratorPlan | EditorPlan


def plan(request: TrainRequest) -> TrainPlan:
    """Check what is asked for. Raises UsageError."""
    if request.method is not None:
        return _editor_plan(request)
    for name in ("pairs", "backbone"):
        if getattr(request, name) is not None:
            raise UsageError(
                f"{option(name)} is for the training of an instruction editor.",
                "",
                f"Add {option('method', EDITOR)}",
            )
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


def _editor_plan(request: TrainRequest) -> EditorPlan:
    if request.method != EDITOR:
        raise UsageError(
            f"there is no method to train called {request.method!r}{nearest(str(request.method), (EDITOR,))}",
            f"There is {EDITOR}; the embedded models and generators have presets.",
        )
    for name in (*ONLY_SHAPES, "preset", "data", "launch", "vgg_weights"):
        if getattr(request, name):
            raise UsageError(
                f"{option(name)} is not for {option('method', EDITOR)}.", "", f"Example: {WITH_PAIRS}"
            )
    for name in ("pairs", "backbone", "folder"):
        if getattr(request, name) is None:
            raise UsageError(
                f"{option(name)} is missing.",
                "An instruction editor is trained on pairs of clips and a backbone, in a run folder.",
                f"Example: {WITH_PAIRS}",
            )
    if request.precision == "fp16":
        raise UsageError(f"{option('precision', 'fp16')} is not for easyv2v.", "It trains in fp32 or bf16.")
    need("diffusion")
    from vedit.jobs.train.easyv2v import Job, read_settings

    assert request.pairs is not None and request.backbone is not None and request.folder is not None
    own = {name: value for name in ("rate", "batch") if (value := getattr(request, name)) is not None}
    job = Job(
        Path(request.pairs), request.backbone, Path(request.folder),
        read_settings({**request.settings, **own}), request.device, request.precision, request.threads,
        request.seed or 0, request.steps,
    )  # fmt: skip
    return EditorPlan(job, request.fresh, request.overwrite)


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
    if preset == EVERY or not stage_of(presets.load_embedded(preset)["stage"]).is_video:
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
