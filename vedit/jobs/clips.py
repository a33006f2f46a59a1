"""From a clip on disk to the pixels an edit works on, and back: selection, crop, size, times."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from vedit.errors import InputError, VeditError, Warn, option, silent
from vedit.jobs.record import comment_of, embedded
from vedit.media.formats import output_format
from vedit.media.frames import Clip, Frame, Frames, Rect
from vedit.media.options import ReadOptions
from vedit.media.pipeline import Stage
from vedit.media.run import Report, Settings, written
from vedit.media.source import MadeSource, composed, counted, opened, source_of
from vedit.media.timing import rounded

if TYPE_CHECKING:
    import numpy as np

RATE_OF_NONE = 10.0  # players show a frame without a delay for a tenth of a second
LEEWAY = 0.03  # of proportions


class Selection(NamedTuple):
    """Which frames of a clip are taken, and how large.

    start: first frame, from 0. stride: every so many. frames: at most so many, None for all.
    size: side of the square in pixels that the centre is cut and scaled to, or (width, height)
    that the frame is scaled to without cutting. output: width and height that an edit of them is
    written in, None for those that it is made in.
    """

    start: int = 0
    stride: int = 1
    frames: int | None = None
    size: int | tuple[int, int] = 512
    output: tuple[int, int] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Width and height that the frames are worked on in."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height of the result."""
        return self.output or self.shape


class Pixels(NamedTuple):
    """The frames taken: uint8 RGB, and what is needed to write a clip like the source.

    frames_FYX3: NumPy array, mapped from a temporary file, so that memory holds the frames in use.
    durations: ticks of `clip.timebase`; a frame that stands for those the stride skipped lasts as
    long as all of them. skipped: ticks before the first frame taken. full_FYX3: the same frames at
    the size of the output, where that is another. has_alpha: some of them are transparent. total: frames of
    the whole clip, where they were read to the last.
    """

    frames_FYX3: np.ndarray
    durations: list[int]
    skipped: int
    clip: Clip
    selection: Selection
    source_sha256: str
    pixels_sha256: str
    full_FYX3: np.ndarray | None = None
    has_alpha: bool = False
    total: int | None = None

    @property
    def shown_FYX3(self) -> np.ndarray:
        """The frames at the size of the output."""
        return self.frames_FYX3 if self.full_FYX3 is None else self.full_FYX3

    @property
    def fps(self) -> float:
        """Frames a second, on the average; of a clip whose frames last nothing, what players make of it."""
        seconds = sum(self.durations) * self.clip.timebase
        return float(len(self.durations) / seconds) if seconds else RATE_OF_NONE

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


def read_pixels(
    name: str,
    selection: Selection | Callable[[tuple[int, int]], Selection],
    *,
    warn: Warn = silent,
) -> Pixels:
    """Decode the selected frames of any clip, or of a folder of pictures. Raises InputError when there are
    none.

    selection: may be a function of the clip's width and height.
    """
    try:
        with ExitStack() as stack:
            source = source_of(name, ReadOptions(), stack, warn)
            digest = source.sha256()
            clip, frames = composed(source)
            selection = (
                selection if isinstance(selection, Selection) else selection((clip.width, clip.height))
            )
            taken = _take(frames, selection)
    except VeditError as error:
        raise error.in_file(name) from error.__cause__
    if not taken.durations:
        raise InputError(
            f"{name}: no frames from frame {selection.start} on.",
            f"The clip has {taken.total} frames.",
            f"Use a smaller {option('start')}",
        )
    selection = selection._replace(frames=len(taken.durations))
    return Pixels(
        taken.worked,
        taken.durations,
        taken.skipped,
        clip,
        selection,
        digest,
        taken.sha256,
        taken.full,
        taken.has_alpha,
        taken.total,
    )


def frames_in(pixels: Pixels) -> int | None:
    """Frames of the whole clip that some were taken of, counted where that is not known yet; of standard
    input, which is read once, what it told.
    """
    name = pixels.clip.name
    if pixels.total is not None or name == "-":
        return pixels.clip.frames_hint if pixels.total is None else pixels.total
    return count_in(name)


def count_in(name: str) -> int:
    """Frames of a clip or a folder of pictures. Raises InputError."""
    try:
        with ExitStack() as stack:
            return counted(source_of(name, ReadOptions(), stack))
    except VeditError as error:
        raise error.in_file(name) from error.__cause__


