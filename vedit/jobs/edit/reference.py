"""The picture of what an edit should look like: of a file, or a frame of the clip that is edited first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vedit.errors import InputError, UsageError, VeditError, Warn, option, silent
from vedit.jobs.clips import Pixels, Selection, fitted, has_proportions
from vedit.media.source import opened
from vedit.pixels import from_bytes

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor


def reference_picture(
    name: str, selection: Selection, warn: Warn = silent, *, is_first: bool = False
) -> Tensor:
    """A picture (3, Y, X) in [-1, 1] at the size that is worked on, with white beside or above it where its
    aspect is another. is_first: it is the clip's edited first frame, which white does not belong in, so it
    is told of. Raises InputError.
    """
    import numpy as np
    from PIL import Image, ImageOps

    shown = one_picture(name, "first frame" if is_first else "reference", warn)
    if is_first and not has_proportions(shown.size, selection.shape):
        width, height = selection.shape
        warn(
            f"the first frame {name} is {shown.width}x{shown.height} and what is edited {width}x{height}:"
            " the rest of it is white"
        )
    whole = ImageOps.pad(shown, selection.shape, Image.Resampling.LANCZOS, color=(255, 255, 255))
    return from_bytes(np.array(whole))


def one_picture(name: str, called: str, warn: Warn = silent) -> Image.Image:
    """The picture of a file, RGB, transparency over white; of a clip its first frame, which is told.

    called: what it is used as. Raises InputError.
    """
    try:
        with opened(name, warn=warn) as (_, frames):
            frame = next(frames, None)
            if frame is None:
                raise InputError("no frames.", f"What is to be the {called} is a picture.")
            shown: Image.Image = fitted(frame.pixels, None)
            if next(frames, None) is not None:
                warn(f"{name} is a clip: its first frame is the {called}")
            return shown
    except VeditError as error:
        raise error.in_file(name) from error.__cause__


def place_of(pixels: Pixels, frame: int) -> int:
    """Where a frame of the source is among those that are edited. Raises UsageError."""
    (first, stride), frames = pixels.selection[:2], len(pixels.durations)
    place, off = divmod(frame - first, stride)
    if off or not 0 <= place < frames:
        every = f", every {stride}th" if stride > 1 else ""
        raise UsageError(
            f"{option('ref_from', frame)} is not a frame that is edited.",
            f"Those are {first} to {first + stride * (frames - 1)}{every}.",
            f"Try {option('ref_from', first)}",
        )
    return place


def alone(pixels: Pixels, frame: int) -> Pixels:
    """One frame of the source as a clip of its own. Raises UsageError for one that is not edited."""
    place, full = place_of(pixels, frame), pixels.full_FYX3
    return pixels._replace(
        frames_FYX3=pixels.frames_FYX3[place : place + 1],
        full_FYX3=None if full is None else full[place : place + 1],
        durations=pixels.durations[place : place + 1],
        selection=pixels.selection._replace(start=frame, frames=1),
    )
