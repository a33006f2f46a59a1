"""Values of JSON changed at random, with a seed: what a damaged or a hostile document holds."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

DEEP: Any = []
for _ in range(30):
    DEEP = [DEEP]
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, -0.0, 0.5, 1e308, float("inf"), float("-inf"), float("nan"),
    "", "0", "x", "é\u2028", "\x1b[31m", "../../x", "/dev/zero", "/etc/passwd", "a\0b", "x" * 5000, "box:1", "-",
    [], [1], [None], ["a", ["b"]], {}, {"a": 1}, {"": {}}, DEEP, [0] * 3000,
)  # fmt: skip


def mutated(value: Any, rng: random.Random, times: int = 0) -> Any:
    """A copy in which one to three places are replaced, doubled, renamed or taken away; times: 0 to 3 by
    chance.
    """
    changed = copy.deepcopy(value)
    for _ in range(times or rng.randint(1, 3)):
        places = list(_places(changed))
        if not places:
            return rng.choice(ODD)
        holder, key = rng.choice(places)
        kind = rng.random()
        if kind < 0.7:
            holder[key] = copy.deepcopy(rng.choice(ODD))
        elif kind < 0.85:
            del holder[key]
        elif isinstance(holder, dict):
            holder[f"{key}x"] = holder.pop(key)
        else:
            holder.append(copy.deepcopy(holder[key]))
    return changed


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every key and index in a value, with what it is of."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from _places(item)
