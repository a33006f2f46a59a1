"""Two reports against each other, video by video: what differs beyond chance, and what does not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vedit.app.score.metrics import check_keys, ordered
from vedit.app.score.render import Cell, Table, shown
from vedit.app.score.results import Results, Row
from vedit.app.score.statistics import LEAST, LEVEL, Paired, excludes_zero, holm, paired
from vedit.errors import InputError, UsageError

NOTHING_SHOWN = "no difference shown"


@dataclass(frozen=True)
class Line:
    """One metric of a comparison. holm_p: Wilcoxon's p-value corrected over the metrics shown.

    verdict: the name of the better method, or NOTHING_SHOWN.
    """

    key: str
    mean_a: float
    mean_b: float
    paired: Paired
    holm_p: float
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """unpaired: videos of one report only, or without a number in one of them, by metric or ""."""

    a: Results
    b: Results
    lines: tuple[Line, ...]
    unpaired: dict[str, list[str]]


def compare(a: Results, b: Results, keys: Sequence[str] | None = None, *, force: bool = False, seed: int = 0) -> Comparison:
    """Compare two reports on the videos that both hold.

    keys: metrics to show; those of both reports by default. The verdict names a method when the
    bootstrap interval of the mean difference excludes 0 and Holm's correction of Wilcoxon's test,
    over the metrics shown, stays below 0.05. Raises UsageError when the profiles differ, unless
    forced, and InputError when no video is in both.
    """
    check_profiles([a, b], force)
    shared = [key for key in a.keys if key in b.metrics]
    if keys:
        check_keys(keys, shared, "the two reports have not both this metric")
        shared = ordered(dict.fromkeys(keys))
    pairs, alone = pair_rows(a.rows, b.rows)
    if not pairs:
        raise InputError(f"{a.name} and {b.name} have no video in common.", "Pairs have the same video_id and edit_id.")
    unpaired = {"": alone} if alone else {}
    found: list[tuple[str, float, float, Paired]] = []
    for key in shared:
        x, y, left = paired_values(pairs, key)
        if left:
            unpaired[key] = left
        if x:
            better = a.metrics[key].value.higher_is_better
            found.append((key, sum(x) / len(x), sum(y) / len(y), paired(x, y, higher_is_better=better, seed=seed)))
    corrected = holm([result.wilcoxon_p for *_, result in found])
    lines = [Line(key, x, y, result, p, verdict(a, b, key, result, p)) for (key, x, y, result), p in zip(found, corrected, strict=True)]
    return Comparison(a, b, tuple(lines), unpaired)


def check_profiles(reports: Sequence[Results], force: bool) -> None:
    """Refuse reports that were not computed the same way; the profile of a CSV is not known."""
    profiles = {report.profile for report in reports} - {"unknown"}
    if len(profiles) > 1 and not force:
        raise UsageError(
            f"the reports have different profiles: {', '.join(f'{report.name} {report.profile}' for report in reports)}.",
            "Numbers of different profiles are computed differently.",
            "Score again with one --profile, or compare them all the same with --force",
        )


def pair_rows(a: Sequence[Row], b: Sequence[Row]) -> tuple[list[tuple[Row, Row]], list[str]]:
    """Rows of the same video and edit, in the order of their names, and the names of the others."""
    of_a, of_b = {row.id: row for row in a}, {row.id: row for row in b}
    both = sorted(of_a.keys() & of_b.keys())
    alone = sorted(of_a.keys() ^ of_b.keys())
    return [(of_a[name], of_b[name]) for name in both], [(of_a.get(name) or of_b[name]).label for name in alone]


def paired_values(pairs: Sequence[tuple[Row, Row]], key: str) -> tuple[list[float], list[float], list[str]]:
    """The values of a metric on videos where both have one, and the names of the videos left out."""
    x, y, left = [], [], []
    for row_a, row_b in pairs:
        number_a, number_b = row_a.numbers.get(key), row_b.numbers.get(key)
        if number_a is not None and number_b is not None and math.isfinite(number_a.value) and math.isfinite(number_b.value):
            x.append(number_a.value)
            y.append(number_b.value)
        else:
            left.append(row_a.label)
    return x, y, left


def verdict(a: Results, b: Results, key: str, result: Paired, holm_p: float) -> str:
    if not excludes_zero(result.interval) or holm_p >= LEVEL:
        return NOTHING_SHOWN
    return a.name if (result.mean > 0) == a.metrics[key].value.higher_is_better else b.name


def comparison_table(found: Comparison) -> Table:
    """The comparison as a table; the first column carries the metric's direction."""
    a, b = found.a, found.b
    head = ("metric", a.name, b.name, f"{a.name} − {b.name}", "95% interval", "n", "wins/losses/ties", "sign p", "Wilcoxon p", "Holm p", "verdict")
    rows = []
    for line in found.lines:
        result, is_shown = line.paired, line.verdict != NOTHING_SHOWN
        rows.append(
            (
                Cell(f"{line.key} {a.metrics[line.key].arrow}"),
                Cell(shown(line.mean_a), is_best=is_shown and line.verdict == a.name),
                Cell(shown(line.mean_b), is_best=is_shown and line.verdict == b.name),
                Cell(shown(result.mean, sign=True)),
                Cell(interval_text(result.interval, sign=True)),
                Cell(str(result.n)),
                Cell(f"{result.wins}/{result.losses}/{result.ties}"),
                Cell(f"{result.sign_p:.4f}"),
                Cell(f"{result.wilcoxon_p:.4f}"),
                Cell(f"{line.holm_p:.4f}"),
                Cell(line.verdict, is_best=is_shown),
            )
        )
    return Table(f"{a.name} against {b.name}", head, tuple(rows), notes=tuple(comparison_notes(found)))