def has_proportions(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes have the same proportions, but for sides rounded to what a model or a codec takes."""
    across = size[0] * other[1]
    return abs(across - size[1] * other[0]) <= LEEWAY * across


def size_of(name: str) -> tuple[int, int]:
    """Width and height of a clip or a folder of pictures, without decoding it. Raises InputError."""
    try:
        with opened(name) as (clip, _):
            return clip.width, clip.height
    except VeditError as error:
        raise error.in_file(name) from error.__cause__


class Taken(NamedTuple):
    """Selected frames at both sizes (one array where they are the same), and what else was seen of them.

    total: frames of the clip, where the last was seen.
    """

    worked: np.ndarray
    full: np.ndarray | None
    sha256: str
    durations: list[int]
    skipped: int
    has_alpha: bool
    total: int | None


def _take(frames: Frames, selection: Selection) -> Taken:
    """The selected frames, their hash, the time of those they stand for, and the time before them."""
    digest = hashlib.sha256()
    durations: list[int] = []
    skipped, has_alpha = 0, False
    total: int | None = 0
    large = None if selection.shown == selection.shape else selection.shown
    with tempfile.TemporaryFile(prefix="vedit-") as spool, tempfile.TemporaryFile(prefix="vedit-") as full:
        for number, frame in enumerate(frames):
            place, total = number - selection.start, number + 1
            if place < 0:
                skipped += frame.duration
            elif place % selection.stride:
                durations[-1] += frame.duration
            elif selection.frames is not None and len(durations) == selection.frames:
                total = None
                break
            else:
                has_alpha = has_alpha or (
                    frame.pixels.mode == "RGBA" and frame.pixels.getextrema()[3][0] < 255
                )
                content = fitted(frame.pixels, selection.size).tobytes()
                spool.write(content)
                digest.update(content)
                durations.append(frame.duration)
                if large:
                    full.write(fitted(frame.pixels, selection.size, large).tobytes())
        worked = _mapped(spool, len(durations), selection.shape)
        return Taken(
            worked,
            _mapped(full, len(durations), large) if large else None,
            digest.hexdigest(),
            durations,
            skipped,
            has_alpha,
            total,
        )


def _mapped(spool: Any, count: int, size: tuple[int, int]) -> np.ndarray:
    """Frames in a temporary file, read as needed, and written to memory only."""
    import numpy as np

    shape = (count, size[1], size[0], 3)
    spool.flush()
    return np.asarray(np.memmap(spool, np.uint8, "c", shape=shape)) if count else np.empty(shape, np.uint8)


def blank_frames(shape: tuple[int, ...]) -> np.ndarray:
    """An array in a temporary file, to be filled some frames at a time."""
    import numpy as np

    with tempfile.TemporaryFile(prefix="vedit-") as spool:
        return np.asarray(np.memmap(spool, np.uint8, "w+", shape=shape))


def fitted(
    pixels: Any, side: int | tuple[int, int] | None, size: tuple[int, int] | None = None, offset: float = 0.0
) -> Any:
    """One frame as RGB at a size (Lanczos); transparency is shown over white.

    side: of the square that is cut out and scaled, or the (width, height) that the whole frame is
    scaled to; None keeps it. size: width and height of the result where it is another. offset: where
    the square lies on the longer side, -1 to 1, 0 in the middle.
    """
    from PIL import Image

    if pixels.mode == "RGBA":
        ground = Image.new("RGBA", pixels.size, (255, 255, 255, 255))
        pixels = Image.alpha_composite(ground, pixels)
    pixels = pixels.convert("RGB")
    if side is None:
        return pixels
    if isinstance(side, int):
        whole = min(pixels.size)
        left, top = (int((length - whole) * (1 + offset) / 2) for length in pixels.size)
        pixels = pixels.crop((left, top, left + whole, top + whole))
    size = size or ((side, side) if isinstance(side, int) else side)
    return pixels if pixels.size == size else pixels.resize(size, Image.Resampling.LANCZOS)


def scaled(frames_FYX3: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Frames at another width and height, uint8."""
    import numpy as np
    from PIL import Image

    if (frames_FYX3.shape[2], frames_FYX3.shape[1]) == size:
        return frames_FYX3
    return np.stack(
        [np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)) for frame in frames_FYX3]
    )


