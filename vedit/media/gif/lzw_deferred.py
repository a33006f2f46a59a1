"""An LZW encoder that keeps a full table while it serves, and may choose between equal pixels.

Pillow's encoder clears its table as soon as it is full. A full table still knows 4096 strings of the image,
and an image that goes on as it began is told in fewer codes with them than with a table that starts anew. So
here a full table stays until it does worse than it did on the average since it was empty, its growth
included: from there on a new one does better (the marginal value theorem of foraging).

An image may leave open what stands at a pixel: where the canvas shows the colour already, it and the
transparent index are equally right. The encoder then takes whichever goes on with a string that it knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from operator import length_hint

import numpy as np

TABLE = 4096  # codes that GIF's LZW knows at most
WIDEST = 12
PATIENCE = 256  # codes between two looks at how well a full table does
SLACK = 1.05  # how much worse than on the average it may do: what one look sees is a sample
WIDTH = 4  # strings of similar pixels that are followed at once
Nearness = Sequence[Mapping[int, int]]


def encode(first: bytes, code_size: int, second: bytes | None = None) -> bytes:
    """Encode indices to sub-blocks with their terminator.

    first: an index per pixel, each below 2**code_size. second: indices that are as right, pixel by pixel.
    """
    return pack(_strings(first, code_size, second), code_size)


def encode_similar(
    first: bytes, code_size: int, near: Nearness, second: bytes | None = None
) -> tuple[bytes, bytes]:
    """The same with pixels that may become similar ones: sub-blocks, and the indices that they hold.

    near: for each index those that may stand for it, itself among them, each with its squared error.
    """
    parts = _Parts(first, code_size)
    drawn = bytearray()
    strings = _similar(parts, iter(first if second is None else second), near, drawn)
    return pack(strings, code_size), bytes(drawn)


def _strings(first: bytes, code_size: int, second: bytes | None) -> list[list[int]]:
    """The codes of each table's time, without the clears between; a code is shifted up by 8 bits."""
    parts = _Parts(first, code_size)
    if second is None or second == first:
        return _exact(parts)
    return _either(parts, iter(second))


class _Parts:
    """An image on its way: its pixels, and the codes of each table so far."""

    def __init__(self, pixels: bytes, code_size: int) -> None:
        self.pixels = iter(pixels)
        self.code_size = code_size
        self.first_code = (1 << code_size) + 2 << 8
        self.done: list[list[int]] = []

    def left(self) -> int:
        """How many pixels are still to come."""
        return length_hint(self.pixels)

    def add(self) -> list[int]:
        codes: list[int] = []
        self.done.append(codes)
        return codes


class _Watch:
    """Whether a full table has served its time: what it costs now against what it has cost on the average."""

    def __init__(self, parts: _Parts, begun: int, codes: list[int]) -> None:
        self.begun, self.left = begun, parts.left
        self.mark = self.left()
        self.bits = int(_widths(len(codes), parts.code_size).sum())

    def has_enough(self) -> bool:
        """To be asked after every PATIENCE codes."""
        left = self.left()
        self.bits += WIDEST * PATIENCE
        is_over = WIDEST * PATIENCE * (self.begun - left) > SLACK * self.bits * (self.mark - left)
        self.mark = left
        return is_over


def _exact(parts: _Parts) -> list[list[int]]:
    """Greedy strings of the pixels as they are."""
    pixels = parts.pixels
    string = next(pixels) << 8
    while True:
        codes, begun, code = parts.add(), parts.left(), parts.first_code
        emit = codes.append
        known: dict[int, int] = {}
        find = known.setdefault
        for pixel in pixels:
            if (found := find(string | pixel, code)) != code:
                string = found
            else:
                emit(string)
                string = pixel << 8
                code += 256
                if code == TABLE << 8:
                    break
        else:
            break
        watch, count, look_up = _Watch(parts, begun, codes), 0, known.get
        for pixel in pixels:
            if (longer := look_up(string | pixel)) is not None:
                string = longer
            else:
                emit(string)
                string = pixel << 8
                count += 1
                if count == PATIENCE:
                    if watch.has_enough():
                        break
                    count = 0
        else:
            break
    emit(string)
    return parts.done


