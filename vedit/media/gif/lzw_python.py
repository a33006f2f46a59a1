"""LZW in plain Python, for the code sizes that Pillow's decoder gets wrong: 1, and 9 to 11.

Such files hardly exist; browsers read them, so we do. Indices that do not fit a byte are given as
255: they are beyond any palette that a GIF can hold.
"""

from __future__ import annotations

from typing import NamedTuple


class Pixels(NamedTuple):
    """The indices that a stream holds, at most as many as wanted, and what is wrong with it."""

    indices: bytes
    complaint: str


def decode(payload: bytes, code_size: int, wanted: int) -> Pixels:
    """Decompress sub-blocks (with terminator); code_size: 1 to 11."""
    clear, end = 1 << code_size, (1 << code_size) + 1
    start = [bytes((min(i, 255),)) for i in range(clear)] + [b"", b""]
    table, width = start.copy(), code_size + 1
    out: list[bytes] = []
    count = bits = have = 0
    last = b""
    for byte in _joined(payload):
        bits |= byte << have
        have += 8
        while have >= width:
            code = bits & (1 << width) - 1
            bits >>= width
            have -= width
            if code == end:
                return _ended(out, count, wanted, True)
            if code == clear:
                table, width, last = start.copy(), code_size + 1, b""
                continue
            if count >= wanted:
                return _ended(out, count + 1, wanted, False)
            if code < len(table) and (last or code < clear):
                entry = table[code]
            elif last and code == len(table) < 4096:
                entry = last + last[:1]
            else:
                return _ended(out, count, wanted, False)
            if last and len(table) < 4096:
                table.append(last + entry[:1])
            if len(table) == 1 << width and width < 12:
                width += 1
            out.append(entry)
            count += len(entry)
            last = entry
    return _ended(out, count, wanted, False)


def _ended(out: list[bytes], count: int, wanted: int, has_end: bool) -> Pixels:
    damage = (
        "has more pixels than fit in it"
        if count > wanted
        else "has damaged data"
        if count < wanted
        else ""
        if has_end
        else "has no end code"
    )
    return Pixels(b"".join(out)[:wanted], damage)


def _joined(payload: bytes) -> bytes:
    """The data of sub-blocks without their sizes."""
    parts, at = [], 0
    while payload[at]:
        parts.append(payload[at + 1 : at + 1 + payload[at]])
        at += payload[at] + 1
    return b"".join(parts)
