"""An edit and an inversion checked before their model is loaded, and then done.

plan(request) -> EditPlan              the clip is read, everything that can be wrong is ruled out
str(plan), plan.explain()              what will be done, without and with the model
plan.run(sink) -> record               writes the output; plan.frames(sink) gives pictures instead
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from vedit import methods, presets
from vedit.errors import OutputError, UsageError, option
from vedit.jobs.clips import Pixels, Selection, clip_of, read_pixels
from vedit.jobs.edit.before import (
    asked_of,
    check_clip,
    check_file,
    check_first_frame,
    check_instruction,
    check_prompts,
    chooser,
    prompts_of,
)
from vedit.jobs.edit.conditions import check_clips, check_conditions, conditioned
from vedit.jobs.edit.fits import check_network, of_layout
from vedit.jobs.edit.job import Job
from vedit.jobs.edit.request import ClipRequest, EditRequest, InvertRequest
from vedit.jobs.edit.settings import method_params, needs_of, own_model
from vedit.jobs.edit.words import with_mask_words
from vedit.jobs.extras import need
from vedit.jobs.sink import Quiet, Sink
from vedit.media.run import Settings
from vedit.media.window import usable_cores
from vedit.methods.outline import outline
from vedit.models.adapters import check_exist
from vedit.models.hub import OURS, layout_told
from vedit.models.side import native_side
from vedit.motion import check_engine

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from vedit.jobs.edit.invert import InversionSettings
    from vedit.models.family import Model

QUOTED = '"..."'  # a text of the user's
DRAWN = (64, 64)  # the size of every scene that the embedded model was trained on


@dataclass(frozen=True)
class EditPlan:
    """An edit that can begin: its clip is read, its parameters are complete. job: what was settled for it."""

    request: EditRequest
    pixels: Pixels
    job: Job

    def __str__(self) -> str:
        width, height = self.pixels.selection.shown
        values = ", ".join(f"{key} {value}" for key, value in self.job.params.items())
        return "\n".join(
            [
                (
                    f"edit {self.job.input} with {self.job.method} on {self.request.model}:"
                    f" {len(self.pixels.durations)} frames of {width}x{height}"
                ),
                f'"{self.job.source}" becomes "{self.job.target}"',
                *([values] if values else []),
                *([f"written to {self.request.output}"] if self.request.output else []),
            ]
        )

    def explain(self, sink: Sink = Quiet(), model: Model | None = None) -> str:
        """Rules with their sites and steps, evaluations, memory, time; loads the model.

        Raises as `app.edit.explain.explain` does.
        """
        from vedit.jobs.edit.explain import explain
        from vedit.jobs.edit.video import check_job

        model = model or load(self.request, sink)
        check_job(self.job, model)
        return explain(self.job, model, self.pixels, sink.warn)

    def costs(self, sink: Sink = Quiet(), model: Model | None = None) -> list[str]:
        """Memory and time in a line each; loads the model. Raises as `explain` does."""
        from vedit.jobs.edit.explain import costs
        from vedit.jobs.edit.video import check_job

        model = model or load(self.request, sink)
        check_job(self.job, model)
        return costs(self.job, model, self.pixels, sink.warn)

    def run(self, sink: Sink = Quiet(), model: Model | None = None) -> dict[str, Any]:
        """Edit and write the output; returns the run record. model: one that is loaded already.

        Raises VeditError.
        """
        from vedit.jobs.edit.ablate import ablate
        from vedit.jobs.edit.video import edit_video
        from vedit.media.atomic import together

        if self.request.output is None:
            raise UsageError("no output named.", "", f"Add {option('output', 'FILE')}")
        model = model or load(self.request, sink)
        settings = Settings(jobs=usable_cores(), warn=sink.warn)
        with together():
            if self.request.ablate:
                return ablate(
                    self.job, model, settings, truth=self.request.truth, pixels=self.pixels, watch=sink.steps,
                    whole=run_whole,
                )  # fmt: skip
            return edit_video(
                self.job, model, settings, pixels=self.pixels, watch=sink.steps, whole=run_whole
            )

    def frames(self, sink: Sink = Quiet(), model: Model | None = None) -> Iterator[Image]:
        """The edited frames as pictures, those of a window as soon as it is done; nothing is written."""
        from PIL import Image

        model = model or load(self.request, sink)
        return map(Image.fromarray, edited(self.job, model, self.pixels, sink))


def plan(request: EditRequest, sink: Sink = Quiet(), *, repeats: bool = False) -> EditPlan:
    """Check all that can be checked without the model, and read the clip.

    repeats: it is that of a run record, whose faces have checked the output, and which needs no advice.
    Raises VeditError.
    """
    request = EditRequest.from_json(request.json())  # each value is of its kind
    if request.prompt is None:
        raise UsageError(
            f"edit needs {option('prompt')}.",
            f"It takes a clip, what it shows ({option('source_prompt')}) and what it should show.",
        )
    if request.method == "instruct":
        made: EditPlan = _released().plan_released(request, sink, repeats=repeats)
        return made
    asked = request.model
    request = replace(request, model=own_model(request.method, request.set, asked))
    if request.model != asked and not repeats:
        sink.warn(f"{request.method} runs on {request.model}: {asked} is for single pictures")
    check_layout(request)
    if request.truth and not request.ablate:
        raise UsageError(
            f"{option('truth')} is for the table of {option('ablate')}.",
            "",
            f"Add {option('ablate', True)}, or score the output: vedit score OUT --truth FILE",
        )
    need("diffusion")
    if not repeats:
        check_files(request)
    check_instruction(request)
    pixels = read_first(request, prompts_of(request), request.mask, sink)
    params = with_flow(
        request,
        method_params(request.method, request.preset, request.set, request.model, **request.own_options),
    )
    check_first_frame(request, params)
    if not repeats:
        params = advised(request, params, sink)
    selection = (
        pixels.selection._replace(frames=request.frames) if repeats else pixels.selection
    )  # as it was recorded
    job = settled(request, selection, params)
    if not repeats and request.model in OURS and (pixels.clip.width, pixels.clip.height) != DRAWN:
        sink.warn(
            "the embedded model only knows the scenes that `vedit scene` draws, 64x64 pixels; name a"
            f" real one with {option('model', 'OWNER/NAME')}"
        )
    return EditPlan(request, pixels, job)


def run_whole(request: EditRequest, sink: Sink) -> None:
    """Run an edit that is a part of another."""
    plan(request, sink).run(sink)


def _released() -> ModuleType:
    """The plan of edits by released editors, which is one of these and so stands above this module."""
    return import_module("vedit.jobs.edit.released")


def settled(request: EditRequest, selection: Selection, params: dict[str, Any]) -> Job:
    """The job of a request whose frames and parameters are known."""
    return Job(
        request.input, request.output or "-", request.method, request.source_prompt, request.prompt or "",
        selection, params, request.seed,
        request.inversion, request.mask, request.keep_outside, request.frames_per_call, request.preview,
        request.metadata, request.window,
        request.save_masks, request.save_attention,
        None if request.invert_like is None else dict(request.invert_like), request.memory, request.detail,
        request.ref, request.ref_from, request.ref_edit,
        request.control, request.image_prompt, request.image_adapter, request.flow,
    )  # fmt: skip


def edit_frames(
    model: Model, clip: Pixels | np.ndarray, request: EditRequest, sink: Sink = Quiet()
) -> Iterator[np.ndarray]:
    """One edit of frames that are in memory: the edited ones (Y, X, 3) uint8, those of a window as soon as it
    is done.

    clip: frames (F, Y, X, 3) uint8, or what `app.clips.read_pixels` read. The inversion is that of the
    cache, as with files. Raises VeditError.
    """
    pixels = clip if isinstance(clip, Pixels) else clip_of(clip)
    params = method_params(request.method, request.preset, request.set, request.model, **request.own_options)
    return edited(settled(request, pixels.selection, params), model, pixels, sink)


def edited(job: Job, model: Model, pixels: Pixels, sink: Sink) -> Iterator[np.ndarray]:
    from vedit.jobs.edit.memory import check_memory
    from vedit.jobs.edit.video import check_job
    from vedit.jobs.edit.windows import Edit

    check_job(job, model)
    edit = Edit(job, model, pixels, sink.warn, run_whole)
    check_memory(edit, job.memory_mib)
    yield from edit.frames_done(sink.steps)
    edit.finish()


def load(request: ClipRequest, sink: Sink) -> Any:
    """The model that a request names; of a released editor the pipeline."""
    if isinstance(request, EditRequest) and request.method == "instruct":
        return _released().load(request, sink)
    from vedit.models.load import load_model

    return load_model(
        request.model,
        request.revision,
        device=request.device,
        dtype=request.dtype,
        offload=request.offload,
        lora=request.lora,
        warn=sink.warn,
    )


def read_first(request: ClipRequest, prompts: tuple[str, ...], masks: tuple[str, ...], sink: Sink) -> Pixels:
    """The clip's frames, once all that can be wrong with them, sizes, words and masks is ruled out."""
    from vedit.jobs.masks import EditMask

    asked = asked_of(request)
    size = check_clip(request.input)
    check_exist(request.lora)
    shown = (request.image_prompt, request.image_adapter) if isinstance(request, EditRequest) else ()
    check_conditions(request.model, request.revision, request.control, *shown)
    check_prompts(request.model, prompts)
    choose = chooser(asked, native_side(request.model, request.revision), masks)
    if size is not None:
        choose(size)
    pixels = read_pixels(request.input, choose, warn=sink.warn)
    check_clips(request.control, pixels)
    if masks:
        flow = request.flow if isinstance(request, EditRequest) else None
        EditMask(
            masks, pixels, Quiet().warn, flow or "tvl1"
        )  # what it warns of is said when the edit makes it
    return pixels


