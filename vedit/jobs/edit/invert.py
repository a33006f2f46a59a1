"""Invert a clip: from its pixels to the noise that samples back to it, kept for edits to come."""

from __future__ import annotations

import glob
import hashlib
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from vedit.errors import InputError, UsageError, Warn, option, silent
from vedit.jobs.clips import Pixels
from vedit.jobs.watch import Watch, unwatched
from vedit.media.atomic import apart
from vedit.models.controls import at_frame
from vedit.pixels import from_bytes, padded, psnr, to_bytes

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from vedit.engine.artefact import Artefact
    from vedit.engine.inflation import Inflation
    from vedit.engine.null_text import NullText
    from vedit.engine.solvers import Way
    from vedit.engine.tune import Tuning
    from vedit.models.family import Model, Showing
    from vedit.models.shown import Shown


SINGLE_STEP = ("ddim", "euler", "rf-solver")  # solvers that look at no step but their own


class InversionSettings(NamedTuple):
    """How to invert.

    steps: levels computed. fixed_point: further passes per step. null: null-text optimisation after
    it. keep: timesteps whose latents are written; None for all. inflation: how frames see each other.
    tuning: of the network on the clip, before. embed: whether its weights are written too. solver: "ddim",
    or one of a flow's own, which makes no further passes.
    """

    prompt: str
    steps: int = 50
    fixed_point: int = 1
    frames_per_call: int = 8
    null: NullText | None = None
    keep: tuple[float, ...] | None = None
    inflation: Inflation = "none"
    tuning: Tuning | None = None
    embed: bool = False
    solver: Way = "ddim"

    @classmethod
    def of(
        cls, params: Any, prompt: str, frames_per_call: int = 8, keep: tuple[float, ...] | None = None
    ) -> InversionSettings:
        """As a method's settings have it; null embeddings need every level."""
        keep = None if params.null else keep
        steps = params.inversion_steps or params.steps
        return cls(
            prompt,
            steps,
            params.fixed_point,
            frames_per_call,
            params.null,
            keep,
            params.inflation,
            params.tuning,
            solver=params.solver,
        )

    def like(self, recorded: Mapping[str, Any] | None) -> InversionSettings:
        """With the steps of an inversion that a run record describes."""
        if not recorded:
            return self
        from vedit.engine.null_text import NullText

        null = recorded["null"]
        return self._replace(
            steps=recorded["steps"],
            fixed_point=recorded["fixed_point"],
            null=NullText(**null) if null else None,
            keep=None if null else self.keep,
            solver=recorded.get("solver", "ddim"),
        )


def inversion_facts(model: Model, pixels: Pixels, settings: InversionSettings) -> dict[str, Any]:
    """The identity of an inversion: everything its latents depend on."""
    from dataclasses import asdict

    return {
        "kind": "null-text" if settings.null else "ddim",
        "fixed_point": settings.fixed_point if settings.solver == "ddim" else 0,
        "model": {**model.identity(), "inflation": settings.inflation},
        **({"tuning": asdict(settings.tuning)} if settings.tuning else {}),
        **({"solver": settings.solver} if settings.solver != "ddim" else {}),
        "source": pixels.facts(),
        "prompt": settings.prompt,
        "negative": "",
        "steps": settings.steps,
        "saved": kept_levels(model, settings),
        "cfg": 1.0,
        "scheduler": dict(model.schedule.identity),
        "null": asdict(settings.null) if settings.null else None,
        "dtype": str(model.dtype).removeprefix("torch."),
        "latent_dtype": "float32",
    }


def kept_levels(model: Model, settings: InversionSettings) -> list[Any]:
    """The timesteps whose latents an inversion writes, noisiest first."""
    levels = list(model.schedule.timesteps(settings.steps))
    return levels if settings.keep is None else [t for t in levels if t in settings.keep]


def check_prompt(model: Model, prompt: str) -> None:
    """Refuse words that the embedded model has never seen, before it makes a smear of them."""
    if model.is_embedded and prompt:
        from vedit.data.grammar import check_words

        check_words(prompt)


