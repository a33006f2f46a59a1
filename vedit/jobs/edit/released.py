"""An edit by a released editor: the clip goes through a pipeline of diffusers as a whole, and comes back.

Outside a mask the source's own pixels are put back, since these editors alter what they are told to keep.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from vedit import methods
from vedit.errors import ModelError, UsageError, option
from vedit.jobs.clips import every_frame, frames_of, read_pixels, scaled
from vedit.jobs.edit.before import asked_of, check_clip, check_file, check_instruction, chooser
from vedit.jobs.edit.plan import EditPlan, check_files, settled
from vedit.jobs.edit.request import EditRequest
from vedit.jobs.edit.settings import method_params
from vedit.jobs.extras import need
from vedit.jobs.masks import EditMask
from vedit.jobs.record import peak_memory_mib, versions, write_record
from vedit.jobs.sink import Quiet, Sink
from vedit.media.run import Settings, written
from vedit.media.source import MadeSource
from vedit.media.window import usable_cores
from vedit.models.adapters import check_exist
from vedit.models.hub import EMBEDDED

if TYPE_CHECKING:
    from types import ModuleType

    import numpy as np
    from PIL.Image import Image

    from vedit.models.editors.editor import Editor

METHOD = "instruct"
OF_OURS = (
    "inversion", "window", "memory", "save_masks", "save_attention", "truth", "ref_from", "detail", "control",
    "image_prompt", "image_adapter", "flow",
)  # fmt: skip


class ReleasedPlan(EditPlan):
    """An edit that can begin: its clip is read."""

    def explain(self, sink: Sink = Quiet(), model: Any = None) -> str:
        """What will be handed over; loads nothing."""
        from vedit.models.editors.editor import filled

        backend, frames = backend_of(self.job.params), self.pixels.frames_FYX3
        count, height, width = filled(frames[:, :, :, :1], backend, self.job.params).shape[:3]
        return "\n".join(
            [
                str(self),
                f"{backend.PIPELINE}: {backend.SUMMARY} Licence: {backend.LICENCE.name}.",
                f"{len(frames)} frames of {frames.shape[2]}x{frames.shape[1]}, filled up to {count} of"
                f" {width}x{height}; a mask is {'handed over' if backend.MASKS else 'put back behind it'}",
            ]
        )

    def costs(self, sink: Sink = Quiet(), model: Any = None) -> list[str]:
        """Not known before it runs: the pipeline has its own way with memory."""
        return []

    def run(self, sink: Sink = Quiet(), model: Any = None) -> dict[str, Any]:
        """Edit and write the output; returns the run record. model: an editor that is loaded already."""
        from vedit.jobs.edit.video import say_what_is_lost, side_by_side, write_result
        from vedit.media.atomic import together

        if self.request.output is None:
            raise UsageError("no output named.", "", f"Add {option('output', 'FILE')}")
        began, settings = time.perf_counter(), Settings(jobs=usable_cores(), warn=sink.warn)
        say_what_is_lost(self.job, self.pixels, settings.warn)
        editor = model or load(self.request, sink)
        loaded = time.perf_counter()
        result, recipe = self._edited(editor, sink), self._recipe(editor)
        spans = {"edit": round(time.perf_counter() - loaded, 3)}
        job = self.job
        with together():
            report = write_result(job, self.pixels, result, recipe, settings)
            if job.preview:
                pair = side_by_side(self.pixels.shown_FYX3, result)
                source = MadeSource(job.input, lambda: frames_of(self.pixels, pair), settings.warn)
                written(source, job.preview, every_frame(self.pixels, job.preview, settings), settings)
            record = {
                **recipe,
                "output": job.output,
                "preview": job.preview,
                "seconds": {**spans, "total": round(time.perf_counter() - began, 3)},
                "peak_memory_mib": peak_memory_mib(editor.device),
                "images": report.images,
            }
            if job.record and job.output != "-":
                write_record(job.output, record)
        return record

    def frames(self, sink: Sink = Quiet(), model: Any = None) -> Iterator[Image]:
        """The edited frames as pictures; nothing is written."""
        from PIL import Image

        return map(Image.fromarray, self._edited(model or load(self.request, sink), sink))

    @property
    def puts_back(self) -> bool:
        """Whether the source's own pixels are put back outside the mask."""
        return bool(self.job.mask) if self.job.keep_outside is None else self.job.keep_outside

    def _edited(self, editor: Editor, sink: Sink) -> np.ndarray:
        from vedit.models.editors import Order

        job, pixels, count = self.job, self.pixels, len(self.pixels.durations)
        mask = EditMask(job.mask, pixels, sink.warn) if job.mask else None
        if job.keep_outside and mask is None:
            raise UsageError(
                f"{option('keep_outside')}: there is no mask.", "", f"Add {option('mask', 'box:X,Y,W,H')}"
            )
        shown = None if mask is None else mask.pixels(slice(0, count))
        order = Order(
            job.target,
            dict(job.params),
            job.seed,
            None if shown is None or not editor.backend.MASKS else at_size(shown, pixels.selection.shape),
            reference_of(job.ref),
            job.frames_per_call,
            pixels.fps,
        )
        total = int(job.params["steps"])
        passed = iter(sink.steps(iter(range(total)), total, "edit"))
        made = editor.edit(pixels.frames_FYX3, order, lambda: next(passed, None))
        for _ in passed:
            pass
        made = scaled(made, pixels.selection.shown)
        return made if shown is None or not self.puts_back else put_back(pixels.shown_FYX3, made, shown)

    def _recipe(self, editor: Editor) -> dict[str, Any]:
        """What the result depends on."""
        job, selection = self.job, self.pixels.selection
        return {
            "command": "edit",
            "input": job.input,
            "method": job.method,
            "params": dict(job.params),
            "source_prompt": "",
            "target_prompt": job.target,
            "seed": job.seed,
            "model": editor.identity(),
            "device": str(editor.device),
            "dtype": str(editor.dtype).removeprefix("torch."),
            "clip": {**self.pixels.facts(), "size": list(selection.shown)},
            "sizes": {"worked": list(selection.shape), "output": list(selection.shown)},
            "selection": selection._asdict(),
            "frames_per_call": job.frames_per_call,
            "window": None,
            "edit_mask": list(job.mask),
            "keep_outside": self.puts_back,
            "inversion": None,
            "ref": job.ref,
            "versions": versions("torch", "diffusers", "transformers", "pillow"),
        }