def with_flow(request: EditRequest, params: dict[str, Any]) -> dict[str, Any]:
    """The parameters with what estimates motion, where the method goes by it.

    Raises UsageError, ModelError.
    """
    if request.flow is None:
        if "flow" in params:
            check_engine(str(params["flow"]))
        return params
    check_engine(request.flow)
    if "flow" in methods.load(request.method).Params.model_fields:
        return {**params, "flow": request.flow}
    if not any("track:" in mask for mask in request.mask):
        raise UsageError(
            f"{option('flow', request.flow)}: nothing of this edit goes by motion.",
            f"{able_of('flow')} do, and masks that follow something: {option('mask', 'track:X,Y,W,H')}.",
            f"Leave out {option('flow')}",
        )
    return params


def able_of(key: str) -> str:
    """The methods that have a parameter."""
    from vedit.jobs.edit.settings import keys_of

    return " and ".join(name for name in methods.names() if key in keys_of(name))


def advised(request: EditRequest, params: dict[str, Any], sink: Sink) -> dict[str, Any]:
    """The parameters with the words to look for, where nobody named a place; says so, and what a seed is not
    for.
    """
    assert request.prompt is not None
    model_class = methods.load(request.method).Params
    if not request.mask:
        found = with_mask_words(
            model_class, params, request.source_prompt, request.prompt, is_drawn=request.model in OURS
        )
        if found != params:
            sink.warn(
                f"the edit is kept to where {', '.join(found['mask_words'])} looks; for the whole frame:"
                f" {option('set.mask_words', '')}"
            )
        params = found
    if (
        request.seed
        and not {"shared_noise", "random_ratio"} & set(model_class.model_fields)
        and "glp" not in model_class.model_fields
    ):
        sink.warn(f"{option('seed', request.seed)} changes nothing: {request.method} draws no noise")
    return params