def check_solver(model: Model, solver: Way) -> None:
    """Refuse the solvers of a flow for a model that has none. Raises UsageError."""
    from vedit.models.flow import Flow

    if solver != "ddim" and not isinstance(model.schedule, Flow):
        raise UsageError(
            f"{option('solver', solver)} walks the flow of a model trained by flow matching, and"
            f" {model.name} is not one.",
            "It is inverted by ddim.",
            f"Leave out {option('solver')}",
        )


def windows(frames: int, size: int) -> Iterator[slice]:
    """A clip's frames, some at a time."""
    for first in range(0, frames, size):
        yield slice(first, min(first + size, frames))


def is_one(model: Model, settings: InversionSettings) -> bool:
    """Whether all frames are inverted together, because they see each other."""
    return settings.inflation != "none" or model.frame_axis


def invert_video(
    model: Model, pixels: Pixels, path: str, settings: InversionSettings, *, watch: Watch = unwatched
) -> dict[str, Any]:
    """Invert and write the artefact at `path`; returns what was measured.

    watch: wraps the steps to show progress. Frames go through in windows and each level is written
    as it is computed, so memory grows neither with the steps nor with the frames. Null-text
    optimisation starts from a plain inversion, which the cache keeps.
    """
    from vedit.engine.artefact import identity_key

    started = time.perf_counter()
    check_prompt(model, settings.prompt)
    check_solver(model, settings.solver)
    if settings.null and model.sees_picture:
        raise UsageError(
            f"null embeddings are optimised for networks that read text alone, and {model.name} is shown a"
            " picture.",
            "",
            "Invert it by ddim",
        )
    facts = inversion_facts(model, pixels, settings)
    if settings.tuning:
        from vedit.engine.inflation import inflated
        from vedit.jobs.edit.tuning import tune_model

        model = inflated(model)
        tune_model(model, pixels, facts, frames_per_call=settings.frames_per_call, watch=watch)
    if settings.null:
        plain, _ = cached_inversion(
            model, pixels, settings._replace(null=None, keep=None, embed=False), watch=watch
        )
        told = _write_null_text(model, plain, path, settings, facts, watch)
    else:
        told = _write_ddim(model, pixels, path, settings, facts, watch)
    return {
        "key": identity_key(facts),
        "path": path,
        "seconds": round(time.perf_counter() - started, 3),
        **told,
    }


def first_shown(model: Model, pixels: Pixels) -> Shown | None:
    """The clip's first frame as the network is shown it; None for one that sees no picture."""
    if not model.sees_picture:
        return None
    picture = padded(from_bytes(pixels.frames_FYX3[:1]), model.scale * model.cells)[0]
    return cast("Showing", model).show(picture, model.frames(len(pixels.durations)))[0]


