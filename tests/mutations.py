"""Damage to documents and streams, by a seed: bytes changed, cut, doubled, and the pieces that break parsers
put in.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

PIECES = (
    b"[" * 3000, b'{"a":' * 500, b"9" * 5000, b"1e999", b"1e99999999", b"-1", b"0", b"null", b"true", b"NaN", b'""', b"[]", b"{}", b"\xff", b"\0",
    b"\\ud800", "²".encode(), b"=1+1", b"&a [*a]", b"<<: ", b"!!binary ", b"\n", b'"', b"'", b",", b":", b"=",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    10**30,
    10**400,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "²",
    "x",
    "=1+1",
    [],
    [[]],
    {},
    {"a": []},
    [None, 1],
)


def bytes_of(whole: bytes, seed: int) -> bytes:
    """The document with one to four places damaged."""
    rng = random.Random(seed)
    data = bytearray(whole)
    for _ in range(rng.randint(1, 4)):
        at, length = rng.randrange(len(data) + 1), rng.choice((0, 1, 4, 30))
        kind = rng.randrange(5)
        if kind == 0:
            del data[at : at + length]
        elif kind == 1:
            data[at:at] = data[at : at + length]
        elif kind == 2 and rng.random() < 0.3:
            del data[at:]
        elif kind == 3:
            data[at : at + length] = bytes((rng.randrange(256),))
        else:
            data[at : at + length] = rng.choice(PIECES)
    return bytes(data)


def value_of(whole: Any, seed: int) -> Any:
    """The value, with one to three places of wrong type, missing or under another name."""
    rng = random.Random(seed)
    value = json.loads(json.dumps(whole))
    for _ in range(rng.randint(1, 3)):
        places = list(_places(value))
        if not places:
            break
        holder, key = rng.choice(places)
        if rng.random() < 0.25:
            del holder[key]
        elif isinstance(holder, dict) and rng.random() < 0.1:
            holder[rng.choice(("", "x", "²"))] = holder.pop(key)
        else:
            holder[key] = rng.choice(VALUES)
    return value


def _places(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from _places(item)


def json_of(whole: Any, seed: int) -> bytes:
    """The value as JSON: of wrong types for even seeds, with damaged bytes for odd ones."""
    return (
        json.dumps(value_of(whole, seed)).encode()
        if seed % 2 == 0
        else bytes_of(json.dumps(whole).encode(), seed)
    )


def exits(run: Callable[[int], Any], count: int, allowed: tuple[int, ...]) -> dict[int, int]:
    """How often each exit code came of `run(seed)`, which gives a result with code and err; fails for any
    other and for a bug.
    """
    codes: dict[int, int] = {}
    for seed in range(count):
        result = run(seed)
        assert result.code in allowed and "bug:" not in result.err and "Traceback" not in result.err, (
            seed,
            result.code,
            result.err[-400:],
        )
        codes[result.code] = codes.get(result.code, 0) + 1
    return codes
