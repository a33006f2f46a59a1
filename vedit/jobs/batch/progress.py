"""How far a batch is, and how long the rest will take."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from statistics import median, quantiles
from typing import Any, NamedTuple

from vedit.jobs.batch.plan import Item, Plan

Group = tuple[Any, ...]


class Left(NamedTuple):
    """Seconds that are left: the middle of what is likely, and the quartiles around it."""

    seconds: float
    low: float
    high: float


class Pace:
    """Seconds of items that are done, by what decides how long an item takes.

    The first item of a clip also inverts it, so it counts apart from those after it. A machine that has
    become busier, or idler, is known by the last items: their seconds against what was foreseen scale the
    rest.
    earlier: of earlier calls, which hold for groups that nothing is known of now.
    """

    LAST = 6

    def __init__(self, earlier: Mapping[Group, list[float]] | None = None) -> None:
        self.seconds: dict[Group, list[float]] = {}
        self.earlier = dict(earlier or {})
        self.inverted: set[Group] = set()
        self.ratios: deque[float] = deque(maxlen=self.LAST)

    def begin(self, item: Item) -> Group:
        """The group of an item whose turn it is."""
        is_first = item.clip not in self.inverted
        self.inverted.add(item.clip)
        return *item.group, is_first

    def add(self, group: Group, seconds: float) -> None:
        foreseen = self._known(group)
        if foreseen is not None and foreseen[1] > 0 and group in self.seconds:
            self.ratios.append(seconds / foreseen[1])
        self.seconds.setdefault(group, []).append(seconds)

    def left(
        self, items: Iterable[Item], at_work: Iterable[tuple[Group, float]], workers: int
    ) -> Left | None:
        """Seconds for items in their order, and for those at work with how long they have been, among
        workers; None before something is known of each.
        """
        spans, inverted = [], set(self.inverted)
        for group, spent in at_work:
            if (known := self._known(group)) is None:
                return None
            spans.append(tuple(max(0.0, seconds - spent) for seconds in known))
        for item in items:
            known = self._known((*item.group, item.clip not in inverted))
            inverted.add(item.clip)
            if known is None:
                return None
            spans.append(known)
        share = (median(self.ratios) if len(self.ratios) > 2 else 1.0) / max(1, workers)
        low, middle, high = (sum(span[place] for span in spans) * share for place in range(3))
        return Left(middle, low, high)

    def _known(self, group: Group) -> tuple[float, ...] | None:
        """Quartiles of a group; where it has none yet, of first and later items of a clip alike."""
        *rest, is_first = group
        for seconds in (self.seconds, self.earlier):
            for like in (group, (*rest, not is_first)):
                if like in seconds:
                    return quartiles(tuple(seconds[like]))
        return None


def pace_of(plan: Plan) -> Pace:
    """The pace of what is done already."""
    earlier: dict[Group, list[float]] = {}
    order = Pace()
    for item in sorted(plan.items, key=lambda item: float(plan.done.get(item.key, {}).get("finished", 0))):
        record = plan.done.get(item.key, {})
        if not item.twin and isinstance(record.get("seconds"), (int, float)):
            earlier.setdefault(order.begin(item), []).append(float(record["seconds"]))
    made = Pace(earlier)
    made.inverted = order.inverted
    return made


@lru_cache(maxsize=256)
def quartiles(values: tuple[float, ...]) -> tuple[float, float, float]:
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