def check_layout(request: EditRequest) -> None:
    """Refuse a method on a network of another kind, where the model's layout is known. Raises ModelError."""
    told = layout_told(request.model, request.revision)
    if told is not None and methods.has(request.method):
        check_network(request.method, needs_of(request.method), of_layout(request.model, told))


def check_files(request: EditRequest) -> None:
    """Refuse names that are wrong before anything is read: outputs, files of options, the method and its
    preset.
    """
    check_outputs(request)
    if not methods.has(request.method):
        methods.load(request.method)  # raises, naming those there are
    if request.ablate:
        check_ablation(request)
    if request.preset:
        presets.find(request.preset)
    check_file(request.inversion, "inversion")
    check_file(request.truth, "truth")
    check_file(request.ref, "ref")
    check_source(request)


def check_outputs(request: EditRequest) -> None:
    """Check every name that the edit will write to: formats, twins, what is in the way."""
    from vedit.jobs.record import SUFFIX
    from vedit.media.atomic import check_output, refuse_twice, same_file
    from vedit.media.formats import output_format

    output = request.output or "-"
    beside = {
        "preview": request.preview,
        "save_masks": request.save_masks,
        "save_attention": request.save_attention,
    }
    names = [("output", request.output), *beside.items()]
    has_record = request.metadata and output != "-"
    refuse_twice(
        [
            *((option(name), path) for name, path in names),
            ("the record", output + SUFFIX if has_record else None),
        ]
    )
    for name, path in names:
        if path is None:
            continue
        if name in ("save_masks", "save_attention") and is_folder(path, request.save_attention):
            check_folder(path, request.overwrite)
        elif output_format(path) == "folder":
            folder = os.path.dirname(path) if "%" in path else path
            example = option(name, os.path.join(folder, "clip.gif"))
            raise UsageError(
                f"{option(name, path)} names a folder or a pattern, and one clip is written.",
                "",
                f"Name a file: {example}",
            )
        elif request.input != "-" and same_file(path, request.input) and not request.overwrite:
            raise UsageError(
                f"{option(name, path)} is the clip itself.",
                "",
                f"Name another file, or add {option('overwrite', True)} to replace the clip",
            )
        else:
            check_output(path, (request.input,), True if request.overwrite else None)


