"""From a clip on disk to the pixels an edit works on, and back: selection, crop, size, times."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from vedit.app.media.gif import Report, Settings, Source, converters, edit_clip
from vedit.app.record import comment_of, embedded
from vedit.errors import InputError, UsageError, VeditError
from vedit.media.frames import Clip, Frame, Frames, Rect
from vedit.media.pipeline import connect, plan
from vedit.media.timing import rounded

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class Selection(NamedTuple):
    """Which frames of a clip are taken, and how large.

    start: first frame, from 0. stride: every so many. frames: at most so many, None for all.
    size: side of the square in pixels that the centre is cut and scaled to, or (width, height)
    that the frame is scaled to without cutting.
    """

    start: int = 0
    stride: int = 1
    frames: int | None = None
    size: int | tuple[int, int] = 512

    @property
    def shape(self) -> tuple[int, int]:
        """Width and height of the result."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


class Pixels(NamedTuple):
    """The frames taken: uint8 RGB, and what is needed to write a clip like the source.

    frames_FYX3: NumPy array, mapped from a temporary file, so that memory holds the frames in use. durations: ticks of `clip.timebase`; a frame that stands for those the
    stride skipped lasts as long as all of them. skipped: ticks before the first frame taken.
    """

    frames_FYX3: np.ndarray
    durations: list[int]
    skipped: int
    clip: Clip
    selection: Selection
    source_sha256: str
    pixels_sha256: str

    def times(self) -> list[tuple[float, float]]:
        """Begin and end of each frame taken, in seconds of the source."""
        base, at, spans = self.clip.timebase, self.skipped, []
        for ticks in self.durations:
            spans.append((float(at * base), float((at + ticks) * base)))
            at += ticks
        return spans

    def facts(self) -> dict[str, Any]:
        """The source as an inversion's identity records it."""
        width, height = self.selection.shape
        return {
            "sha256": self.source_sha256,
            "pixels_sha256": self.pixels_sha256,
            "frames": [self.selection.start, self.selection.stride, len(self.frames_FYX3)],
            "size": [width, height],
            "crop": "centre" if isinstance(self.selection.size, int) else "none",
        }


def read_pixels(name: str, selection: Selection, *, warn: Callable[[str], None] = lambda message: None) -> Pixels:
    """Decode the selected frames of any clip. Raises InputError when there are none."""
    try:
        with ExitStack() as stack:
            source = Source(name, Settings(warn=warn), stack)
            source.spool()
            source.scan(touches_pixels=True)
            digest = _digest(source)
            clip, frames, kind, hurt = source.open()
            steps = plan((), "packed" if kind == "packed" else "rgba", "rgba")
            clip, frames = connect(clip, frames, steps, converters(Settings(warn=warn), hurt))
            pictures, digest_of_pixels, durations, skipped = _take(clip, frames, selection)
    except VeditError as error:
        raise error.in_file(name) from error.__cause__
    if not durations:
        raise InputError(f"{name}: no frames from frame {selection.start} on.", f"The clip has {clip.frames_hint or 'fewer'} frames.", "Use a smaller --start")
    return Pixels(pictures, durations, skipped, clip, selection._replace(frames=len(durations)), digest, digest_of_pixels)


def _digest(source: Source) -> str:
    digest = hashlib.sha256()
    source.stream.seek(0)
    while chunk := source.read(1 << 20):
        digest.update(chunk)
    source.stream.seek(0)
    return digest.hexdigest()


def _take(clip: Clip, frames: Frames, selection: Selection) -> tuple[np.ndarray, str, list[int], int]:
    """The selected frames, their hash, the time of those they stand for, and the time before them."""
    import numpy as np

    width, height = selection.shape
    digest = hashlib.sha256()
    durations: list[int] = []
    skipped = 0
    with tempfile.TemporaryFile(prefix="vedit-") as spool:
        for number, frame in enumerate(frames):
            place = number - selection.start
            if place < 0:
                skipped += frame.duration
            elif place % selection.stride:
                durations[-1] += frame.duration
            elif selection.frames is not None and len(durations) == selection.frames:
                break
            else:
                content = fitted(frame.pixels, selection).tobytes()
                spool.write(content)
                digest.update(content)
                durations.append(frame.duration)
        spool.flush()
        # read from the file as needed, and written to memory only
        pictures = np.memmap(spool, np.uint8, "c", shape=(len(durations), height, width, 3)) if durations else np.empty((0, height, width, 3), np.uint8)
    return np.asarray(pictures), digest.hexdigest(), durations, skipped


def blank_frames(shape: tuple[int, ...]) -> np.ndarray:
    """An array in a temporary file, to be filled some frames at a time."""
    import numpy as np

    with tempfile.TemporaryFile(prefix="vedit-") as spool:
        return np.asarray(np.memmap(spool, np.uint8, "w+", shape=shape))