def _write_ddim(
    model: Model, pixels: Pixels, path: str, settings: InversionSettings, facts: dict[str, Any], watch: Watch
) -> dict[str, Any]:
    from vedit.engine.artefact import going_on, level_name
    from vedit.engine.invert import invert, walk
    from vedit.jobs.edit.unfinished import Level, Levels, name_of

    text = model.encode_prompt(settings.prompt)
    timesteps = model.schedule.timesteps(settings.steps)
    pictures = len(pixels.durations)
    frames = model.frames(pictures)
    shape = (frames, model.channels, *model.latent_size(pixels.selection.shape))
    kept = kept_levels(model, settings)
    # cleanest level first, the order in which inversion makes them
    shapes: dict[str, tuple[int, ...]] = {
        "z0": shape,
        "text/source": tuple(text.shape),
        **{level_name(t): shape for t in reversed(kept)},
    }
    tuned = embedded_tuning(model, settings)
    shapes.update({name: tuple(tensor.shape) for name, tensor in tuned.items()})
    together = pictures if is_one(model, settings) else settings.frames_per_call
    with ExitStack() as stack:
        work = stack.enter_context(
            Levels(name_of(facts, settings.frames_per_call, settings.embed, str(model.device)))
        )
        begun = work.read() if work.file.exists() else None
        squares = begun.squares if begun else 0.0
        writer = stack.enter_context(going_on(work.file, shapes, facts, begun is not None))
        for name, tensor in {"text/source": text, **tuned}.items():
            writer.write(name, tensor)

        def steps() -> Iterator[Any]:
            nonlocal squares
            for part in windows(pictures, together):
                if begun and part.start < begun.first:
                    yield from timesteps
                    continue
                if begun and part.start == begun.first:
                    reached, latents = begun.reached, begun.latents.to(model.device)
                    yield from timesteps[reached:]
                else:
                    reached, latents = None, model.encode_frames(from_bytes(pixels.frames_FYX3[part]))
                    writer.write("z0", latents, part.start)
                rules: dict[str, Any] = {
                    "frames_per_call": settings.frames_per_call,
                    "first_frame": part.start,
                    "reached": reached,
                    "controller": control(model, settings, len(timesteps), part, shape),
                }
                walked = (
                    invert(
                        model,
                        timesteps,
                        latents,
                        text,
                        fixed_point=settings.fixed_point,
                        shown=first_shown(model, pixels),
                        **rules,
                    )
                    if settings.solver == "ddim"
                    else walk(model, timesteps, latents, text, settings.solver, **rules)
                )
                with at_frame(model, part.start):
                    for step in walked:
                        latents = step.latents
                        if step.timestep in kept:
                            writer.write(level_name(step.timestep), latents, part.start)
                        if settings.solver in SINGLE_STEP:  # the others need the step before
                            work.keep(Level(part.start, step.index, latents, squares))
                        yield step
                squares += float(latents.double().pow(2).mean()) * len(latents)

        for _ in watch(steps(), len(timesteps) * -(-pictures // together), "invert"):
            pass
        os.fsync(writer.stream.fileno())
        move_to(work.file, path)
        work.finish()
    return {"noise_rms": round((squares / frames) ** 0.5, 4)}


def control(
    model: Model, settings: InversionSettings, steps: int, part: slice, shape: tuple[int, ...]
) -> Any:
    """The rules by which frames see each other while they are inverted; None where they do not."""
    from vedit.engine.inflation import inflated_controller

    return inflated_controller(
        model, settings.inflation, "src", steps, part.stop - part.start, (shape[-2], shape[-1])
    )


def embedded_tuning(model: Model, settings: InversionSettings) -> dict[str, Tensor]:
    """The tuned weights that an inversion is to hold, by name."""
    from vedit.engine.inflation import inflated

    if not (settings.embed and settings.tuning):
        return {}
    return {f"tuned/{name}": weight.detach() for name, weight in inflated(model).tunable().items()}


def move_to(file: Path, path: str) -> None:
    """Give a finished file its name, which may be on another disk. Raises OutputError."""
    from vedit.jobs import cache
    from vedit.media.atomic import open_output

    if os.path.dirname(path) == cache.folder():
        os.replace(file, path)
        return
    with file.open("rb") as source, open_output(path) as stream:
        shutil.copyfileobj(source, stream, 1 << 20)


def _write_null_text(
    model: Model, plain: Artefact, path: str, settings: InversionSettings, facts: dict[str, Any], watch: Watch
) -> dict[str, Any]:
    """Copy a plain inversion and add the embeddings; those of single frames need one window at a time."""
    from vedit.engine.artefact import level_name, writing
    from vedit.engine.null_text import null_text

    null = settings.null
    assert null is not None
    timesteps = model.schedule.timesteps(settings.steps)
    shapes = {name: tuple(plain.tensors[name]["shape"]) for name in plain.names}
    frames, empty, text = shapes["z0"][0], model.encode_prompt(""), model.encode_prompt(settings.prompt)
    shapes.update(
        {level_name(t, "uncond"): (1 if null.shared else frames, *empty.shape[1:]) for t in timesteps}
    )
    tuned = embedded_tuning(model, settings)
    shapes.update({name: tuple(tensor.shape) for name, tensor in tuned.items()})
    is_whole = null.shared or is_one(model, settings)
    parts = [slice(0, frames)] if is_whole else list(windows(frames, settings.frames_per_call))
    error = 0.0
    with writing(path, shapes, facts) as writer:
        for name in plain.names:
            for part in windows(shapes[name][0], settings.frames_per_call):
                writer.write(name, plain.read(name, part), part.start)
        for name, tensor in tuned.items():
            writer.write(name, tensor)

        def steps() -> Iterator[Any]:
            nonlocal error
            for part in parts:

                def trajectory(index: int, part: slice = part) -> Tensor:
                    return plain.latents(timesteps[index] if index < len(timesteps) else None, part).to(
                        model.device
                    )

                with at_frame(model, part.start):
                    for step in null_text(
                        model, timesteps, trajectory, text, empty, null,
                        frames_per_call=settings.frames_per_call, first_frame=part.start,
                        controller=control(model, settings, len(timesteps), part, shapes["z0"]),
                    ):  # fmt: skip
                        writer.write(
                            level_name(step.timestep, "uncond"),
                            step.embedding,
                            0 if len(step.embedding) == 1 else part.start,
                        )
                        yield step
                error += float(step.errors.sum())

        for _ in watch(steps(), len(timesteps) * len(parts), "null-text"):
            pass
    return {"null_error": error / frames}


def reconstruct(
    model: Model,
    artefact: Artefact,
    steps: int,
    frames: slice = slice(None),
    frames_per_call: int = 8,
    inflation: Inflation = "none",
    solver: Way = "ddim",
    shown: Shown | None = None,
) -> Tensor:
    """Sample some frames of an inversion back: the latents that should equal z0.

    Guidance is 1, or with null embeddings what they were optimised for. shown: the picture that a network
    which sees one is shown.
    """
    from vedit.engine.controller import Controller
    from vedit.engine.inflation import inflation_rules
    from vedit.engine.invert import walk
    from vedit.engine.rules import Plan
    from vedit.engine.sample import Stream, sample
    from vedit.engine.solvers import SYMMETRIC

    timesteps = model.schedule.nearest_stored(steps, artefact.saved)
    model.schedule.check_stored(timesteps, artefact.saved, artefact.path)
    begin, text = artefact.latents(timesteps[0], frames).to(model.device), artefact.text().to(model.device)
    if solver in SYMMETRIC and solver != "ddim":
        *_, last = walk(model, timesteps, begin, text, solver, frames_per_call=frames_per_call, back=True)
        return last.latents
    stream = Stream("src", begin, text, shown=shown)
    if artefact.null_steps:
        stream.guidance = float(artefact.facts["null"]["guidance"])
        artefact.check_null_text(timesteps, stream.guidance)
        stream.uncond = lambda index: artefact.uncond(timesteps[index], frames).to(model.device)
    count, size = len(stream.latents), (stream.latents.shape[-2], stream.latents.shape[-1])
    rules = inflation_rules(model, inflation, stream.branches, len(timesteps), count)
    controller = Controller(model, Plan(rules), stream.branches, count, size, model.text_tokens)
    with controller.installed():
        for _ in sample(model, timesteps, [stream], controller, frames_per_call=frames_per_call):
            pass
    return stream.latents


def measure(model: Model, pixels: Pixels, path: str, settings: InversionSettings) -> dict[str, float]:
    """How well an inversion samples back, in dB: to the clip, and to the autoencoder's own round trip."""
    from vedit.engine.artefact import Artefact

    artefact = Artefact(path)
    if settings.tuning:
        from vedit.engine.inflation import inflated
        from vedit.jobs.edit.tuning import tune_model

        model = inflated(model)
        tune_model(model, pixels, artefact.facts, given=artefact)
    errors, size, frames = {"psnr": 0.0, "psnr_vae": 0.0}, pixels.selection.shape, len(pixels.durations)
    for part in windows(frames, frames if is_one(model, settings) else settings.frames_per_call):
        with at_frame(model, part.start):
            sampled = reconstruct(
                model,
                artefact,
                settings.steps,
                part,
                settings.frames_per_call,
                settings.inflation,
                settings.solver,
                first_shown(model, pixels),
            )
        count = part.stop - part.start
        result = to_bytes(model.decode_latents(sampled, size=size)[:count])
        errors["psnr"] += squared_error(result, pixels.frames_FYX3[part])
        errors["psnr_vae"] += squared_error(
            result, to_bytes(model.decode_latents(artefact.latents(None, part), size=size)[:count])
        )
    return {
        name: round(psnr(error / pixels.frames_FYX3.size, peak=255, ceiling=math.inf), 2)
        for name, error in errors.items()
    }


def squared_error(a_FYX3: np.ndarray, b_FYX3: np.ndarray) -> float:
    """The sum of the squared differences of bytes."""
    difference = a_FYX3.astype("float64") - b_FYX3
    return float((difference**2).sum())


def inversion_recipe(artefact: Artefact) -> dict[str, Any]:
    """What is needed to find an inversion, or to make it again."""
    return {
        "key": artefact.key,
        **{name: artefact.facts.get(name) for name in ("kind", "steps", "fixed_point", "null")},
        **({"solver": artefact.facts["solver"]} if "solver" in artefact.facts else {}),
    }


def usable_inversion(recorded: Mapping[str, Any] | None) -> str | None:
    """The file that a record's inversion was read from, if it is still there and the same."""
    from vedit.engine.artefact import Artefact

    path = (recorded or {}).get("path")
    try:
        return (
            str(path)
            if recorded and path and os.path.exists(path) and Artefact(path).key == recorded["key"]
            else None
        )
    except InputError:  # damaged since: it is made again
        return None


def short_name(levels: Sequence[float]) -> str:
    """Which levels a file of the cache holds, for its name."""
    return hashlib.sha256(",".join(map(str, levels)).encode()).hexdigest()[:8]


def kept_inversion(key: str, levels: Sequence[float], warn: Warn = silent) -> Artefact | None:
    """An inversion of the cache with these levels, or more of them. warn: told of each that is damaged."""
    from vedit.engine.artefact import Artefact
    from vedit.jobs import cache

    for path in sorted(glob.glob(os.path.join(glob.escape(cache.folder()), f"{key}*.inv.safetensors"))):
        try:
            artefact = Artefact(path)
            if artefact.key != key or not {"z0", "text/source"} <= set(artefact.names):
                raise InputError("it does not hold what its name says.")
        except InputError as error:
            warn(
                f"the kept inversion {key[:16]} is damaged and made anew:"
                f" {error.what.removeprefix(f'{path}: ').rstrip('.')}"
            )
            continue
        if set(levels) <= set(artefact.saved):
            return artefact
    return None


def cached_inversion(
    model: Model,
    pixels: Pixels,
    settings: InversionSettings,
    *,
    given: str | None = None,
    same_prompt: bool = True,
    watch: Watch = unwatched,
    warn: Warn = silent,
) -> tuple[Artefact, dict[str, Any]]:
    """The inversion to edit from, and what it took: the file given, else the cache's, else a new one put
    there.

    warn: told of a file of the cache that is damaged and made anew.

    Raises UsageError for a file that is of another model or clip, or, with `same_prompt`, of another prompt.
    """
    from vedit.engine.artefact import Artefact, identity_key
    from vedit.jobs import cache

    facts = inversion_facts(model, pixels, settings)
    if given is not None:
        artefact = Artefact(given)
        artefact.check_against(facts, same_prompt=same_prompt)
        return artefact, {**inversion_recipe(artefact), "path": given, "seconds": 0.0}
    key = identity_key(facts)
    path = os.path.join(cache.folder(), f"{key}-{short_name(facts['saved'])}.inv.safetensors")
    if (kept := kept_inversion(key, facts["saved"], warn)) is not None:
        return kept, {**inversion_recipe(kept), "path": kept.path, "seconds": 0.0, "cached": True}
    try:
        os.makedirs(cache.folder(), exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the cache folder {cache.folder()} cannot be made: {error.strerror}.",
            "",
            "Set VEDIT_CACHE_DIR to a folder of yours",
        ) from None
    with apart():
        report = invert_video(model, pixels, path, settings, watch=watch)
    artefact = Artefact(path)
    return artefact, {**inversion_recipe(artefact), **report}