def is_folder(path: str, always: str | None) -> bool:
    """Whether an output is a folder of pictures."""
    return path == always or os.path.isdir(path) or path.endswith(("/", os.sep))


def check_folder(path: str, overwrite: bool) -> None:
    """Refuse a folder that holds pictures already, and a name that is a file."""
    if os.path.exists(path) and not os.path.isdir(path):
        raise OutputError(
            f"{path} is a file, and a folder of pictures is asked for.", "", "Name another folder"
        )
    if not overwrite and os.path.isdir(path) and any(name.endswith(".png") for name in os.listdir(path)):
        raise OutputError(
            f"{path} holds pictures already.",
            "",
            f"Add {option('overwrite', True)} to write into it, or name another folder",
        )


def check_ablation(request: EditRequest) -> None:
    """What belongs to one result has no place where there are several; and a method must have parts."""
    from vedit.jobs.edit.ablate import ablations

    for name in ("preview", "save_masks", "save_attention"):
        if getattr(request, name):
            raise UsageError(
                f"{option(name)} does not go with {option('ablate')}, which writes all variants side by side."
            )
    ablations(request.method)


def check_source(request: EditRequest) -> None:
    """Refuse a method that compares the words of two prompts when there is one."""
    told = outline(request.method)
    needs = told.needs if told else methods.load(request.method).NEEDS
    if "source prompt" in needs and not request.source_prompt.strip() and request.inversion is None:
        raise UsageError(
            f"{request.method} edits by the difference between two prompts, and {option('source_prompt')} is"
            " missing.",
            f"{option('source_prompt')} says what the clip shows, {option('prompt')} what it should show.",
            f"Add {option('source_prompt', QUOTED)}; or take a method that needs none, such as"
            f" {option('method', 'pnp')}",
        )


