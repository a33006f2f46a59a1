"""Animated AVIF: written by Pillow's libavif, one frame at a time, and how often it plays.

Pillow keeps the compressed result in memory, not the frames. It cannot say how often the animation repeats,
so that is written into its boxes here.

Source: ISO/IEC 14496-12 (tkhd, mvhd, elst), read and written as libavif does (avifDecoder.repetitionCount).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO, ClassVar

from vedit.errors import InputError, OutputError
from vedit.media.alpha import Ground, filled, has_holes
from vedit.media.frames import Clip, Frame, Frames
from vedit.media.timing import rounded

FOREVER = {4: 2**32 - 1, 8: 2**64 - 1}  # a duration of so many bytes that is not known
NOTHING = memoryview(b"")
QUALITY = 90
INSIDE = (b"moov", b"trak", b"edts")  # boxes that hold those that say how often


# --- writing -------------------------------------------------------------------------------------


def write_avif(clip: Clip, frames: Frames, stream: BinaryIO, *, quality: int | None = None) -> int:
    """Write an animated AVIF, or a still one of a single frame; returns how many frames.

    quality: 0 to 100; None is the best for what comes from a GIF, with whole colours, else 90. Raises
    OutputError where Pillow has no encoder.
    """
    _check_encoder()
    first = next(frames, None)
    if first is None:
        raise InputError("no frames to write.", "Every frame was dropped or the range selects none.")
    is_best = quality is None and first.palette is not None
    usual: dict[str, Any] = {"quality": QUALITY if quality is None else quality}
    options = {"quality": 100, "subsampling": "4:4:4"} if is_best else usual
    coming = _Coming(clip, first, frames)
    second = coming.next()
    result = io.BytesIO()
    coming.picture(first).save(
        result, "AVIF", save_all=True, append_images=[] if second is None else [coming],
        duration=coming.durations, **options,
    )  # fmt: skip
    data = result.getbuffer()
    if second is not None:
        set_plays(data, 1 if clip.loop is None else clip.loop + 1 if clip.loop else 0)
    stream.write(data)
    return len(coming.durations)


def _check_encoder() -> None:
    from PIL import features

    if not features.check("avif"):
        raise OutputError(
            "this Pillow cannot write AVIF: it comes without libavif.",
            "",
            "Install one that can (pip install -U pillow), or write a .webp or an animated .png",
        )


class _Coming:
    """The frames behind the first as what Pillow takes for an animated picture: each is made when it is
    sought.
    """

    is_animated: ClassVar[bool] = True
    has_transparency_data: ClassVar[bool] = False

    def __init__(self, clip: Clip, first: Frame, frames: Frames) -> None:
        self.clip, self.frames = clip, frames
        self.ground = Ground(clip, "this avif, whose first image is opaque,", None)
        may_turn = has_holes(first.pixels) or first.palette is not None  # a GIF may turn transparent later
        self.mode = "RGBA" if (clip.alpha if clip.alpha is not None else may_turn) else "RGB"
        self.durations: list[int] = []  # in milliseconds; Pillow looks each up after drawing its frame
        self.end = 0
        self.waiting: Frame | None = None
        self._time(first)

    def _time(self, frame: Frame) -> None:
        """Rounded in the time of the clip, so that errors do not add up."""
        end = rounded((frame.pts + frame.duration) * self.clip.timebase * 1000)
        self.durations.append(max(1, end - self.end))
        self.end += self.durations[-1]

    def picture(self, frame: Frame) -> Any:
        if self.mode == "RGBA":
            return filled(frame.pixels.convert("RGBA"))
        return self.ground.under(frame.pixels)

    def next(self) -> Frame | None:
        """Draw a frame, which the next `seek` gives."""
        self.waiting = next(self.frames, None)
        return self.waiting

    def seek(self, number: int) -> None:
        if self.waiting is None and self.next() is None:
            raise EOFError
        assert self.waiting is not None
        self._time(self.waiting)
        self.shown = self.picture(self.waiting)
        self.size, self.waiting = self.shown.size, None

    def tobytes(self, *arguments: Any) -> bytes:
        data: bytes = self.shown.tobytes(*arguments)
        return data


# --- how often it plays --------------------------------------------------------------------------


def avif_loop(file: BinaryIO) -> int | None:
    """How often an AVIF animation repeats, as `Clip.loop` counts: for ever where it does not say."""
    file.seek(0)
    found = dict(reversed(list(_boxes(memoryview(file.read())))))  # those of the first track
    header, edits = found.get(b"tkhd", NOTHING), found.get(b"elst", NOTHING)
    if len(edits) < 12 or len(header) < 36:
        return 0
    if not edits[3] & 1:
        return None
    whole, once = _duration(b"tkhd", header), _duration(b"elst", edits)
    if int.from_bytes(whole, "big") == FOREVER[len(whole)] or not any(once):
        return 0
    return -(-int.from_bytes(whole, "big") // int.from_bytes(once, "big")) - 1 or None


def set_plays(data: memoryview, plays: int) -> None:
    """Write how often all tracks of an animation play into its boxes; 0 is for ever."""
    boxes = list(_boxes(data))
    once = next((_duration(kind, box) for kind, box in boxes if kind == b"elst"), None)
    if once is None:
        return
    length = int.from_bytes(once, "big")
    for kind, box in boxes:
        if kind == b"elst":
            box[3] = box[3] & 0xFE | (plays != 1)
        elif kind in (b"tkhd", b"mvhd"):
            field = _duration(kind, box)
            most = FOREVER[len(field)]
            whole = min(length * plays, most - 1) if plays else most
            field[:] = whole.to_bytes(len(field), "big")


def _duration(kind: bytes, box: memoryview) -> memoryview:
    """The bytes of a box that say how long something takes."""
    at = {b"tkhd": (20, 28), b"mvhd": (16, 24), b"elst": (8, 8)}[kind][box[0] == 1]
    return box[at : at + (8 if box[0] == 1 else 4)]


def _boxes(data: memoryview, depth: int = 0) -> Iterator[tuple[bytes, memoryview]]:
    """The boxes of a file with what they hold, and those in `INSIDE`, one in the other."""
    place = 0
    while place + 8 <= len(data):
        size, head = int.from_bytes(data[place : place + 4], "big"), 8
        if size == 1:
            size, head = int.from_bytes(data[place + 8 : place + 16], "big"), 16
        elif size == 0:
            size = len(data) - place
        kind, inside = bytes(data[place + 4 : place + 8]), data[place + head : place + size]
        yield kind, inside
        if depth < len(INSIDE) and kind == INSIDE[depth]:
            yield from _boxes(inside, depth + 1)
        place += max(size, 8)