def backend_of(params: Any) -> ModuleType:
    """The module of the editor that parameters name. Raises UsageError."""
    from vedit.models import editors

    return editors.load(str(params.get("backend", "ip2p")))


def plan_released(request: EditRequest, sink: Sink, *, repeats: bool = False) -> ReleasedPlan:
    """Check all that can be checked without the editor, and read the clip. Raises VeditError."""
    need("diffusion")
    for name in OF_OURS:
        if getattr(request, name) not in (None, False, ()):
            raise UsageError(
                f"{option(name)} does not go with {option('method', METHOD)}.",
                "A released editor samples by itself.",
                f"Leave out {option(name)}",
            )
    if request.ablate:
        raise UsageError(f"{METHOD} has no parts to leave out.", "", f"Leave out {option('ablate')}")
    if not repeats:
        check_files(request)
    check_instruction(request)
    check_exist(request.lora)
    check_file(request.ref, "ref")
    given = method_params(METHOD, request.preset, request.set, request.model, **request.own_options)
    params = methods.load(METHOD).Params.model_validate(given).model_dump(mode="json")
    backend = backend_of(params)
    if hasattr(backend, "check"):
        backend.check(model_of(backend, request), request.lora)
    read = check_settings(backend, params, given, request)
    params = {key: params[key] for key in read}
    size = check_clip(request.input)
    choose = chooser(asked_of(request), backend.SIDE, request.mask)
    if size is not None:
        choose(size)
    pixels = read_pixels(request.input, choose, warn=sink.warn)
    if request.mask:
        EditMask(request.mask, pixels, Quiet().warn)
    selection = pixels.selection._replace(frames=request.frames) if repeats else pixels.selection
    return ReleasedPlan(request, pixels, settled(request, selection, params))


def check_settings(backend: ModuleType, params: Any, given: Any, request: EditRequest) -> tuple[str, ...]:
    """The keys that the editor reads. Raises UsageError for settings and pictures that it does not."""
    shared = ("backend", "steps", "guidance", "negative_prompt", *backend.OWN)
    for key in given:
        if key not in shared:
            raise UsageError(
                f"{option(f'set.{key}', given[key])}: {params['backend']} has no {key}.",
                f"It reads {', '.join(shared[1:])}.",
            )
    if request.ref is not None and not backend.MASKS:
        raise UsageError(
            f"{option('ref')}: {params['backend']} takes no reference picture.",
            "",
            f"Try {option('backend', 'vace')}",
        )
    return shared


def load(request: EditRequest, sink: Sink) -> Editor:
    """The editor that a request names, by its model or by its backend alone."""
    from vedit.models.editors.editor import load_editor

    params = method_params(METHOD, request.preset, request.set, request.model, **request.own_options)
    backend = backend_of(params)
    return load_editor(
        backend,
        model_of(backend, request),
        request.revision,
        device=request.device,
        dtype=request.dtype,
        offload=request.offload,
        lora=request.lora,
        accepted=request.accept_licence,
        warn=sink.warn,
    )


def model_of(backend: ModuleType, request: EditRequest) -> str:
    """The model that is named, else the backend's own."""
    return str(backend.MODEL) if request.model == EMBEDDED else request.model


def check_weights(record: Any, editor: Editor) -> None:
    """Refuse an editor whose weights are not those of a record. Raises ModelError."""
    told = editor.identity()
    if any(record["model"].get(key) != value for key, value in told.items() if key.endswith("_sha256")):
        raise ModelError(
            f"the weights of {editor.name} are not those of the record.",
            "Their hashes differ, so the result would too.",
            f"Name the model that was used: {option('model', 'NAME')}",
        )


def at_size(mask_FYX: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask at a width and height, hard: white where more than half is."""
    import numpy as np

    stacked = np.repeat(mask_FYX[..., None], 3, -1)
    return np.where(scaled(stacked, size)[..., 0] > 127, 255, 0).astype(np.uint8)


def reference_of(name: str | None) -> tuple[Any, ...]:
    from vedit.media.pictures import read_file

    return () if name is None else (read_file(os.fspath(name)).convert("RGB"),)


def put_back(source_FYX3: np.ndarray, made_FYX3: np.ndarray, mask_FYX: np.ndarray) -> np.ndarray:
    """The source's own pixels where the mask is black, in proportion where it is grey."""
    import numpy as np

    share = mask_FYX[..., None].astype(np.uint16)
    mixed = (source_FYX3.astype(np.uint16) * (255 - share) + made_FYX3.astype(np.uint16) * share + 127) // 255
    found: np.ndarray = mixed.astype(np.uint8)
    return found
