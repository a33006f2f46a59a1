"""Edit a clip by text: read, invert, run a method, decode, write, record."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from vedit import methods
from vedit.errors import ModelError, Warn, option
from vedit.jobs.clips import Pixels, blank_frames, every_frame, frames_of, read_pixels
from vedit.jobs.edit.first_frame import Whole
from vedit.jobs.edit.invert import check_prompt, check_solver
from vedit.jobs.edit.job import Job
from vedit.jobs.edit.memory import check_memory
from vedit.jobs.edit.windows import Edit, since
from vedit.jobs.record import comment_of, embedded, peak_memory_mib, write_record
from vedit.jobs.watch import Watch, unwatched
from vedit.media.atomic import together
from vedit.media.formats import keeps_sound, output_format
from vedit.media.frames import Clip, Frame
from vedit.media.run import Report, Settings, written
from vedit.media.source import MadeSource
from vedit.methods.params import read_params
from vedit.models.hub import EMBEDDED_MOTION

if TYPE_CHECKING:
    import numpy as np

    from vedit.models.family import Model


def edit_video(
    job: Job,
    model: Model,
    settings: Settings,
    *,
    pixels: Pixels | None = None,
    watch: Watch = unwatched,
    whole: Whole | None = None,
) -> dict[str, Any]:
    """Run one edit and write its output; returns the run record.

    pixels: the job's frames, where they are read already. whole: as for `Edit`. Everything the user typed is
    checked before the first evaluation. Raises VeditError.
    """
    started = time.perf_counter()
    check_job(job, model)
    pixels = pixels or read_pixels(job.input, job.selection, warn=settings.warn)
    say_what_is_lost(job, pixels, settings.warn)
    edit = Edit(job, model, pixels, settings.warn, whole)
    check_memory(edit, job.memory_mib)
    edit.spans["read"] = since(started)
    try:
        edit.run(watch)
    except (KeyboardInterrupt, SystemExit):
        settings.warn("what is done so far is kept: the same call goes on from here")
        raise
    with together():  # the output, what was asked for beside it, and the record: all, or nothing of it
        return _write_all(job, model, pixels, edit, settings, started)


def _write_all(
    job: Job, model: Model, pixels: Pixels, edit: Edit, settings: Settings, started: float
) -> dict[str, Any]:
    """Write the output and what goes with it; returns the run record."""
    begin = time.perf_counter()
    report = write_result(job, pixels, edit.result, edit.recipe(), settings)
    if job.preview:
        pair = side_by_side(pixels.shown_FYX3, edit.result)
        source = MadeSource(job.input, lambda: frames_of(pixels, pair), settings.warn)
        written(source, job.preview, every_frame(pixels, job.preview, settings), settings)
    edit.write_extras(settings)
    edit.spans["write"] = since(begin)
    record = {
        **edit.recipe(),
        "output": job.output,
        "preview": job.preview,
        "mask": _beside(job.save_masks, job.output),
        "attention": _beside(job.save_attention, job.output),
        "inversion": edit.inversion,
        "seconds": {**edit.spans, "total": since(started)},
        "peak_memory_mib": peak_memory_mib(model.device),
        "images": report.images,
    }
    if job.record and job.output != "-":
        write_record(job.output, record)
    edit.finish()
    return record


def write_result(
    job: Job, pixels: Pixels, result_FYX3: np.ndarray, recipe: dict[str, Any], settings: Settings
) -> Report:
    """Write edited frames, which carry their recipe where the container can, unless the job leaves it out."""

    def made() -> tuple[Clip, Iterator[Frame]]:
        clip, frames = frames_of(pixels, result_FYX3)
        return (embedded(clip, recipe) if job.record else clip), frames

    if job.record:
        settings = settings._replace(write=settings.write._replace(comment=comment_of(recipe)))
    report = written(
        MadeSource(job.input, made, settings.warn),
        job.output,
        every_frame(pixels, job.output, settings),
        settings,
    )
    if report.images is not None and report.images < len(result_FYX3):
        settings.warn(
            f"{job.output} has {report.images} of {len(result_FYX3)} frames: a GIF plays at most 50 a second;"
            " to keep all, end its name in .mp4"
        )
    return report


def check_job(job: Job, model: Model) -> None:
    """Refuse what is wrong with a job before its clip is read."""
    module = methods.load(job.method)
    params = read_params(module.Params, job.params, job.method)
    check_network(job.method, module.NEEDS, model)
    if (
        "inversion" in module.NEEDS and job.inversion is None and job.invert_like is None
    ):  # those are asked what they hold
        inverted = params.inversion_steps or params.steps
        levels = model.schedule.timesteps(inverted)
        model.schedule.check_stored(
            model.schedule.nearest_stored(params.steps, levels), levels, f"an inversion of {inverted} steps"
        )
    if "inversion" in module.NEEDS:
        check_solver(model, params.solver)
    if "instruction" in module.NEEDS:
        return  # its own words are checked when it is made ready
    for prompt in (job.source, job.target):
        check_prompt(model, prompt)


def check_network(method: str, needs: Collection[str], model: Model) -> None:
    """Refuse a method on a network of another kind, naming what would fit. Raises ModelError."""
    from vedit.models.flow import Flow

    lacking = {"mask", "instruction", *({"first frame"} if not model.sees_picture else ())}
    lacking |= set() if isinstance(model.schedule, Flow) else {"flow"}
    is_over_frames = any(site.kind == "temporal" for site in model.sites())
    lacking |= {"pictures"} if model.frame_axis else set()
    lacking |= set() if is_over_frames else {"temporal"}
    able = [name for name in methods.without(lacking) if shows(methods.load(name).NEEDS, model)]
    fits = f"Methods for it are {', '.join(able)}."
    if model.frame_axis and "pictures" in needs:
        own = "flowedit" if "flow" not in lacking else able[-1]
        raise ModelError(
            f"{method} is for networks that see the frames of a clip one by one, and {model.name} sees"
            " them all at once.",
            fits,
            f"Try {option('method', own)}",
        )
    if "first frame" in needs and not model.sees_picture:
        raise ModelError(
            f"{method} gives an edited first frame to a network that makes a clip of it, and {model.name} is"
            " shown none.",
            "Models that are have the layout of diffusers' I2VGenXLPipeline or"
            " StableVideoDiffusionPipeline; none is embedded.",
            f"Try {option('model', 'ali-vilab/i2vgen-xl')}",
        )
    if not shows(needs, model):
        raise ModelError(
            f"{model.name} makes a clip of its first frame, and {method} shows it none.",
            fits,
            f"Try {option('method', able[0])}",
        )
    if "temporal" in needs and not is_over_frames:
        raise ModelError(
            f"{method} acts on attention over frames, and {model.name} has no layers that are for it.",
            f"Such are AnimateDiff's: {EMBEDDED_MOTION} (embedded), a folder in the layout of"
            " AnimateDiffPipeline, or a Stable Diffusion model and a motion adapter, as MODEL+ADAPTER.",
            f"Try {option('model', 'OWNER/NAME+guoyww/animatediff-motion-adapter-v1-5-2')}",
        )


def shows(needs: Collection[str], model: Model) -> bool:
    """Whether a method shows a network the picture that it wants, if it does."""
    return "first frame" in needs or not model.sees_picture


def say_what_is_lost(job: Job, pixels: Pixels, warn: Warn) -> None:
    """Name what a clip has and an edit of it does not."""
    clip = pixels.clip
    had = {
        "sound": clip.audio is not None,
        "chapters": bool(clip.labels.chapters),
        "subtitles": bool(clip.subtitles),
    }
    lost = [name for name, is_there in had.items() if is_there]
    if lost and not keeps_sound(
        output_format(job.output)
    ):  # a writer of films says itself what it leaves out
        kept = f"; to keep the {lost[0]}, end the output's name in .mp4" if lost != ["subtitles"] else ""
        warn(
            f"the clip has {' and '.join(filter(None, (', '.join(lost[:-1]), lost[-1])))}, and what is"
            f" written has none{kept}"
        )
    if pixels.has_alpha:
        warn("the clip is transparent in part; it is edited over white, and the result has no transparency")


def _beside(path: str | None, output: str) -> str | None:
    """A path as seen from the folder of the output, where the sidecar lies."""
    return path if path is None or output == "-" else os.path.relpath(path, os.path.dirname(output) or ".")


def side_by_side(source: np.ndarray, result: np.ndarray) -> np.ndarray:
    """Source | edit, with a thin line between."""
    return in_a_row([source, result])


def in_a_row(clips: Sequence[np.ndarray]) -> np.ndarray:
    """Clips of one size beside each other, with thin lines between."""
    count, height, width = clips[0].shape[:3]
    row = blank_frames((count, height, len(clips) * (width + 2) - 2, 3))
    row[:] = 255
    for place, frames in enumerate(clips):
        row[:, :, place * (width + 2) :][:, :, :width] = frames
    return row
