"""Between compressed GIF images and palette indices, through Pillow's LZW codec.

The codec is reached below `Image.open`, which would compose, merge and drop frames: its decoder
and encoder work on one image's sub-blocks, and release the GIL while they do.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from PIL import Image, ImageChops
from PIL import _imaging as core

from vedit.media.frames import Clip, Frame, Frames, Palette, Rect
from vedit.media.gif.container import GREYS, check_image
from vedit.media.limits import Limits
from vedit.media.memory import threads_for
from vedit.media.window import ordered_map

ENCODE_BUFFER = 1 << 18
NOTHING = Palette(b"\0\0\0\xff\xff\xff")


class Decoded(NamedTuple):
    """An image's indices, and how much of it was there.

    pixels: Pillow image "L" of palette indices.
    missing: mask "L", 255 where the stream ends before the pixel; None when it is whole.
    complaint: what is wrong with the stream though every pixel is there, or nothing.
    """

    pixels: Image.Image
    missing: Image.Image | None = None
    complaint: str = ""


def decode(payload: bytes, width: int, height: int, code_size: int, interlaced: bool) -> Decoded:
    """Decode one image's sub-blocks (with terminator) to indices.

    width, height: at least 1. Code sizes 1 to 11 are read; others hold no pixels.
    """
    if not 1 <= code_size <= 11:
        return Decoded(Image.new("L", (width, height)), Image.new("L", (width, height), 255))
    if not 2 <= code_size <= 8:
        return _decode_in_python(payload, width, height, code_size, interlaced)
    # One row too many: a whole stream then runs on to its end code, which tells a missing end
    # code and surplus pixels from a clean end. It would change the row order of interlaced ones.
    rows = height if interlaced else height + 1
    sentinel = 255 if code_size < 8 else 254
    pixels = core.fill("L", (width, rows), 0)
    pixels.paste(sentinel, (0, height - 1, width, rows))
    consumed, error = _run(pixels, payload, code_size, interlaced)
    if interlaced:
        is_whole = consumed < 0 and not error
        return (
            Decoded(_image(pixels)) if is_whole else _damaged(payload, width, height, code_size, interlaced)
        )
    if error or (
        pixels.getpixel((width - 1, height - 1)) == sentinel and not _fills(payload, width, height, code_size)
    ):
        return _damaged(payload, width, height, code_size, interlaced)
    complaint = ""
    if consumed < 0 or pixels.getpixel((0, height)) != sentinel:
        complaint = "has more pixels than fit in it"
    elif consumed >= len(payload) and _lacks_end_code(payload, width, height, code_size):
        complaint = "has no end code"
    return Decoded(_image(pixels.crop((0, 0, width, height))), None, complaint)


def _run(pixels: Any, payload: bytes, code_size: int, interlaced: bool) -> tuple[int, int]:
    """Decode into `pixels`: bytes consumed (negative when it was filled) and the error code."""
    decoder = core.gif_decoder("L", code_size, int(interlaced), -1)
    decoder.setimage(pixels, (0, 0, *pixels.size))
    return decoder.decode(payload)  # type: ignore[no-any-return]


def _fills(payload: bytes, width: int, height: int, code_size: int) -> bool:
    consumed, error = _run(core.new("L", (width, height)), payload, code_size, False)
    return consumed < 0 and not error


def _lacks_end_code(payload: bytes, width: int, height: int, code_size: int) -> bool:
    """Whether the stream stops with its last pixel.

    Encoders (Pillow's among them) write the end code one bit too narrow when the table has just
    grown, and the decoder then misses it; no reader minds, and neither do we. So the last
    sub-block is fed byte by byte: bits enough for an end code must follow the last pixel.
    """
    start = last = 0
    while payload[start]:
        last, start = start, start + payload[start] + 1
    decoder = core.gif_decoder("L", code_size, 0, -1)
    decoder.setimage(core.new("L", (width, height)), (0, 0, width, height))
    if decoder.decode(payload[:last])[0] < 0:
        return False
    tail = payload[last + 1 : -1]
    for i, byte in enumerate(tail):
        if decoder.decode(bytes((1, byte)))[0] < 0:
            # a code of up to 7 bits may share the byte of the last pixel: then it is not zero padding
            return i + 1 == len(tail) and byte >> 8 - code_size == 0
    return False


def _image(pixels: Any) -> Image.Image:
    return Image.Image()._new(pixels)


def _decode_in_python(payload: bytes, width: int, height: int, code_size: int, interlaced: bool) -> Decoded:
    """Code sizes that Pillow's decoder gets wrong: at 1 the first code after a clear is too narrow."""
    from vedit.media.gif import lzw_python

    found = lzw_python.decode(payload, code_size, width * height)
    pixels, mask = (
        found.indices.ljust(width * height, b"\0"),
        (b"\0" * len(found.indices)).ljust(width * height, b"\xff"),
    )
    if interlaced:
        order = [y for start, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for y in range(start, height, step)]
        places = sorted(
            range(height), key=order.__getitem__
        )  # row y of the picture is row places[y] of the stream
        pixels, mask = (
            b"".join(rows[place * width : (place + 1) * width] for place in places) for rows in (pixels, mask)
        )
    missing = Image.frombytes("L", (width, height), mask) if len(found.indices) < width * height else None
    return Decoded(Image.frombytes("L", (width, height), pixels), missing, found.complaint)


def _damaged(payload: bytes, width: int, height: int, code_size: int, interlaced: bool) -> Decoded:
    """What was decoded before the damage; found by decoding over two backgrounds."""
    over = []
    for background in (0, 255):
        pixels = core.fill("L", (width, height), background)
        _run(pixels, payload, code_size, interlaced)
        over.append(_image(pixels))
    missing = ImageChops.difference(*over).point([0] * 255 + [255])
    return Decoded(over[0], missing if missing.getextrema()[1] else None, "has damaged data")


def encode(pixels: Image.Image, code_size: int, interlaced: bool = False) -> bytes:
    """Encode indices ("L" or "P") to sub-blocks with their terminator."""
    encoder = _encoder(pixels, code_size, interlaced)
    parts = []
    error = 0
    while not error:
        _, error, data = encoder.encode(ENCODE_BUFFER)
        parts.append(data)
    encoder.cleanup()
    assert error > 0, error
    return b"".join(parts) + b"\0"


def _encoder(pixels: Image.Image, code_size: int, interlaced: bool) -> Any:
    encoder = core.gif_encoder(pixels.mode, pixels.mode, code_size, int(interlaced))
    encoder.setimage(pixels.im, (0, 0, *pixels.size))
    return encoder


class _Scratch(threading.local):
    """A file of one thread's own, in memory where the system has such files.

    Pillow holds the GIL while it encodes to memory and releases it while it encodes to a file, so
    this is what lets encoders run side by side; the bytes are the same.
    """

    def __init__(self) -> None:
        self.file: _MemoryFile | None = None

    def encode(self, pixels: Image.Image, code_size: int, interlaced: bool = False) -> bytes:
        if self.file is None:
            self.file = _MemoryFile()
        descriptor = self.file.descriptor
        os.lseek(descriptor, 0, os.SEEK_SET)
        encoder = _encoder(pixels, code_size, interlaced)
        error = encoder.encode_to_file(descriptor, ENCODE_BUFFER)
        encoder.cleanup()
        assert error > 0, error
        size = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return os.read(descriptor, size) + b"\0"


class _MemoryFile:
    """A descriptor that closes with its owner."""

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self.descriptor = os.memfd_create("vedit")
        else:
            import tempfile

            self.descriptor, name = tempfile.mkstemp(prefix="vedit-")
            os.unlink(name)

    def __del__(self) -> None:
        os.close(self.descriptor)


def nothing(frame: Frame, palette: Palette | None) -> Frame:
    """An index frame that draws nothing and keeps its place in time: one transparent pixel.

    palette: the one in force. Disposal 2 would clear that pixel, so it becomes 1.
    """
    colours = palette or GREYS
    own = frame.palette
    index = frame.transparent
    if index is None or index >= len(colours):
        own, index = NOTHING, 0
    return frame.but(
        kind="index",
        rect=Rect(0, 0, 1, 1),
        pixels=Image.new("L", (1, 1), index),
        transparent=index,
        palette=own,
        disposal=1 if frame.disposal == 2 else frame.disposal,
        code_size=2,
        interlaced=False,
        has_control=True,
    )


class Unpacker:
    """Turn packed frames into index frames, clipped to the canvas.

    hurt: called with a message for recoverable damage (warns, or raises under --strict).
    """

    def __init__(self, clip: Clip, limits: Limits, hurt: Callable[[str], None]) -> None:
        self.canvas = clip.canvas
        self.palette = clip.palette
        self.limits = limits
        self.hurt = hurt
        self.pixels = self.compressed = 0
        limits.check("canvas", clip.width * clip.height, f"a canvas of {clip.width}x{clip.height}")

    def admit(self, frame: Frame) -> Frame:
        """Check the limits in file order, before a thread allocates pixels."""
        check_image(self.limits, frame)
        self.pixels += frame.rect.w * frame.rect.h
        self.compressed += len(frame.pixels)
        self.limits.check("total", self.pixels, f"{frame.index + 1} images of {self.pixels} pixels in all")
        self.limits.check_expansion(self.pixels, self.compressed)
        return frame

    def __call__(self, frame: Frame) -> Frame:
        rect = frame.rect.clipped(self.canvas)
        palette = frame.palette or self.palette
        if rect.is_empty:
            return nothing(frame, palette)
        whole = frame.rect.w * frame.rect.h
        if (rows := filled_rows(frame)) < frame.rect.h:
            frame = frame.but(rect=frame.rect._replace(h=rows))
        decoded = decode(frame.pixels, frame.rect.w, frame.rect.h, frame.code_size, frame.interlaced)
        frame = frame.but(kind="index", pixels=decoded.pixels)
        if decoded.missing is not None:
            kept = decoded.missing.histogram()[0]
            self.hurt(f"image {frame.index + 1}: damaged data, {kept} of {whole} pixels kept")
            frame = _hide(frame, decoded.missing, palette)
            if frame.rect.is_empty:
                return nothing(frame, palette)
        elif decoded.complaint:
            self.hurt(f"image {frame.index + 1} {decoded.complaint}")
        if (
            palette is not None
            and 1 << frame.code_size > len(palette)
            and frame.pixels.getextrema()[1] >= len(frame.palette or palette)
        ):
            self.hurt(f"image {frame.index + 1}: colours outside its palette of {len(palette)} are black")
        if rect != frame.rect:
            rect = frame.rect.clipped(self.canvas)
            frame = frame.but(
                rect=rect, pixels=frame.pixels.crop(rect.moved(-frame.rect.x, -frame.rect.y).box)
            )
        return frame


def filled_rows(frame: Frame) -> int:
    """The rows of an image that its compressed bytes can reach, and one more; those below hold nothing.

    Codes stand for one more pixel each than the longest before, up to 4096. So a few bytes that
    claim to be a huge image cost little. All rows where that would change what is shown.
    """
    if frame.interlaced or frame.disposal == 2:  # rows come in another order; the whole rectangle is cleared
        return frame.rect.h
    codes = 8 * len(frame.pixels) // (frame.code_size + 1) + 1
    return min(frame.rect.h, min(codes * (codes + 1) // 2, 4096 * codes) // frame.rect.w + 1)


def _hide(frame: Frame, missing: Image.Image, palette: Palette | None) -> Frame:
    """Make the missing pixels transparent, with an index that no other pixel has."""
    colours = palette or GREYS
    index = frame.transparent
    if index is None or index >= len(colours):
        used = frame.pixels.histogram(missing.point([255] + [0] * 255))
        index = next((i for i in range(256) if not used[i]), None)
    if index is None:  # all 256 are in use: keep the whole rows above the damage
        box = missing.getbbox()
        rows = box[1] if box else frame.rect.h
        return frame.but(
            rect=frame.rect._replace(h=rows), pixels=frame.pixels.crop((0, 0, frame.rect.w, rows))
        )
    pixels = frame.pixels.copy()
    pixels.paste(index, (0, 0), missing)
    own = frame.palette
    if index >= len(colours):
        own = Palette(colours.rgb.ljust(3 * index + 3, b"\0"))
    return frame.but(
        pixels=pixels,
        transparent=index,
        palette=own,
        code_size=max(frame.code_size if frame.code_size < 9 else 8, index.bit_length(), 2),
        has_control=True,
    )


def unpack(
    clip: Clip,
    frames: Frames,
    *,
    limits: Limits = Limits(),
    hurt: Callable[[str], None] | None = None,
    jobs: int = 1,
) -> Frames:
    """Packed frames to index frames ("L" images), in order, on `jobs` threads."""
    unpacker = Unpacker(clip, limits, hurt or clip.warn)
    threads = threads_for(clip.canvas.area, jobs, limits)
    return ordered_map(unpacker, (unpacker.admit(frame) for frame in frames), threads)


def pack(clip: Clip, frames: Frames, *, jobs: int = 1) -> Frames:
    """Index frames to packed frames, in order, on `jobs` threads."""
    encode_one = encode if jobs <= 1 else _Scratch().encode

    def pack_one(frame: Frame) -> Frame:
        colours = frame.palette or clip.palette or GREYS
        code_size = max(2, min(frame.code_size, 8), (len(colours) - 1).bit_length())
        return frame.but(
            kind="packed", pixels=encode_one(frame.pixels, code_size, frame.interlaced), code_size=code_size
        )

    return ordered_map(pack_one, frames, threads_for(clip.canvas.area, jobs, clip.limits))
