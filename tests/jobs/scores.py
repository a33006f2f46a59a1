"""Reports for tests: the thesis' rows, and rows of given numbers."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from tests.conftest import ROOT
from vedit.jobs.score.metrics import Fact
from vedit.jobs.score.results import Number, Results, Row
from vedit.metrics.base import Value

THESIS: dict[str, Any] = tomllib.loads((ROOT / "vedit" / "jobs" / "suite" / "thesis_tables.toml").read_text())


def column(method: str, metric: str) -> list[float]:
    """The twenty values of a metric in the thesis' tables, in the order of their rows."""
    table = next(
        table for table in THESIS["table"] if table.get("method") == method and metric in table["metric"]
    )
    return [row[1 + table["metric"].index(metric)] for row in table["rows"]]


def fact(key: str, higher_is_better: bool = True) -> Fact:
    return Fact(Value(key, "unit", higher_is_better, "0..1", f"what {key} says"), key, 1)


def report(
    name: str,
    values: Mapping[str, Sequence[float]],
    *,
    videos: Sequence[str] | None = None,
    lower: Sequence[str] = (),
    **facts: Any,
) -> Results:
    """A report with one row per video; `lower` names the metrics that are better when smaller."""
    count = len(next(iter(values.values())))
    names = videos or [f"v{number}" for number in range(count)]
    rows = [
        Row(video, "0", {key: Number(float(values[key][i])) for key in values}, facts=facts)
        for i, video in enumerate(names)
    ]
    return Results(name, "v2vbench", tuple(rows), {key: fact(key, key not in lower) for key in values})


def thesis(method: str) -> Results:
    """A method's tables 3-1 to 3-3, or 3-4 to 3-6, as a report."""
    own = [table for table in THESIS["table"] if table.get("method") == method]
    return report(
        method,
        {key: column(method, key) for table in own for key in table["metric"]},
        videos=[row[0] for row in own[0]["rows"]],
    )
