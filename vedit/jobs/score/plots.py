"""Means of methods with their intervals as an SVG picture: a strip for each metric, on an axis of its own."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from vedit.errors import UsageError
from vedit.jobs.score.html import PLOT_STYLE, axis, tick
from vedit.jobs.score.render import figure
from vedit.jobs.score.results import Results
from vedit.jobs.score.statistics import Summary

WIDTH, LEFT, RIGHT = 460, 120, 360  # of the picture, and of the axis in it
ROW, HEAD, FOOT = 16, 24, 24  # heights of a method, of a metric's name, and of its axis
LONGEST_NAME = 18


def means_svg(reports: Sequence[Results]) -> str:
    """The picture. Raises UsageError where no report has a mean."""
    keys = dict.fromkeys(key for report in reports for key in report.keys)
    top, parts = 0, []
    for key in keys:
        of_it = [(report.name, report.summary(key)) for report in reports if key in report.metrics]
        drawn = [(name, found) for name, found in of_it if found.mean is not None]
        if not drawn:
            continue
        fact = next(report.metrics[key] for report in reports if key in report.metrics)
        parts.append(
            f'<g transform="translate(0 {top})">{_strip(key, fact.arrow, fact.value.rounding, drawn)}</g>'
        )
        top += HEAD + ROW * len(drawn) + FOOT
    if not parts:
        raise UsageError("there is no mean to draw.", "The reports hold no number that is finite.")
    note = "Means, and 95% intervals where there are five videos or more; each metric on its own axis."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + 20}" width="{2 * WIDTH}"'
        f' height="{2 * (top + 20)}" role="img" aria-label="means of methods"><style>{PLOT_STYLE}</style>'
        f'<rect width="{WIDTH}" height="{top + 20}" fill="#fff"/>{"".join(parts)}'
        f'<text x="4" y="{top + 12}">{note}</text></svg>\n'
    )


def _strip(key: str, arrow: str, rounding: float, drawn: Sequence[tuple[str, Summary]]) -> str:
    values = [
        value for _, found in drawn for value in (found.mean, *(found.interval or ())) if value is not None
    ]
    low, high = axis(min(values), max(values), rounding)

    def x(value: float) -> float:
        return LEFT + (RIGHT - LEFT) * (value - low) / (high - low)

    rows = []
    for place, (name, found) in enumerate(drawn):
        assert found.mean is not None and math.isfinite(found.mean), "left out before"
        y, shown = HEAD + ROW * place + ROW // 2, f"{figure(found.mean)}, n = {found.n}"
        bar = ""
        if found.interval is not None:
            ends = [f"{x(end):.1f}" for end in found.interval]
            bar = f'<line class="range" x1="{ends[0]}" x2="{ends[1]}" y1="{y}" y2="{y}"/>'
        m = x(found.mean)
        rows.append(
            f'<text x="{LEFT - 6}" y="{y + 3}" text-anchor="end">{html.escape(_short(name))}</text>{bar}'
            f'<path class="mean" d="M{m:.1f} {y - 5} l4 5 l-4 5 l-4 -5 z"/>'
            f'<text x="{RIGHT + 8}" y="{y + 3}">{shown}</text>'
        )
    foot = HEAD + ROW * len(drawn) + 2
    return (
        f'<text x="4" y="14" font-weight="bold">{html.escape(key)} {arrow}</text>{"".join(rows)}'
        f'<line class="axis" x1="{LEFT}" x2="{RIGHT}" y1="{foot}" y2="{foot}"/>'
        f'<text x="{LEFT}" y="{foot + 11}" text-anchor="middle">{tick(low, high - low)}</text>'
        f'<text x="{RIGHT}" y="{foot + 11}" text-anchor="middle">{tick(high, high - low)}</text>'
    )


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