def _either(parts: _Parts, others: Iterator[int]) -> list[list[int]]:
    """Strings of the pixels, or of what is as right where that is known."""
    pairs = zip(parts.pixels, others, strict=False)
    string = next(pairs)[0] << 8
    while True:
        codes, begun, code = parts.add(), parts.left(), parts.first_code
        emit = codes.append
        known: dict[int, int] = {}
        look_up, count = known.get, 0
        watch: _Watch | None = None
        for pixel, other in pairs:
            longer = look_up(string | pixel)
            if longer is None and other != pixel:
                longer = look_up(string | other)
            if longer is not None:
                string = longer
                continue
            emit(string)
            if watch is None:
                known[string | pixel] = code
                code += 256
                if code == TABLE << 8:
                    watch = _Watch(parts, begun, codes)
            else:
                count += 1
                if count == PATIENCE:
                    count = 0
                    if watch.has_enough():
                        string = pixel << 8
                        break
            string = pixel << 8
        else:
            break
    emit(string)
    return parts.done


def _similar(parts: _Parts, others: Iterator[int], near: Nearness, drawn: bytearray) -> list[list[int]]:
    """Strings of pixels that are like those of the image: the longest, and of those the most alike.

    Followed are the WIDTH known strings with the least error.
    """
    pairs = zip(parts.pixels, others, strict=False)
    pixel = next(pairs)[0]
    while True:
        codes, begun, code = parts.add(), parts.left(), parts.first_code
        emit = codes.append
        after: dict[int, dict[int, int]] = {}  # the pixels that each string is known to go on with
        spelled: dict[int, bytes] = {}
        followers, count = after.get, 0
        watch: _Watch | None = None
        string = pixel << 8
        strings = [(0, string)]  # those that may stand for the pixels so far, each with its error
        for pixel, other in pairs:
            alike = near[pixel]
            longer = []
            for error, string in strings:
                if (known := followers(string)) is None:
                    continue
                if len(known) < len(alike):
                    for candidate, next_string in known.items():
                        more = alike.get(candidate)
                        if more is not None:
                            longer.append((error + more, next_string))
                else:
                    for candidate, more in alike.items():
                        if candidate in known:
                            longer.append((error + more, known[candidate]))
                if other != pixel and other in known:
                    longer.append((error, known[other]))
            if longer:
                if len(longer) > 1:
                    longer.sort()
                strings = longer[:WIDTH]
                continue
            string = strings[0][1]
            emit(string)
            text = spelled[string] if string in spelled else bytes((string >> 8,))
            drawn += text
            if watch is None:
                after.setdefault(string, {})[pixel] = code
                spelled[code] = text + bytes((pixel,))
                code += 256
                if code == TABLE << 8:
                    watch = _Watch(parts, begun, codes)
            else:
                count += 1
                if count == PATIENCE:
                    count = 0
                    if watch.has_enough():
                        break
            strings = [(0, pixel << 8)]
        else:
            break
    string = strings[0][1]
    emit(string)
    drawn += spelled[string] if string in spelled else bytes((string >> 8,))
    return parts.done


@lru_cache(maxsize=16)
def _growing(code_size: int) -> np.ndarray:
    """The width of every code of a table's time, up to when it is full."""
    entries = (1 << code_size) + 2 + np.maximum(0, np.arange(TABLE) - 1)
    lengths = np.array([n.bit_length() for n in range(TABLE + 1)], np.uint8)
    widths: np.ndarray = np.clip(lengths[np.minimum(entries, TABLE)], code_size + 1, WIDEST)
    return widths


def _widths(count: int, code_size: int) -> np.ndarray:
    """The widths of the first `count` codes behind a clear."""
    growing = _growing(code_size)[:count]
    return np.concatenate([growing, np.full(max(0, count - TABLE), WIDEST, np.uint8)])


def pack(strings: list[list[int]], code_size: int) -> bytes:
    """The codes of each table's time as sub-blocks, with clears before them and the end code behind."""
    clear = 1 << code_size
    codes, widths = [np.array([clear])], [np.array([code_size + 1], np.uint8)]
    for part in strings:
        last = clear + 1 if part is strings[-1] else clear
        codes.append(np.append(np.array(part, np.int64) >> 8, last))
        widths.append(_widths(len(part) + 1, code_size))
    planes = np.concatenate(codes).astype("<u2").view(np.uint8).reshape(-1, 2)
    bits = np.unpackbits(planes, axis=1, bitorder="little")
    data = np.packbits(bits[np.arange(16) < np.concatenate(widths)[:, None]], bitorder="little").tobytes()
    return (
        b"".join(
            bytes((len(block),)) + block for block in (data[at : at + 255] for at in range(0, len(data), 255))
        )
        + b"\0"
    )