def fitted(pixels: Any, selection: Selection) -> Any:
    """One frame as RGB at the selection's size; transparency is shown over white."""
    from PIL import Image

    if pixels.mode == "RGBA":
        ground = Image.new("RGBA", pixels.size, (255, 255, 255, 255))
        pixels = Image.alpha_composite(ground, pixels)
    pixels = pixels.convert("RGB")
    if isinstance(selection.size, int):
        side = min(pixels.size)
        left, top = (pixels.width - side) // 2, (pixels.height - side) // 2
        pixels = pixels.crop((left, top, left + side, top + side))
    return pixels if pixels.size == selection.shape else pixels.resize(selection.shape, Image.Resampling.LANCZOS)


def check_size(size: int | tuple[int, int], multiple: int) -> None:
    """Sides must fit the latent grid of the model."""
    for side in (size,) if isinstance(size, int) else size:
        if side < multiple or side % multiple:
            near = max(multiple, round(side / multiple) * multiple)
            raise UsageError(f"a side of {side} pixels does not fit the model.", f"Sides are multiples of {multiple}.", f"Try --size {near}")


class MadeSource:
    """Computed frames as an input of the media pipeline, see `app.gif.edit_clip`.

    build: gives the clip and its frames, each time anew.
    """

    is_gif = is_text = False
    size: int | None = None

    def __init__(self, name: str, build: Callable[[], tuple[Clip, Iterator[Frame]]], warn: Callable[[str], None] = lambda message: None) -> None:
        self.name, self.build, self.warn = name, build, warn

    def spool(self) -> None:
        """The pixels are in memory."""

    def scan(self, touches_pixels: bool) -> None:
        """Nothing to check: the size was chosen by us."""

    def open(self, quiet: bool = False) -> tuple[Clip, Frames, str, Callable[[str], None]]:
        clip, frames = self.build()
        return clip, frames, "rgba", self.warn


def write_frames(
    frames_FYX3: np.ndarray, delays_cs: Sequence[int], output: str, settings: Settings | None = None, *, name: str = "-", recipe: dict[str, Any] | None = None
) -> Report:
    """Write uint8 RGB frames as a GIF, a video or whatever the output's name says; it loops.

    delays_cs: how long each frame is shown, in centiseconds. name: of the clip, for messages.
    recipe: what the output carries where the container can, as `vedit.app.record` writes it. The output appears only when complete. Raises OutputError.
    """
    settings = settings or Settings()

    def made() -> tuple[Clip, Iterator[Frame]]:
        clip, frames = made_clip(frames_FYX3, delays_cs, name)
        return (clip if recipe is None else embedded(clip, recipe)), frames

    source = MadeSource(name, made, settings.warn)
    if recipe is not None:
        settings = settings._replace(write={**settings.write, "comment": comment_of(recipe)})
    return edit_clip(source, output, [], settings, False)


def made_clip(frames_FYX3: np.ndarray, delays_cs: Sequence[int], name: str) -> tuple[Clip, Iterator[Frame]]:
    """Computed frames as a clip with a GIF's times, looping for ever."""
    from PIL import Image

    count, height, width = frames_FYX3.shape[:3]
    clip = Clip(width=width, height=height, name=name, loop=0, frames_hint=count, duration_hint=sum(delays_cs))

    def frames() -> Iterator[Frame]:
        pts = 0
        for index, (array, delay) in enumerate(zip(frames_FYX3, delays_cs, strict=True)):
            yield Frame(index, pts, delay, "rgb", clip.canvas, Image.fromarray(array))
            pts += delay

    return clip, frames()


def even_delays(count: int, fps: Fraction) -> list[int]:
    """Delays in centiseconds of `count` frames at a rate, right to half a centisecond at every frame."""
    ends = [rounded((number + 1) * 100 / fps) for number in range(count)]
    return [end - start for start, end in zip([0, *ends], ends)]


def frames_of(pixels: Pixels, result_FYX3: np.ndarray) -> tuple[Clip, Iterator[Frame]]:
    """A clip of edited pixels with the source's times, loop count and sound."""
    from PIL import Image

    height, width = result_FYX3.shape[1:3]
    source = pixels.clip
    audio = source.audio
    if audio is not None:  # the sound of the part that was taken
        length = sum(pixels.durations) * source.timebase
        audio = audio._replace(start_s=audio.start_s + pixels.skipped * source.timebase, duration_s=length)
    clip = source.but(
        width=width,
        height=height,
        palette=None,
        audio=audio,
        frames_hint=len(result_FYX3),
        duration_hint=sum(pixels.durations),
        blocks=list(source.blocks),
        tail=[],
    )
    if pixels.selection.stride > 1 and source.rate:
        clip = clip.but(rate=source.rate / pixels.selection.stride)

    def frames() -> Iterator[Frame]:
        pts = 0
        for index, (array, duration) in enumerate(zip(result_FYX3, pixels.durations, strict=True)):
            yield Frame(index, pts, duration, "rgb", Rect(0, 0, width, height), Image.fromarray(array))
            pts += duration

    return clip, frames()


def to_tensor(pixels: Pixels, frames: slice = slice(None)) -> Tensor:
    """Some frames as the autoencoder wants them: (F, 3, Y, X) in [-1, 1]."""
    import torch

    return torch.from_numpy(pixels.frames_FYX3[frames]).permute(0, 3, 1, 2).float() / 127.5 - 1
