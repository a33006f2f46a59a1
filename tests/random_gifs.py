"""Seeded random GIFs, written byte by byte: what the format allows and encoders seldom do."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from types import ModuleType

from PIL import Image  # noqa: F401  imported here so that no test measures its import


def _load() -> ModuleType:
    path = Path(__file__).parent / "data" / "make_nasty_gifs.py"
    spec = importlib.util.spec_from_file_location("make_nasty_gifs", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


nasty = _load()


def colours(rng: random.Random, bits: int) -> list[tuple[int, int, int]]:
    return [(rng.randrange(256), rng.randrange(256), rng.randrange(256)) for _ in range(1 << bits)]


def pixels(rng: random.Random, count: int, limit: int) -> bytes:
    """Noise, runs, or one colour."""
    style = rng.randrange(3)
    if style == 0:
        return bytes(rng.randrange(limit) for _ in range(count))
    if style == 1:
        out = bytearray()
        while len(out) < count:
            out += bytes((rng.randrange(limit),)) * rng.randrange(1, 40)
        return bytes(out[:count])
    return bytes((rng.randrange(limit),)) * count


def random_gif(seed: int) -> bytes:
    """A well-formed GIF: random canvas, rectangles, disposals, palettes, code sizes, interlace, metadata."""
    rng = random.Random(seed)
    width, height = rng.randrange(1, 48), rng.randrange(1, 40)
    global_bits = rng.choice([0, 1, 2, 4, 8])
    data = nasty.header(
        width,
        height,
        colours(rng, global_bits) if global_bits else None,
        global_bits,
        bg=rng.randrange(256),
        aspect=rng.choice([0, 0, 49, 100]),
    )
    if rng.random() < 0.6:
        data += nasty.netscape(rng.choice([0, 1, 7, 65535]))
    for _ in range(rng.randrange(1, 9)):
        data += _extras(rng) + _image(rng, width, height, global_bits)
    return bytes(data + _extras(rng) + nasty.END)


def _extras(rng: random.Random) -> bytes:
    kind = rng.randrange(12)
    if kind == 0:
        return nasty.comment(bytes(rng.randrange(256) for _ in range(rng.choice([0, 1, 255, 300]))))
    if kind == 1:
        return nasty.app(b"SOMEAPP1.00", bytes(rng.randrange(256) for _ in range(rng.randrange(1, 300))))
    return b"\x21\x99\x03abc\x00" if kind == 2 else b""


def _image(rng: random.Random, width: int, height: int, global_bits: int) -> bytes:
    w, h = (
        (0, rng.randrange(3))
        if rng.random() < 0.04
        else (rng.randrange(1, width + 9), rng.randrange(1, height + 9))
    )
    x, y = rng.randrange(width + 3), rng.randrange(height + 3)
    if rng.random() < 0.3:
        x, y, w, h = 0, 0, width, height
    bits = rng.choice([1, 2, 3, 5, 8]) if rng.random() < 0.4 else 0
    colour_bits = bits or global_bits or 8
    code_size = max(rng.choice([1, 2, 2, 2, 8, 9, 11]), colour_bits)
    payload = nasty.sub(
        nasty.lzw(_rows(rng, w, h, colour_bits), code_size, table_max=rng.choice([4096, 4096, 700]))
    )
    interlace = rng.random() < 0.25  # the rows are whatever they are: the order on the canvas is the reader's
    block = nasty.image(
        w, h, b"", code_size, x, y, colours(rng, bits) if bits else None, bits or 2, interlace, payload
    )
    if rng.random() < 0.85:
        transparent = rng.choice([None, 0, 1, 3, 200]) if rng.random() < 0.6 else None
        block = (
            nasty.gce(rng.choice([0, 1, 3, 10, 500]), rng.choice([0, 1, 1, 2, 2, 3, 3, 5]), transparent)
            + block
        )
    return bytes(block)


def _rows(rng: random.Random, w: int, h: int, colour_bits: int) -> bytes:
    return pixels(rng, w * h, 1 << colour_bits)


def corrupted(data: bytes, seed: int) -> bytes:
    """A good file with something done to it: bytes changed, cut, removed, repeated or put in."""
    rng = random.Random(seed)
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8, 30])):
        place = rng.randrange(len(out)) if rng.random() < 0.7 else rng.randrange(min(60, len(out)))
        kind = rng.randrange(10)
        if kind < 6:
            out[place] = rng.choice([rng.randrange(256), 0, 255, out[place] ^ 1 << rng.randrange(8)])
        elif kind == 6:
            out[place:] = b""
        elif kind == 7:
            del out[place : place + rng.randrange(1, 40)]
        elif kind == 8:
            out[place:place] = out[place : place + rng.randrange(1, 200)]
        else:
            out[place:place] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 20)))
        if not out:
            break
    return bytes(out)
