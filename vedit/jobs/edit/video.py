"""Edit a clip by text: read, invert, run a method, decode, write, record."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from vedit import methods
from vedit.errors import Warn, option
from vedit.jobs.clips import Pixels, blank_frames, every_frame, frames_of, read_pixels
from vedit.jobs.edit.first_frame import Whole
from vedit.jobs.edit.fits import check_network, of_model
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
    say_nothing_changed(job, pixels, edit.result, settings.warn)
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


def say_nothing_changed(job: Job, pixels: Pixels, result_FYX3: np.ndarray, warn: Warn) -> None:
    """Tell of an edit that should change the clip, and leaves every pixel as it was."""
    import numpy as np

    if job.target == job.source or not all(
        np.array_equal(*pair) for pair in zip(result_FYX3, pixels.shown_FYX3, strict=True)
    ):
        return
    shown = "" if job.detail is False else f"; {option('detail', False)} shows what the model makes of it"
    warn(f"the edit changes no pixel of the clip: try more steps, more guidance or a larger mask{shown}")


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
    check_network(job.method, module.NEEDS, of_model(model))
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
