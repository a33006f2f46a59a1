"""Caption clips: their frames, a captioner's words, NAME.txt beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vedit.errors import OutputError, UsageError, VeditError, option
from vedit.jobs.caption import captioners
from vedit.jobs.caption.request import CaptionRequest
from vedit.jobs.clips import Selection, read_pixels
from vedit.jobs.sink import Quiet, Sink

Caption = dict[str, Any]


def run(request: CaptionRequest, sink: Sink = Quiet()) -> Iterator[tuple[str, Caption | VeditError]]:
    """Each input with what is said of it, or with what was wrong with it.

    A caption has clip (its name), caption, frames (time in seconds, caption) and model. Raises UsageError
    before anything is read.
    """
    module = captioners.module_of(request.model)
    for name in ("frames", "every"):
        if (value := getattr(request, name)) is not None and value < 1:
            raise UsageError(f"{name} = {value} leaves no frame to look at.", "Give 1 or more.")
    if request.write_txt:
        beside = {side_file(name): name for name in request.inputs}
        if len(beside) < len(request.inputs):
            raise UsageError("two inputs would share one caption file.", "Caption them one after the other.")
    captioner = module.open_captioner(request.device)
    for name in request.inputs:
        try:
            yield name, _one(name, request, module, captioner, sink)
        except VeditError as error:
            yield name, error


def _one(
    name: str, request: CaptionRequest, module: Any, captioner: captioners.Captioner, sink: Sink
) -> Caption:
    selection = Selection(0, request.every or module.EVERY, request.frames or module.FRAMES, module.SIZE)
    pixels = read_pixels(name, selection, warn=sink.warn)
    try:
        told = captioner.told(pixels.frames_FYX3, request.detail)
    except VeditError as error:
        raise error.in_file(name) from error.__cause__
    if request.write_txt:
        write_beside(name, told.clip, overwrite=request.overwrite)
    seconds = [round(begin, 3) for begin, _ in pixels.times()]
    frames = [{"at": at, "caption": text} for at, text in zip(seconds, told.frames, strict=True)]
    return {"clip": name, "caption": told.clip, "frames": frames, "model": captioner.facts()}


def side_file(name: str) -> str:
    """The caption file of a clip, or of a folder of pictures: NAME.txt beside it."""
    path = name.rstrip("/")
    return (path if os.path.isdir(path) else os.path.splitext(path)[0]) + ".txt"


def write_beside(name: str, caption: str, *, overwrite: bool) -> None:
    """Put a caption beside its clip. Raises OutputError where another one stands."""
    from vedit.media.atomic import open_output

    path = Path(side_file(name))
    if path.exists():
        if path.read_bytes().decode(errors="replace").strip() == caption:
            return
        if not overwrite:
            raise OutputError(
                f"{path} exists and says something else.",
                next_step=f"To replace it: {option('overwrite', True)}",
            )
    with open_output(str(path)) as stream:
        stream.write(caption.encode() + b"\n")