@dataclass(frozen=True)
class InvertPlan:
    """An inversion that can begin: its clip is read."""

    request: InvertRequest
    pixels: Pixels

    def __str__(self) -> str:
        width, height = self.pixels.selection.shape
        return (
            f"invert {self.request.input} with {self.request.model}: {len(self.pixels.durations)} frames of"
            f" {width}x{height}, {inversion_settings(self.request).steps} steps"
        )

    def run(self, sink: Sink = Quiet(), model: Model | None = None) -> dict[str, Any]:
        """Invert, write the file and measure it, if that is asked for; returns what was measured.

        Raises VeditError.
        """
        from vedit.jobs.edit.invert import invert_video, measure
        from vedit.media.atomic import together, whereabouts

        request = self.request
        assert request.output is not None, "plan_inversion asks for it"
        settings = inversion_settings(request)
        model = conditioned(model or load(request, sink), request.control, self.pixels, sink.warn)
        model = model.for_clip(self.pixels.selection.shape, len(self.pixels.durations), self.pixels.fps)
        with together():
            report = invert_video(model, self.pixels, request.output, settings, watch=sink.steps)
            return (
                {**report, **measure(model, self.pixels, whereabouts(request.output), settings)}
                if request.check
                else report
            )


def plan_inversion(request: InvertRequest, sink: Sink = Quiet()) -> InvertPlan:
    """Check all that can be checked without the model, and read the clip. Raises VeditError."""
    from vedit.media.atomic import check_output

    request = InvertRequest.from_json(request.json())
    output = request.output or ""
    if not output.endswith(".safetensors"):
        name = f"{output.rpartition('.')[0] or output}.inv.safetensors"
        raise UsageError(
            f"{option('output', output)} does not name an inversion.",
            "It ends in .safetensors.",
            f"Name it {name}",
        )
    check_output(output, (request.input,), True if request.overwrite else None)
    need("diffusion")
    inversion_settings(request)
    return InvertPlan(request, read_first(request, (request.prompt,), (), sink))


OWN_OF_INVERSION = (
    "steps",
    "fixed_point",
    "method",
    "guidance",
    "inner_steps",
    "lr",
    "early_stop",
    "shared",
    "solver",
)


def inversion_settings(request: InvertRequest) -> InversionSettings:
    """How a request wants a clip inverted: by its own values, or as a method does. Raises UsageError."""
    from vedit.engine.null_text import NullText
    from vedit.jobs.edit.invert import InversionSettings
    from vedit.methods.params import read_params

    method = request.for_method
    if method is None:
        for name in ("preset", "set", "embed_tuning"):
            if getattr(request, name):
                raise UsageError(
                    f"{option(name)} belongs to a method of editing, and none is named.",
                    "",
                    f"Add {option('for_method', 'video-p2p')}",
                )
        null = None
        if request.method == "null-text":
            null = NullText(
                request.guidance, request.inner_steps, request.lr, request.early_stop, request.shared
            )
        return InversionSettings(
            request.prompt,
            request.steps,
            request.fixed_point,
            request.frames_per_call,
            null,
            solver=request.solver,
        )
    module = methods.load(method)
    if "inversion" not in module.NEEDS:
        raise UsageError(f"{method} starts without an inversion.", "It edits the clip itself.")
    for name in OWN_OF_INVERSION:
        if getattr(request, name) != getattr(InvertRequest, name):
            raise UsageError(
                f"{option(name)} does not go with {option('for_method', method)}, which brings its own.",
                "",
                f"Try {option('set.steps', 20)}, or another parameter of {method}",
            )
    table = method_params(method, request.preset, request.set, request.model)
    params = read_params(module.Params, table, method)
    if request.embed_tuning and params.tuning is None:
        raise UsageError(
            f"{option('embed_tuning')}: {method} tunes nothing.", "video-p2p and edit-a-video do."
        )
    settings = InversionSettings.of(params, request.prompt, request.frames_per_call)
    return settings._replace(embed=request.embed_tuning)
