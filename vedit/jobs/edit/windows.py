"""The windows of an edit: a long clip goes through a method some frames at a time.

What is held at a time is one window, and the rest lies in temporary files, so that memory does
not grow with the clip. Methods whose frames act on each other get the clip as one, with the
network still called for `frames_per_call` frames at a time.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vedit import methods
from vedit.errors import UsageError, Warn, option
from vedit.jobs import cache
from vedit.jobs.clips import Pixels, blank_frames, every_frame, frames_of, scaled
from vedit.jobs.edit.conditions import conditioned, shown_picture
from vedit.jobs.edit.develop import Developer
from vedit.jobs.edit.first_frame import Whole, edited_first
from vedit.jobs.edit.invert import (
    InversionSettings,
    cached_inversion,
    inversion_facts,
    inversion_recipe,
    usable_inversion,
    windows,
)
from vedit.jobs.edit.reference import alone, place_of, reference_picture
from vedit.jobs.edit.unfinished import Windows, name_of
from vedit.jobs.masks import EditMask
from vedit.jobs.record import versions
from vedit.jobs.sink import Told
from vedit.jobs.watch import Watch
from vedit.media.options import WriteOptions
from vedit.media.run import Settings, written
from vedit.media.source import MadeSource
from vedit.methods.base import Prepared, Request, Window
from vedit.methods.params import read_params
from vedit.methods.sampled import check_second, with_image
from vedit.models.controls import at_frame
from vedit.motion import keeping
from vedit.pixels import from_bytes, padded, to_bytes

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from vedit.engine.artefact import Artefact
    from vedit.engine.sample import Step
    from vedit.jobs.edit.job import Job
    from vedit.models.family import Model


class Edit:
    """One edit of one clip: its windows, and what comes out of them.

    result: the edited frames (F, Y, X, 3) uint8, in a temporary file. spans: seconds of each part.
    inversion: which one was used, and what it took; None for methods without. tuning_peak: bytes that
    tuning takes, once that is known. whole: runs the edit that a method's first frame is made by; those that
    make none need it not.
    Raises UsageError for masks and settings that do not fit the clip.
    """

    result: np.ndarray
    tuning_peak: int | None = None

    def __init__(
        self, job: Job, model: Model, pixels: Pixels, warn: Warn, whole: Whole | None = None
    ) -> None:
        self.job, self.pixels, self.warn, self.whole = job, pixels, _once(warn), whole
        self.module = methods.load(job.method)
        self.params = read_params(self.module.Params, job.params, job.method)
        given = conditioned(model, job.control, pixels, self.warn)
        # adapters know the layers of a network that has not been inflated
        self.image, self.image_told = shown_picture(given, job.image_prompt, job.image_adapter, self.warn)
        self.model = model_for(given, self.params)
        self.mask = self._mask()
        self.done = 0  # frames of the windows that are decoded
        self.frames, self.source = len(pixels.durations), job.source
        self.is_whole = self.params.joins_frames or model.frame_axis
        self.window = self._window()
        self.model = self.model.for_clip(pixels.selection.shape, self.window, pixels.fps)
        self.timesteps = sampling_timesteps(self.params, "inversion" in self.module.NEEDS, self.model)
        self.artefact: Artefact | None = None
        self.inversion: dict[str, Any] | None = None
        self.masks: np.ndarray | None = None
        self.kept: Windows | None = None
        self.attention: dict[str, list[Tensor]] = {}
        self.spans = {"invert": 0.0, "edit": 0.0, "decode": 0.0}
        self.reference = self._reference()
        self.prepared = self._prepared()
        has_mask = self.mask is not None or self.prepared.makes_mask
        self.developer = Developer(
            model=self.model,
            pixels=pixels,
            mask=self.mask,
            gives_detail=job.detail is not False,
            keeps_outside=has_mask if job.keep_outside is None else job.keep_outside,
            frames_per_call=job.frames_per_call,
        )
        for name, asked in (("save_masks", job.save_masks), ("keep_outside", job.keep_outside)):
            if asked and not has_mask:
                raise UsageError(
                    f"{option(name)}: {job.method} makes no mask with these settings.",
                    f"Masks come from {option('mask')}, from blend_words of p2p, and from mask_words of dds"
                    " and glp.",
                    self._mask_by(),
                )

    def _mask(self) -> EditMask | None:
        """The user's masks, in the time that the instruction says."""
        job, when = self.job, None
        if hasattr(self.module, "spoken"):
            when = self.module.spoken(self.model, self.params, job.target)
        if not job.mask and when is None:
            return None
        return EditMask(job.mask, self.pixels, self.warn, job.flow or "tvl1", when)

    def _mask_by(self) -> str:
        """How to get a mask from the method, or from the user."""
        for key in ("blend_words", "mask_words"):
            if key in type(self.params).model_fields:
                return f"Try {option(f'set.{key}', ['WORD'])}"
        return f"Add {option('mask', 'FILE')}"

    def _window(self) -> int:
        is_one = self.params.inflation != "none" or (
            self.model.frame_axis and "inversion" in self.module.NEEDS
        )
        if is_one and self.job.window and self.job.window < self.frames:
            raise UsageError(
                f"{self.job.method} edits a clip as one, because all of its frames see each other:"
                f" {option('window', self.job.window)} would cut "
                f"{self.frames} frames apart.",
                "Fewer frames take less memory.",
                f"Try {option('frames', self.job.window)}, or {option('stride', 2)}",
            )
        if self.is_whole and self.job.window and self.job.window < self.frames:
            self.warn(
                f"{self.model.name if self.model.frame_axis else self.job.method} joins frames with these"
                f" settings: cut into windows of {self.job.window} it may jump between them"
            )
        if self.job.window is None and hasattr(self.module, "longest"):
            longest: int = min(self.frames, self.module.longest(self.model, self.params))
            if longest < self.frames:
                self.warn(
                    f"{self.frames} frames are edited in windows of {longest}, as many as {self.job.method}'s"
                    " weights were trained on: it may jump between them"
                )
            return longest
        return min(
            self.frames, self.job.window or (self.frames if self.is_whole else self.job.frames_per_call)
        )

    def _prepared(self) -> Prepared:
        """The method made ready for the clip; raises for settings that fit neither prompts nor model."""
        job = self.job
        self.request = Request(
            source_prompt=self.source,
            target_prompt=job.target,
            timesteps=tuple(self.timesteps),
            shape=(self.model.channels, *self.model.latent_size(self.pixels.selection.shape)),
            frames=self.model.frames(self.window),
            has_mask=self.mask is not None,
            seed=job.seed,
            frames_per_call=job.frames_per_call,
            wants_attention=job.save_attention is not None,
            warn=self.warn,
            reference=self.reference,
            image=self.image,
        )
        check_second(self.model, self.params)
        prepared: Prepared = self.module.prepare(self.model, self.request, self.params)
        return replace(prepared, plan=with_image(self.request, prepared.plan, prepared.branches))

    def run(self, watch: Watch) -> None:
        """Invert, and edit every window."""
        for _ in self.frames_done(watch):
            pass

    def frames_done(self, watch: Watch) -> Iterator[np.ndarray]:
        """Invert, and edit every window; give its frames (Y, X, 3) uint8 as soon as it is done."""
        with keeping(cache.flows_folder()):
            yield from self._frames_done(watch)

    def _frames_done(self, watch: Watch) -> Iterator[np.ndarray]:
        begin = time.perf_counter()
        if "inversion" in self.module.NEEDS:
            self._invert(watch)
            if (self.source, tuple(self.timesteps)) != (self.request.source_prompt, self.request.timesteps):
                self.prepared = (
                    self._prepared()
                )  # for the prompt and the levels of the inversion that is there
        self.spans["invert"] = since(begin)
        if self.job.ref_from is not None:
            self._make_reference(watch)
        if self._makes_first:
            self._edit_first_frame(watch)
        for note in self.prepared.notes:
            self.warn(note)
        if self.window < self.frames:
            wanted = name_of(
                self.recipe(), self.job.save_masks is not None, self.job.save_attention is not None
            )
            self.kept = Windows(wanted, self.pixels.shown_FYX3.shape, self.job.save_masks is not None)
            self.result, self.masks = self.kept.result, self.kept.masks
        else:
            self.result = blank_frames(self.pixels.shown_FYX3.shape)
        total = self.prepared.total * -(-self.frames // self.window)
        try:
            told = 0
            for _ in watch(self._steps(), total, self.job.method):
                yield from self.result[told : self.done]
                told = self.done
            yield from self.result[told:]
        finally:
            if self.kept is not None:
                self.kept.lock.release()

    def _invert(self, watch: Watch) -> None:
        job, params = self.job, self.params
        settings = InversionSettings.of(params, job.source, job.frames_per_call, tuple(self.timesteps))
        given = job.inversion or usable_inversion(job.invert_like)
        tuned = self._tune(settings, given, watch) if params.tuning else None
        self.artefact, self.inversion = cached_inversion(
            self.model,
            self.pixels,
            settings.like(job.invert_like),
            given=given,
            same_prompt="source prompt" in self.module.NEEDS,
            watch=watch,
            warn=self.warn,
        )
        if tuned is not None:
            self.inversion["tuning"] = tuned
        self.timesteps = list(self.model.schedule.nearest_stored(self.params.steps, self.artefact.saved))
        self.model.schedule.check_stored(self.timesteps, self.artefact.saved, self.artefact.path)
        self.source = str(self.artefact.facts["prompt"])
        if not self.artefact.null_steps and samples_again(params):
            self.warn(
                "nothing holds the source, which is sampled again with guidance: there are no null embeddings"
                f" in {self._where(given)}, so the edit may drift from the clip; to read the source from its"
                f" inversion: {option('set.source_branch', 'replay')}"
            )
        if self.artefact.null_steps and params.null_text != "none":
            self.artefact.check_null_text(self.timesteps, params.guidance)
            if params.negative_prompt and params.null_text == "both":
                raise UsageError(
                    f"{self.artefact.path}: its null embeddings stand where negative_prompt"
                    f" {params.negative_prompt!r} would.",
                    "Guidance leads away from one of them.",
                    f"Try {option('set.negative_prompt', '')}, or {option('set.null_text', 'none')}",
                )

    def _where(self, given: str | None) -> str:
        """Where null embeddings would be."""
        how = option("for_method", self.job.method)
        return (
            "an inversion with inner_steps = 0"
            if given is None
            else f"{given}, which was not made with {how}"
        )

    def _tune(self, settings: InversionSettings, given: str | None, watch: Watch) -> dict[str, Any]:
        """Put the weights tuned on the clip into the model, once an inversion that is given fits it."""
        from vedit.engine.artefact import Artefact
        from vedit.engine.inflation import inflated
        from vedit.jobs.edit.tuning import tune_model

        facts, artefact = inversion_facts(self.model, self.pixels, settings), None
        if given is not None:
            artefact = Artefact(given)
            artefact.check_against(facts, same_prompt="source prompt" in self.module.NEEDS)
        return tune_model(
            inflated(self.model),
            self.pixels,
            facts,
            frames_per_call=self.job.frames_per_call,
            given=artefact,
            watch=watch,
        )

    def _steps(self) -> Iterator[Any]:
        """The steps of all windows; each window is decoded behind its last step."""
        for frames in windows(self.frames, self.window):
            if self.kept is not None and self.kept.has(frames):
                self._take_attention(self.kept.attention(frames))
                self.done = frames.stop
                yield from range(self.prepared.total)
                continue
            begin = time.perf_counter()
            last = None
            window = self._window_of(frames)
            with at_frame(self.model, frames.start):
                for last in self.prepared.run(window):
                    yield last
            if last is None:
                raise UsageError(f"{self.job.method} made no step.", "Its step count must be at least 1.")
            self.spans["edit"] = round(self.spans["edit"] + since(begin), 3)
            begin = time.perf_counter()
            self._keep(frames, last, window.latents_FCYX)
            self.spans["decode"] = round(self.spans["decode"] + since(begin), 3)

    def _window_of(self, frames: slice) -> Window:
        artefact, timesteps, device = self.artefact, self.timesteps, self.model.device
        mask = None
        if self.mask is not None:
            size = self.pixels.selection.shape
            shares = self.mask.latent(frames, self.model.scale, size, self.model.cells)
            mask = self.model.packed(shares).to(device)
        if artefact is None:
            latents = self.model.encode_frames(
                from_bytes(self.pixels.frames_FYX3[frames]), self.job.frames_per_call
            )
            guide = self._guide(frames, latents)
            return Window(
                latents, no_latents, mask, first_frame=frames.start, pixels_F3YX=guide,
                mask_pixels=self._mask_pixels(frames),
            )  # fmt: skip

        def stored(index: int) -> Tensor:
            """The source's latents by step index; one past the last gives the clip's own."""
            return artefact.latents(timesteps[index] if index < len(timesteps) else None, frames)

        latents = artefact.latents(None, frames).to(device)
        nulls, guide = self._null_embeddings(frames), self._guide(frames, latents)
        return Window(latents, stored, mask, nulls, frames.start, pixels_F3YX=guide)

    def _reference(self) -> Tensor | None:
        """The reference picture; one that is to be made of a frame is black until then."""
        import torch

        job, selection = self.job, self.pixels.selection
        if job.ref is not None:
            is_first = "first frame" in self.module.NEEDS
            shown = reference_picture(job.ref, selection, self.warn, is_first=is_first)
        elif job.ref_from is not None:
            place_of(self.pixels, job.ref_from)
            shown = torch.full((3, selection.shape[1], selection.shape[0]), -1.0)
        elif self._makes_first:
            shown = torch.full((3, selection.shape[1], selection.shape[0]), -1.0)
        else:
            return None
        return padded(shown[None], self.model.scale * self.model.cells)[0]

    @property
    def _makes_first(self) -> bool:
        """Whether the first frame is to be edited before the clip is."""
        return "first frame" in self.module.NEEDS and self.job.ref is None

    def _edit_first_frame(self, watch: Watch) -> None:
        """Edit the first frame with the method and the model that the settings name."""
        assert self.whole is not None, "who lets such a method run hands in what runs whole edits"
        made = edited_first(
            self.job, self.params, self.pixels, str(self.model.device), Told(self.warn, watch), self.whole
        )
        self.reference = padded(from_bytes(made[None]), self.model.scale * self.model.cells)[0]
        self.prepared = self._prepared()

    def _make_reference(self, watch: Watch) -> None:
        """Edit the frame that is to be the reference, by the same weights as a clip of one frame."""
        assert self.job.ref_from is not None and self.job.ref_edit is not None, "they come together"
        one = alone(self.pixels, self.job.ref_from)
        job = self.job._replace(
            target=self.job.ref_edit, ref_from=None, ref_edit=None, mask=(), keep_outside=None,
            save_masks=None, window=None,
        )  # fmt: skip
        edit = Edit(job, self.model, one, self.warn)
        edit.run(watch)
        edit.finish()
        shown = from_bytes(scaled(edit.result, self.pixels.selection.shape))
        self.reference = padded(shown, self.model.scale * self.model.cells)[0]
        self.prepared = self._prepared()

    def _mask_pixels(self, frames: slice) -> Callable[[], Tensor] | None:
        """The user's mask of a window at the size that is worked on, when it is asked for."""
        given = self.mask
        if given is None:
            return None

        def made() -> Tensor:
            import torch

            shown = torch.from_numpy(given.pixels(frames)).float()[:, None] / 255
            width, height = self.pixels.selection.shape
            whole = torch.nn.functional.interpolate(shown, (height, width), mode="nearest-exact")
            return padded(whole, self.model.scale * self.model.cells)

        return made

    def _guide(self, frames: slice, latents_FCYX: Tensor) -> Tensor | None:
        """The window's pixels, for masks with their edges; None for a codec that packs frames."""
        if len(latents_FCYX) != frames.stop - frames.start:
            return None
        pixels_F3YX = padded(from_bytes(self.pixels.frames_FYX3[frames]), self.model.scale)
        rows, columns = (side * self.model.scale for side in latents_FCYX.shape[-2:])
        is_alike = tuple(pixels_F3YX.shape[-2:]) == (rows, columns)
        return pixels_F3YX.to(self.model.device) if is_alike else None

    def _null_embeddings(self, frames: slice) -> Callable[[int], Tensor] | None:
        """The null embeddings of a null-text inversion by step index, if the method is to use them."""
        artefact = self.artefact
        if artefact is None or not artefact.null_steps or self.params.null_text == "none":
            return None
        return lambda index: artefact.uncond(self.timesteps[index], frames).to(self.model.device)

    def _keep(self, frames: slice, step: Step, source_FCYX: Tensor) -> None:
        """Decode a window after its last step, and keep its mask and attention if they are wanted.

        source_FCYX: the clip's latents in this window.
        """
        pictures = frames.stop - frames.start
        made = self.developer.mask_of(step, pictures)
        latents = step.latents["tgt"]
        is_packed = len(latents) != pictures  # several frames in one of the latents
        for part in windows(len(latents), len(latents) if is_packed else self.job.frames_per_call):
            there = frames if is_packed else slice(frames.start + part.start, frames.start + part.stop)
            here = made if made is None or is_packed else made[part]
            developed = self.developer.frames(there, latents[part], source_FCYX[part], here)
            self.result[there] = to_bytes(developed)
        self.done = frames.stop
        if self.job.save_masks:
            if self.masks is None:
                self.masks = blank_frames(self.result.shape[:3])
            shown = self.developer.masks(frames, made, step.fine is not None)
            if shown is not None:
                self.masks[frames] = shown
        looked = {
            key: self.model.unpacked(value, pictures).float().cpu().contiguous()
            for key, value in step.attention.items()
        }
        self._take_attention(looked)
        if self.kept is not None:
            self.kept.keep(frames, looked)

    def _take_attention(self, maps: dict[str, Tensor]) -> None:
        for key, value in maps.items():
            self.attention.setdefault(key, []).append(value)

    def finish(self) -> None:
        """Drop what was kept for the same call to go on with: the results are written."""
        if self.kept is not None:
            self.kept.finish()

    def write_extras(self, settings: Settings) -> None:
        """The mask as a clip like the output, or as a folder of pictures; attention as a picture for each
        word.
        """
        import numpy as np
        import torch

        from vedit.jobs.edit.heatmaps import write_heatmaps

        if self.job.save_masks and self.masks is not None:
            grey = np.broadcast_to(self.masks[..., None], self.result.shape)
            is_folder = os.path.isdir(self.job.save_masks) or self.job.save_masks.endswith(("/", os.sep))
            settings = (
                settings._replace(write=WriteOptions(format="folder", overwrite=True))
                if is_folder
                else settings
            )
            timing = every_frame(self.pixels, self.job.save_masks, settings)
            source = MadeSource(self.job.input, lambda: frames_of(self.pixels, grey), settings.warn)
            written(source, self.job.save_masks, timing, settings)
        if self.job.save_attention:
            maps = {key: torch.cat(parts) for key, parts in self.attention.items()}
            write_heatmaps(self.job.save_attention, maps, self.pixels.shown_FYX3, self.developer.covered)

    def recipe(self) -> dict[str, Any]:
        """What the result depends on: equal recipes give equal pixels."""
        job, model = self.job, self.model
        return {
            "command": "edit",
            "input": job.input,
            "method": job.method,
            "params": self.params.model_dump(mode="json"),
            "source_prompt": self.source,
            "target_prompt": job.target,
            "seed": job.seed,
            "model": model.identity(),
            "device": str(model.device),
            "dtype": str(model.dtype).removeprefix("torch."),
            "clip": {**self.pixels.facts(), "size": list(self.pixels.selection.shown)},
            "sizes": self.sizes(),
            "selection": job.selection._asdict(),
            "frames_per_call": job.frames_per_call,
            "window": job.window,
            "edit_mask": list(job.mask),
            "keep_outside": self.developer.keeps_outside,
            "detail": self.developer.gives_detail,
            "inversion": None if self.artefact is None else inversion_recipe(self.artefact),
            **self.prepared.facts,
            **({"control": controls.told} if (controls := getattr(model, "controls", None)) else {}),
            **self.image_told,
            **self._flow_told(),
            **({"ref": job.ref} if job.ref is not None else {}),
            **({"ref_from": job.ref_from, "ref_edit": job.ref_edit} if job.ref_from is not None else {}),
            "versions": versions("torch", "diffusers", "transformers", "pillow"),
        }

    def _flow_told(self) -> dict[str, Any]:
        """What estimated motion, where that was asked for, and its weights."""
        from vedit.methods.params import of_flow

        flow = self.job.flow
        return {} if flow is None else {"flow": flow, **of_flow(flow)}

    def sizes(self) -> dict[str, Any]:
        """What was done to the frames: the clip's width and height, what was worked on and filled up to, and
        what was written.
        """
        selection, clip = self.pixels.selection, self.pixels.clip
        rows, columns = self.model.latent_size(selection.shape)
        return {
            "source": [clip.width, clip.height],
            "crop": "square" if isinstance(selection.size, int) else "none",
            "worked": list(selection.shape),
            "filled": [columns * self.model.scale, rows * self.model.scale],
            "output": list(selection.shown),
        }


def sampling_timesteps(params: Any, is_inverted: bool, model: Model) -> list[Any]:
    """The timesteps that a method samples at: levels of its inversion, where it has one; none where it does
    not sample.
    """
    if not hasattr(params, "steps"):
        return []
    if not is_inverted:
        return list(model.schedule.timesteps(params.steps))
    levels = model.schedule.timesteps(params.inversion_steps or params.steps)
    return list(model.schedule.nearest_stored(params.steps, levels))


def samples_again(params: Any) -> bool:
    """Whether the source branch is sampled with guidance, which does not lead back to the clip by itself."""
    return getattr(params, "source_branch", "replay") == "resample" and params.guidance != 1


def model_for(model: Model, params: Any) -> Model:
    """The model that a method works with: one with layers over frames, for a method that tunes them."""
    from vedit.engine.inflation import inflated

    return model if params.tuning is None else inflated(model)


def no_latents(index: int) -> Tensor:
    raise AssertionError("a method that reads the trajectory needs the inversion")


def since(begin: float) -> float:
    """Seconds from a reading of `time.perf_counter`."""
    return round(time.perf_counter() - begin, 3)


def _once(warn: Warn) -> Callable[[str], None]:
    """Every window says the same, of other frames: once is enough."""
    said: set[str] = set()

    def told(message: str) -> None:
        kind = re.sub(r"frame \d+", "frame", message)
        if kind not in said:
            said.add(kind)
            warn(message)

    return told
