"""How far a batch is, and how long the rest will take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median, quantiles
from typing import Any, NamedTuple

Group = tuple[Any, ...]


class Left(NamedTuple):
    """Seconds that are left: the middle of what is likely, and the quartiles around it."""

    seconds: float
    low: float
    high: float


class Pace:
    """Seconds of items that are done, by what decides how long an item takes."""

    def __init__(self) -> None:
        self.seconds: dict[Group, list[float]] = {}

    def add(self, group: Group, seconds: float) -> None:
        self.seconds.setdefault(group, []).append(seconds)

    def left(self, groups: Iterable[Group], workers: int) -> Left | None:
        """Seconds for items of these groups among workers; None before each group has one that is done."""
        spans = []
        for group in groups:
            if group not in self.seconds:
                return None
            spans.append(quartiles(self.seconds[group]))
        low, middle, high = (sum(span[place] for span in spans) / max(1, workers) for place in range(3))
        return Left(middle, low, high)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        return (values[0],) * 3
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, median(values), high


def clock(seconds: float) -> str:
    """Seconds as people read them: 00:41, 2:03:07."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


def line(done: int, total: int, failed: int, running: Sequence[str], left: Left | None) -> str:
    """How far it is, in a line."""
    parts = [f"{done}/{total} done"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{len(running)} running ({', '.join(running[:3])})"] if running else []
    if left is not None and left.seconds >= 1:
        parts.append(f"{clock(left.seconds)} left ({clock(left.low)}-{clock(left.high)})")
    return ", ".join(parts)