def comparison_notes(found: Comparison) -> list[str]:
    notes = [
        f"Wins are videos on which {found.a.name} is better; ↑ higher is better, ↓ lower is better.",
        "A verdict needs a 95% interval of the mean difference without 0 and a Holm-corrected Wilcoxon p below 0.05.",
    ]
    if any(line.paired.n < LEAST for line in found.lines):
        notes.append(f"Fewer than {LEAST} videos carry no interval, and so no verdict.")
    largest = max((line.paired.n for line in found.lines), default=0)
    if largest >= LEAST and len(found.lines) * 2 / 2**largest >= LEVEL:
        notes.append(
            f"{largest} videos are too few for {len(found.lines)} metrics: the corrected p cannot fall below {LEVEL}. Show fewer with --metrics, or score more videos."
        )
    if alone := found.unpaired.get(""):
        notes.append(f"In one report only, left out: {_few(alone)}.")
    notes += [f"{key}: without a number in one of the two, left out: {_few(names)}." for key, names in found.unpaired.items() if key]
    sizes = {report.name: {(row.facts.get("width"), row.facts.get("height")) for row in report.rows if "width" in row.facts} for report in (found.a, found.b)}
    of_a, of_b = (sizes[report.name] for report in (found.a, found.b))
    if of_a and of_b and of_a != of_b:
        notes.append("The two were scored at different sizes; motion_alignment and warp_error can be compared at equal sizes only.")
    return notes


def _few(names: Sequence[str], most: int = 10) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def interval_text(interval: tuple[float, float] | None, *, sign: bool = False) -> str:
    return "n too small" if interval is None else f"[{shown(interval[0], sign=sign)}, {shown(interval[1], sign=sign)}]"


def comparison_json(found: Comparison) -> dict[str, Any]:
    return {
        "schema": 1,
        "a": found.a.name,
        "b": found.b.name,
        "profile": found.a.profile if found.a.profile == found.b.profile else [found.a.profile, found.b.profile],
        "unpaired": found.unpaired,
        "metrics": {
            line.key: {"mean_a": line.mean_a, "mean_b": line.mean_b, **line.paired._asdict(), "holm_p": line.holm_p, "verdict": line.verdict}
            for line in found.lines
        },
    }
