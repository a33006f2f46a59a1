"""Read animated PNG: each image is decoded as a PNG of its own, blended onto the canvas, and disposed of.

Pillow's own reader blends over transparency wrongly and forgets what "previous" was, so only the
pixels of one image are its work.

Source: PNG specification, third edition, sections 11.3.6 (acTL, fcTL, fdAT) and 12.13 (composition).
Deviations: sequence numbers and the checksums of pixel data are not looked at (zlib has its own), and
an animation shorter or longer than it says is played as far as it goes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, BinaryIO, NamedTuple

from PIL import Image

from vedit.errors import InputError, Warn, silent
from vedit.media.frames import Clip, Frame, Frames, Rect
from vedit.media.limits import Limits
from vedit.media.pictures import PNG_MAGIC, decode, from_bytes, orientation_of, turned
from vedit.media.timing import rounded

MILLISECONDS = Fraction(1, 1000)
STILL_MS = 100  # how long an image without a delay is shown
CLEAR, RESTORE = 1, 2  # values of dispose_op
OVER = 1  # value of blend_op
SHORT = 1 << 16  # no chunk that is kept from the header, but for pixels, is longer
NOWHERE = Rect(0, 0, 0, 0)


class Control(NamedTuple):
    """A frame control chunk: where the image goes, how long it stays, and what becomes of it."""

    rect: Rect
    delay: Fraction
    disposal: int
    blend: int


class Part(NamedTuple):
    """One image of the file: its control chunk, and where its compressed pixels lie (offset, size)."""

    control: Control
    spans: list[tuple[int, int]]


@dataclass
class Layout:
    """What the chunks of a file say, without any pixel.

    head: the fields of the header behind the size. extras: palette and transparency, ready to be written.
    trouble: why the walk ended early, empty when it did not.
    """

    width: int
    height: int
    head: bytes
    plays: int = 0
    said: int = 0
    extras: bytes = b""
    exif: bytes = b""
    parts: list[Part] = field(default_factory=list)
    trouble: str = ""


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk: size, kind, data and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def layout_of(file: BinaryIO) -> Layout | None:
    """Walk over a PNG file; None when it is not an animation or its header is damaged: then it is a still."""
    file.seek(0)
    start = file.read(33)
    if (
        len(start) < 33
        or start[12:16] != b"IHDR"
        or zlib.crc32(start[12:29]) != int.from_bytes(start[29:33], "big")
    ):
        return None
    width, height = struct.unpack(">II", start[16:24])
    layout = Layout(width, height, start[24:29])
    for kind, offset, size in _chunks(file, layout):
        if kind in (b"acTL", b"PLTE", b"tRNS", b"eXIf", b"fcTL"):
            _take(layout, kind, _body(file, offset, size))
        elif kind == b"IDAT" and not layout.said:
            return None
        elif (
            kind == b"IDAT" and layout.parts
        ):  # without a control chunk in front it is the picture for other readers
            layout.parts[-1].spans.append((offset, size))
        elif kind == b"fdAT" and layout.parts and size > 4:
            layout.parts[-1].spans.append((offset + 4, size - 4))
        if layout.trouble:
            break
    layout.parts = [part for part in layout.parts if part.spans]
    return layout if layout.said and layout.parts else None


def _chunks(file: BinaryIO, layout: Layout) -> Iterator[tuple[bytes, int, int]]:
    """Kind, place and size of each chunk behind the header."""
    end = file.seek(0, 2)
    place = 33
    while True:
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            layout.trouble = "its end is missing"
            return
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind == b"IEND":
            return
        if size >= 1 << 31 or not kind.isalpha():
            layout.trouble = "a chunk is damaged"
            return
        yield kind, place + 8, min(size, max(0, end - place - 8))  # of one that is cut off, what there is
        place += 12 + size


def _body(file: BinaryIO, offset: int, size: int) -> bytes | None:
    """The data of a short chunk, None when its checksum is wrong."""
    if size > SHORT:
        return None
    file.seek(offset - 4)
    body = file.read(4 + size)
    return body[4:] if zlib.crc32(body) == int.from_bytes(file.read(4), "big") else None


def _take(layout: Layout, kind: bytes, body: bytes | None) -> None:
    if body is None:
        layout.trouble = f"a {kind.decode()} chunk is damaged"
    elif kind == b"acTL" and len(body) == 8 and not layout.said:
        layout.said, layout.plays = struct.unpack(">II", body)
    elif kind in (b"PLTE", b"tRNS") and not layout.parts:
        layout.extras += chunk(kind, body)
    elif kind == b"eXIf":
        layout.exif = body
    elif kind == b"fcTL":
        control = _control(layout, body)
        if control is None:
            layout.trouble = "an image reaches beyond the canvas"
        else:
            layout.parts.append(Part(control, []))


def _control(layout: Layout, body: bytes) -> Control | None:
    if len(body) != 26:
        return None
    _, w, h, x, y, delay, per, disposal, blend = struct.unpack(">IIIIIHHBB", body)
    if not w or not h or x + w > layout.width or y + h > layout.height:
        return None
    return Control(Rect(x, y, w, h), Fraction(delay, per or 100), disposal, blend)


def read_apng(
    file: BinaryIO,
    layout: Layout,
    name: str,
    *,
    limits: Limits = Limits(),
    warn: Warn = silent,
) -> tuple[Clip, Frames]:
    """The clip of an animated PNG whose chunks are known, and its composed frames.

    Raises LimitError before any pixel is decoded, InputError when not even the first image can be.
    """
    count, size = len(layout.parts), file.seek(0, 2)
    limits.check("canvas", layout.width * layout.height, f"a picture of {layout.width}x{layout.height}")
    limits.check("images", count, f"{count} images")
    limits.check(
        "total", count * layout.width * layout.height, f"{count} images of {layout.width}x{layout.height}"
    )
    # a small change on a large canvas is honest, a thousand canvases in a few bytes are not
    drawn = sum(part.control.rect.w * part.control.rect.h for part in layout.parts)
    limits.check_expansion(max(drawn, count * layout.width * layout.height // 10), size)
    # a byte of PNG stands for 1032 pixels of 8 bits at most, which no limit of GIF's sees;
    # each becomes four bytes
    limits.check_expansion(4 * drawn, size, "bytes of pictures")
    way = orientation_of(layout.exif) if layout.exif else 1
    width, height = (layout.height, layout.width) if way >= 5 else (layout.width, layout.height)
    loop = None if count == 1 or layout.plays == 1 else layout.plays - 1 if layout.plays else 0
    clip = Clip(width, height, name, timebase=MILLISECONDS, loop=loop, frames_hint=count, warn=warn)
    return clip, _frames(file, layout, clip, way, limits)


def _frames(file: BinaryIO, layout: Layout, clip: Clip, way: int, limits: Limits) -> Frames:
    canvas = Canvas(layout.width, layout.height, _may_be_clear(layout))
    pts, due = 0, Fraction(0)  # delays need not be whole milliseconds
    for index, part in enumerate(layout.parts):
        try:
            pixels = _decoded(file, layout, part, limits, clip.warn)
        except InputError as error:
            if index == 0:
                raise
            clip.warn(f"damaged behind image {index} ({error.what.rstrip('.')}): the rest is left out")
            return
        shown, rect = canvas.show(pixels, part.control)
        due += (part.control.delay * 1000) or STILL_MS
        end = rounded(due)
        yield Frame(
            index, pts, end - pts, shown.mode.lower(), rect if way == 1 else clip.canvas, turned(shown, way)
        )
        pts = end
    if layout.trouble:
        clip.warn(f"damaged behind image {len(layout.parts)} ({layout.trouble}): the rest is left out")
    elif len(layout.parts) != layout.said:
        clip.warn(f"the animation says that it has {layout.said} images, and it has {len(layout.parts)}")


def _decoded(file: BinaryIO, layout: Layout, part: Part, limits: Limits, warn: Warn) -> Any:
    data = []
    for offset, size in part.spans:
        file.seek(offset)
        data.append(file.read(size))
    head = struct.pack(">II", part.control.rect.w, part.control.rect.h) + layout.head
    png = (
        PNG_MAGIC
        + chunk(b"IHDR", head)
        + layout.extras
        + chunk(b"IDAT", b"".join(data))
        + chunk(b"IEND", b"")
    )
    return decode(from_bytes(png, limits), warn)


def _may_be_clear(layout: Layout) -> bool:
    """Whether some pixel of some frame can be transparent."""
    has_alpha = layout.head[1] in (4, 6) or b"tRNS" in layout.extras
    first, *rest = (part.control for part in layout.parts)
    is_bare = first.rect != Rect(0, 0, layout.width, layout.height) or first.disposal in (CLEAR, RESTORE)
    return has_alpha or is_bare or any(control.disposal == CLEAR for control in rest)


class Canvas:
    """The canvas of the animation. Each image is drawn on a copy, so that frames handed out stay as they are.

    may_be_clear: whether it is "RGBA" throughout, since writers go by the first frame; else it is "RGB".
    """

    def __init__(self, width: int, height: int, may_be_clear: bool) -> None:
        self.rect = Rect(0, 0, width, height)
        self.under = Image.new(
            "RGBA" if may_be_clear else "RGB", (width, height)
        )  # what the next image is drawn on
        self.stale: Rect | None = None  # where that differs from what was shown last; None before the first

    def show(self, pixels: Any, control: Control) -> tuple[Any, Rect]:
        """Draw an image, "RGB" or "RGBA" of its rectangle's size; the canvas, and what of it may have
        changed.
        """
        before = self.under
        shown = self._drawn(pixels, control)
        changed = self.rect if self.stale is None else self.stale.joined(control.rect)
        # section 12.13: there is nothing to go back to before the first image
        disposal = CLEAR if control.disposal == RESTORE and self.stale is None else control.disposal
        self.stale = control.rect if disposal in (CLEAR, RESTORE) else NOWHERE
        self.under = (
            before if disposal == RESTORE else _cleared(shown, control.rect) if disposal == CLEAR else shown
        )
        return shown, changed

    def _drawn(self, pixels: Any, control: Control) -> Any:
        canvas = self.under.copy()
        if control.blend == OVER and pixels.mode == "RGBA":
            pixels = Image.alpha_composite(canvas.crop(control.rect.box), pixels)
        canvas.paste(pixels, control.rect.box)  # without a mask: alpha is replaced too
        return canvas


def _cleared(shown: Any, rect: Rect) -> Any:
    canvas = shown.copy()
    canvas.paste((0, 0, 0, 0), rect.box)
    return canvas
