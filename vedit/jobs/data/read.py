"""Read clips for data sets: frames at even times or by number, cut to a square, damage refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from vedit.data.layout import Pictures
from vedit.errors import InputError, VeditError, silent
from vedit.jobs.clips import even_delays, fitted
from vedit.media.frames import Clip, Frames
from vedit.media.options import ReadOptions
from vedit.media.source import opened
from vedit.media.timing import playable, rounded

FRAME_FILES_RATE = Fraction(8)  # frames a second of a folder of pictures, which has no times: V2VBench's
HARMLESS = "after the end of the GIF are ignored"  # the pixels are whole


class Cut(NamedTuple):
    """Which frames of a clip are taken, and how they are fitted.

    frames: so many, at even times; with `stride` or `first` by number instead: every stride-th from
    `first` on. None takes all. size: side of the square, or (width, height) the frame is scaled to;
    None keeps it. offset: where the square lies on the longer side, -1 to 1, 0 in the middle.
    fps: the rate the result plays at; None keeps the time that the frames stand for.
    span_s: (start, end) in seconds, or None for the whole clip.
    """

    frames: int | None = None
    stride: int | None = None
    first: int = 0
    size: int | tuple[int, int] | None = None
    offset: float = 0.0
    fps: Fraction | None = None
    span_s: tuple[Fraction, Fraction] | None = None


@contextmanager
def as_played(name: str, read: ReadOptions = ReadOptions()) -> Iterator[tuple[Clip, Frames]]:
    """A clip, or a folder of pictures, as whole RGBA or RGB frames with the times that players show.

    Raises InputError behind the last frame of a clip that is damaged: a data set is no place for half a clip.
    """
    damage: list[str] = []
    if os.path.isdir(name):
        read = read._replace(rate=FRAME_FILES_RATE)
    with opened(name, read, lambda message: None if HARMLESS in message else damage.append(message)) as (
        clip,
        frames,
    ):
        clip.warn = silent  # that delays of 0 play as 10 cs is no damage
        yield clip, playable(clip, frames)
    if damage:
        raise InputError(f"{damage[0].rstrip('.')}: the clip is damaged.")


def times(name: str) -> list[Fraction]:
    """When each frame of a clip ends, in seconds."""
    with as_played(name, ReadOptions(scale=(16, 16))) as (
        clip,
        frames,
    ):  # a video is scaled by its decoder: only times are wanted
        ends = [(frame.pts + frame.duration) * clip.timebase for frame in frames]
    if not ends:
        raise InputError("the clip has no frames.")
    return ends


def read_cut(name: str, cut: Cut) -> Pictures:
    """The frames of a cut as arrays. Raises InputError, with the name in front, for a corrupt clip."""
    try:
        ends = times(name)
        numbers, delays = choose(ends, cut)
        return Pictures(_stacked(name, numbers, cut), delays)
    except VeditError as error:
        raise error.in_file(name) from None


def choose(ends_s: Sequence[Fraction], cut: Cut) -> tuple[list[int], list[int]]:
    """Numbers of the frames to take, in order, and their delays in centiseconds.

    ends_s: when each frame ends. At even times means in the middle of each of `frames` equal parts,
    so a clip with fewer frames shows some of them more than once.
    """
    if cut.stride is not None or cut.first:
        numbers = list(range(cut.first, len(ends_s), cut.stride or 1))[: cut.frames]
        if not numbers or (cut.frames is not None and len(numbers) < cut.frames):
            stride = cut.stride or 1
            wanted = cut.first + ((cut.frames or 1) - 1) * stride + 1
            raise InputError(
                f"the clip has {len(ends_s)} frames, and {wanted} are needed.",
                f"Asked for are {cut.frames} frames from frame {cut.first} on, one in {stride}.",
            )
        until = [ends_s[min(number + (cut.stride or 1), len(ends_s)) - 1] for number in numbers]
        start = ends_s[cut.first - 1] if cut.first else Fraction(0)
    else:
        start, end = cut.span_s or (Fraction(0), ends_s[-1])
        end = min(end, ends_s[-1])
        if not start < end:
            raise InputError(
                f"the part from {float(start):g} s to {float(end):g} s is empty.",
                f"The clip lasts {float(ends_s[-1]):g} s.",
            )
        if cut.frames is None:
            numbers = [
                number
                for number, last in enumerate(ends_s)
                if last > start and (number == 0 or ends_s[number - 1] < end)
            ]
            until = [min(ends_s[number], end) for number in numbers]
        else:
            until = [start + (end - start) * Fraction(part + 1, cut.frames) for part in range(cut.frames)]
            middles = [
                start + (end - start) * Fraction(2 * part + 1, 2 * cut.frames) for part in range(cut.frames)
            ]
            numbers = [
                next(number for number, last in enumerate(ends_s) if last > middle) for middle in middles
            ]
    if cut.fps is not None:
        return numbers, even_delays(len(numbers), cut.fps)
    marks = [rounded((moment - start) * 100) for moment in until]
    return numbers, [max(2, after - before) for before, after in zip([0, *marks], marks)]


def _stacked(name: str, numbers: list[int], cut: Cut) -> Any:
    import numpy as np

    wanted = set(numbers)
    kept: dict[int, Any] = {}
    with as_played(name) as (_, frames):
        for number, frame in enumerate(frames):
            if number in wanted:
                kept[number] = np.asarray(fitted(frame.pixels, cut.size, offset=cut.offset))
            if number >= max(wanted):
                break
    return np.stack([kept[number] for number in numbers])


def reader(name: str | Path, cut: Cut) -> Callable[[], Pictures]:
    """What reads a cut when it is its turn."""
    return lambda: read_cut(str(name), cut)