def write_frames(
    frames_FYX3: np.ndarray,
    delays_cs: Sequence[int],
    output: str,
    settings: Settings | None = None,
    *,
    name: str = "-",
    recipe: dict[str, Any] | None = None,
) -> Report:
    """Write uint8 RGB frames as a GIF, a video or whatever the output's name says; it loops.

    delays_cs: how long each frame is shown, in centiseconds. name: of the clip, for messages.
    recipe: what the output carries where the container can, as `vedit.jobs.record` writes it. The output
    appears only when complete. Raises OutputError.
    """
    settings = settings or Settings()

    def made() -> tuple[Clip, Iterator[Frame]]:
        clip, frames = made_clip(frames_FYX3, delays_cs, name)
        return (clip if recipe is None else embedded(clip, recipe)), frames

    source = MadeSource(name, made, settings.warn)
    if recipe is not None:
        settings = settings._replace(write=settings.write._replace(comment=comment_of(recipe)))
    return written(source, output, (), settings)


def clip_of(frames_FYX3: np.ndarray, delays_cs: Sequence[int] | None = None, name: str = "frames") -> Pixels:
    """Frames in memory, uint8 RGB, as if they had been read. delays_cs: 10 each by default."""
    import numpy as np

    delays = list(delays_cs or [10] * len(frames_FYX3))
    clip, _ = made_clip(frames_FYX3, delays, name)
    digest = hashlib.sha256(np.ascontiguousarray(frames_FYX3).data).hexdigest()
    return Pixels(
        frames_FYX3,
        delays,
        0,
        clip,
        Selection(frames=len(delays), size=(clip.width, clip.height)),
        digest,
        digest,
        total=len(delays),
    )


def made_clip(frames_FYX3: np.ndarray, delays_cs: Sequence[int], name: str) -> tuple[Clip, Iterator[Frame]]:
    """Computed frames, (F, Y, X, 3 or 4) of uint8, as a clip with a GIF's times, looping for ever."""
    from PIL import Image

    count, height, width, channels = frames_FYX3.shape
    kind = "rgba" if channels == 4 else "rgb"
    clip = Clip(
        width=width, height=height, name=name, loop=0, frames_hint=count, duration_hint=sum(delays_cs)
    )

    def frames() -> Iterator[Frame]:
        pts = 0
        for index, (array, delay) in enumerate(zip(frames_FYX3, delays_cs, strict=True)):
            yield Frame(index, pts, delay, kind, clip.canvas, Image.fromarray(array))
            pts += delay

    return clip, frames()


def even_delays(count: int, fps: Fraction) -> list[int]:
    """Delays in centiseconds of `count` frames at a rate, right to half a centisecond at every frame."""
    ends = [rounded((number + 1) * 100 / fps) for number in range(count)]
    return [end - start for start, end in zip([0, *ends], ends)]


def frames_of(pixels: Pixels, result_FYX3: np.ndarray) -> tuple[Clip, Iterator[Frame]]:
    """A clip of edited pixels with the source's times and loop count; sound and chapters are those of the
    part taken.
    """
    from PIL import Image

    height, width = result_FYX3.shape[1:3]
    source = pixels.clip
    audio, start_s, length_s = (
        source.audio,
        pixels.skipped * source.timebase,
        sum(pixels.durations) * source.timebase,
    )
    if audio is not None:
        audio = audio._replace(start_s=audio.start_s + start_s, duration_s=length_s)
    clip = source.but(
        width=width,
        height=height,
        palette=None,
        audio=audio,
        labels=source.labels.cut(start_s, length_s),
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


def every_frame(pixels: Pixels, output: str, settings: Settings) -> list[Stage]:
    """What keeps all frames of an edit in a GIF: up to the 50 a second that browsers play, where a GIF of a
    film has 25.

    Each edited frame was worked for, and the clip is scored against its source frame by frame.
    """
    from vedit.media.timing import FASTEST_GIF, GifTiming, is_gif_timed

    is_film = output_format(output, settings.write.format) == "gif" and not is_gif_timed(pixels.clip)
    return [GifTiming(FASTEST_GIF)] if is_film else []
