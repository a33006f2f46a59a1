"""A second opinion on GIFs: a slow reader and compositor that shares no code with vedit.

Written from the reading rules alone (design: docs/gif.md 4), in plain Python and NumPy, with its
own LZW decoder. The tests ask it what a file shows; `test_reference.py` holds it against the digests
of a third reader in `expected.json`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

GREYS = bytes(v for grey in range(256) for v in (grey, grey, grey))


class Unreadable(Exception):
    """Nothing can be shown."""


@dataclass
class Image:
    """One image block, with what the control block before it says."""

    x: int
    y: int
    w: int
    h: int
    payload: bytes  # concatenated sub-block data, without sizes
    code_size: int
    interlaced: bool
    palette: bytes | None
    delay: int = 0
    disposal: int = 0
    transparent: int | None = None


@dataclass
class Gif:
    """Everything that a GIF file says."""

    version: bytes
    width: int
    height: int
    background: int
    aspect: int
    palette: bytes | None
    images: list[Image] = field(default_factory=list)
    loop: int | None = None
    comments: list[bytes] = field(default_factory=list)
    apps: list[tuple[bytes, bytes]] = field(default_factory=list)  # identifier and data, loop blocks left out
    texts: int = 0  # plain-text blocks
    loop_blocks: int = 0
    order: list[str] = field(default_factory=list)  # what stands in the file: "image", "comment", ...
    trailing: int = 0
    is_complete: bool = True

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height

    @property
    def delays(self) -> list[int]:
        return [image.delay for image in self.images]

    @property
    def disposals(self) -> list[int]:
        return [image.disposal for image in self.images]

    @property
    def is_transparent(self) -> bool:
        return any(image.transparent is not None for image in self.images)

    def frames(self) -> Iterator[np.ndarray]:
        """The composed canvas after each image: height x width x 4, transparent pixels all 0."""
        canvas = np.zeros((self.height, self.width, 4), np.uint8)
        for image in self.images:
            before = canvas.copy()
            part = (
                slice(image.y, min(image.y + image.h, self.height)),
                slice(image.x, min(image.x + image.w, self.width)),
            )
            rows, columns = max(0, part[0].stop - image.y), max(0, part[1].stop - image.x)
            if rows and columns and image.w and image.h:
                self._draw(canvas[part], image, rows, columns)
            yield canvas.copy()
            if image.disposal == 2:
                canvas[part] = 0
            elif image.disposal == 3:
                canvas = before

    def _draw(self, target: np.ndarray, image: Image, rows: int, columns: int) -> None:
        palette = image.palette or self.palette or GREYS
        indices, known = decode(image)
        indices, known = indices[:rows, :columns], known[:rows, :columns]
        colours = np.zeros((4096, 4), np.uint8)
        colours[:, 3] = 255
        colours[: len(palette) // 3, :3] = np.frombuffer(palette, np.uint8).reshape(-1, 3)
        visible = known
        if image.transparent is not None and image.transparent < len(palette) // 3:
            visible = known & (indices != image.transparent)
        target[visible] = colours[indices[visible]]

    def digests(self) -> list[str]:
        """One short digest per frame, or one for all of more than 64."""
        found = [hashlib.sha256(frame.tobytes()).hexdigest()[:12] for frame in self.frames()]
        return found if len(found) <= 64 else [hashlib.sha256("".join(found).encode()).hexdigest()[:12]]


def decode(image: Image) -> tuple[np.ndarray, np.ndarray]:
    """Palette indices of an image, and which of them the file holds."""
    pixels = lzw(image.payload, image.code_size, image.w * image.h)
    total = image.w * image.h
    indices = np.zeros(total, np.uint16)
    values = np.frombuffer(pixels, "<u2" if image.code_size > 8 else np.uint8)
    indices[: len(values)] = values
    known = np.arange(total) < len(values)
    indices, known = indices.reshape(image.h, image.w), known.reshape(image.h, image.w)
    if image.interlaced:
        order = [
            row for start, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for row in range(start, image.h, step)
        ]
        straight, straight_known = np.empty_like(indices), np.empty_like(known)
        straight[order], straight_known[order] = indices, known
        indices, known = straight, straight_known
    return indices, known


@lru_cache(maxsize=2048)
def lzw(data: bytes, code_size: int, wanted: int) -> bytes:
    """Decompress until `wanted` pixels, the end code, the end of data or an impossible code.

    One byte per pixel; two, little endian, for code sizes above 8, whose indices go up to 2047.
    """
    if not 1 <= code_size <= 11:
        return b""
    clear, end = 1 << code_size, (1 << code_size) + 1
    unit = 2 if code_size > 8 else 1
    wanted *= unit
    basis = [i.to_bytes(unit, "little") for i in range(clear)] + [b"", b""]
    table = basis.copy()
    width, mask = code_size + 1, (2 << code_size) - 1
    out: list[bytes] = []
    length = 0
    bits = have = 0
    previous = b""
    for byte in data:
        bits |= byte << have
        have += 8
        while have >= width:
            code = bits & mask
            bits >>= width
            have -= width
            if code == clear:
                table = basis.copy()
                width, mask = code_size + 1, (2 << code_size) - 1
                previous = b""
                continue
            if code == end:
                return b"".join(out)[:wanted]
            if not previous:
                if code > end:
                    return b"".join(out)[:wanted]
                entry = table[code]
            elif code < len(table):
                entry = table[code]
                if len(table) < 4096:
                    table.append(previous + entry[:unit])
            elif code == len(table) < 4096:
                entry = previous + previous[:unit]
                table.append(entry)
            else:
                return b"".join(out)[:wanted]
            if len(table) > mask and width < 12:
                width += 1
                mask = (1 << width) - 1
            out.append(entry)
            previous = entry
            length += len(entry)
            if length >= wanted:
                return b"".join(out)[:wanted]
    return b"".join(out)[:wanted]


class _Ended(Exception):
    pass


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise _Ended
        self.at += count
        return self.data[self.at - count : self.at]

    def sub_blocks(self, keep_cut: bool = False) -> list[bytes]:
        """The data of each sub-block; the bytes of a cut one too, when asked for."""
        parts = []
        while True:
            if self.at >= len(self.data):
                self.cut = True
                if keep_cut:
                    return parts
                raise _Ended
            size = self.take(1)[0]
            if not size:
                return parts
            if self.at + size > len(self.data) and not keep_cut:
                raise _Ended
            parts.append(self.data[self.at : self.at + size])
            self.at += size


def read(data: bytes) -> Gif:
    """Read a GIF file by the reading rules."""
    source = _Bytes(data)
    if data[:4] != b"GIF8":
        raise Unreadable("not a GIF")
    try:
        head = source.take(13)
        gif = Gif(head[:6], *struct.unpack("<HH", head[6:10]), head[11], head[12], None)
        if head[10] & 0x80:
            gif.palette = source.take(6 << (head[10] & 7))
    except _Ended:
        raise Unreadable("truncated header") from None
    try:
        _read_blocks(gif, source)
    except _Ended:
        gif.is_complete = False
    if not gif.images:
        raise Unreadable("no images")
    if not (gif.width and gif.height):
        first = gif.images[0]
        gif.width, gif.height = first.x + first.w, first.y + first.h
    return gif


def _read_blocks(gif: Gif, source: _Bytes) -> None:
    control = b""
    while True:
        kind = source.take(1)
        if kind == b"\x3b":
            gif.trailing = len(source.data) - source.at
            return
        if kind == b"\x2c":
            gif.images.append(_read_image(source, control))
            gif.order.append("image")
            control = b""
        elif kind == b"\x21":
            label = source.take(1)[0]
            parts = source.sub_blocks()
            if label == 0xF9:
                control = parts[0][:4] if parts and len(parts[0]) >= 4 else control
            elif label == 0xFE:
                gif.comments.append(b"".join(parts))
                gif.order.append("comment")
            elif label == 0x01:
                gif.texts += 1
                gif.order.append("text")
            elif label == 0xFF and parts:
                _read_app(gif, parts)


def _read_app(gif: Gif, parts: list[bytes]) -> None:
    if parts[0] in (b"NETSCAPE2.0", b"ANIMEXTS1.0"):
        gif.loop_blocks += 1
        gif.order.append("loop")
        for part in parts[1:]:
            if len(part) == 3 and part[0] & 7 == 1:
                if gif.loop is None:
                    gif.loop = part[1] | part[2] << 8
            else:
                gif.apps.append((b"NETSCAPE2.0", part))
        return
    gif.apps.append((parts[0], b"".join(parts[1:])))
    gif.order.append(parts[0].decode("latin-1"))


def _read_image(source: _Bytes, control: bytes) -> Image:
    x, y, w, h, flags = struct.unpack("<HHHHB", source.take(9))
    palette = source.take(6 << (flags & 7)) if flags & 0x80 else None
    code_size = source.take(1)[0]
    payload = b"".join(source.sub_blocks(keep_cut=True))
    image = Image(x, y, w, h, payload, code_size, bool(flags & 0x40), palette)
    if control:
        image.delay = control[1] | control[2] << 8
        image.disposal = control[0] >> 2 & 7
        image.transparent = control[3] if control[0] & 1 else None
    return image


def cropped(x: int, y: int, w: int, h: int) -> Callable[[np.ndarray], np.ndarray]:
    """What a crop does to a composed frame."""
    return lambda frame: frame[y : y + h, x : x + w]


def turned(quarters: int) -> Callable[[np.ndarray], np.ndarray]:
    """Clockwise quarter turns of a composed frame."""
    return lambda frame: np.rot90(frame, -quarters)


def nearest(w: int, h: int) -> Callable[[np.ndarray], np.ndarray]:
    """Nearest resize: source column of output column x is floor((x + 0.5) * W / w)."""

    def resize(frame: np.ndarray) -> np.ndarray:
        rows = [(2 * y + 1) * frame.shape[0] // (2 * h) for y in range(h)]
        columns = [(2 * x + 1) * frame.shape[1] // (2 * w) for x in range(w)]
        return frame[rows][:, columns]

    return resize


def mapped(table: Callable[[int], float]) -> Callable[[np.ndarray], np.ndarray]:
    """A function of one channel, rounded half to even and clipped; transparent pixels stay 0."""
    values = np.array([min(255, max(0, round(table(v)))) for v in range(256)], np.uint8)

    def apply(frame: np.ndarray) -> np.ndarray:
        out = frame.copy()
        seen = frame[..., 3] > 0
        out[seen, :3] = values[frame[seen, :3]]
        return out

    return apply
