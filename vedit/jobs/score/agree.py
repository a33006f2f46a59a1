"""How far metrics agree with people: rank correlations with labels, video by video, with intervals.

Labels are a CSV with video_id, edit_id where a video has several edits, method where there are several
reports, and any number of columns of numbers; several lines of one edit (raters) are averaged. Or they are
the answers to a blind sheet (`blind`): then it is the difference of two methods on a video that is held
against the choice.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vedit.documents import Kind, read_text, uncell
from vedit.errors import InputError
from vedit.jobs.score.metrics import among
from vedit.jobs.score.render import Cell, Table
from vedit.jobs.score.results import Results
from vedit.jobs.score.statistics import LEAST, Agreement, agreement
from vedit.jobs.score.weights import other_weights_notes

LABELS = Kind(
    "a file of labels",
    right="It is CSV with the columns video_id and one or more of numbers; edit_id and method where needed.",
)
NAMES = ("video_id", "edit_id", "method", "rater")
Edit = tuple[str, str, str]  # method, video, edit; the method "" where labels name none
Judged = Mapping[Edit, Mapping[str, float]]


@dataclass(frozen=True)
class Line:
    """A metric against a label. sign: -1 where lower is better, so that agreement is positive."""

    metric: str
    label: str
    found: Agreement
    sign: int


def read_labels(path: str) -> dict[Edit, dict[str, float]]:
    """Labels by edit, the mean over lines of one. Raises InputError."""
    text = read_text(path, LABELS)
    has_semicolons = ";" in text.partition("\n")[0] and "," not in text.partition("\n")[0]
    try:
        lines = list(csv.DictReader(io.StringIO(text), delimiter=";" if has_semicolons else ","))
    except csv.Error as error:
        raise LABELS.refusal(path, str(error)) from None
    lines = [{str(key).strip(): value for key, value in line.items()} for line in lines if any(line.values())]
    columns = [key for key in (lines[0] if lines else {}) if key not in NAMES]
    if not lines or "video_id" not in lines[0] or not columns:
        raise LABELS.refusal(path, "a column video_id, or one of numbers, is missing")
    found: dict[Edit, dict[str, list[float]]] = {}
    for number, line in enumerate(lines, 2):
        edit = tuple(uncell((line.get(key) or default).strip()) for key, default in _OF_EDIT)
        of_edit = found.setdefault((edit[0], edit[1], edit[2]), {})
        for column in columns:
            if (words := (line[column] or "").strip()) != "":
                of_edit.setdefault(column, []).append(_number(path, number, column, words))
    return {
        edit: {column: sum(values) / len(values) for column, values in of_edit.items()}
        for edit, of_edit in found.items()
    }


_OF_EDIT = (("method", ""), ("video_id", ""), ("edit_id", "0"))


def _number(path: str, line: int, column: str, words: str) -> float:
    try:
        value = float(words.replace(",", "."))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise LABELS.refusal(path, f"line {line}: {column} is {words!r}, which is not a number")
    return value


def agree(
    reports: Sequence[Results], labels: Judged, metrics: str | None = None, *, seed: int = 0
) -> list[Line]:
    """Each metric that a report has against each label. Reports have names of their own.

    Raises UsageError for metrics that no report holds, InputError where no edit has both.
    """
    keys = list(dict.fromkeys(key for report in reports for key in report.keys))
    if metrics:
        keys = among(metrics, keys, "the reports")
    names = list(dict.fromkeys(name for of_edit in labels.values() for name in of_edit))
    lines = []
    for key in keys:
        for name in names:
            pairs = _pairs(reports, labels, key, name)
            if pairs:
                videos, x, y = zip(*pairs, strict=True)
                fact = next(report.metrics[key] for report in reports if key in report.metrics)
                sign = 1 if fact.value.higher_is_better else -1
                found = agreement([sign * value for value in x], y, videos, seed=seed)
                lines.append(Line(key, name, found, sign))
    if not lines:
        raise InputError(
            "no edit has both a number and a label.",
            f"Labels name {_few(labels)}; the reports hold"
            f" {_few({(r.name, row.video_id, row.edit_id): {} for r in reports for row in r.rows})}.",
            "Names of videos, edits and methods must be the same in both",
        )
    return lines


def _pairs(reports: Sequence[Results], labels: Judged, key: str, name: str) -> list[tuple[str, float, float]]:
    """Video, number and label of every edit that has both."""
    found = []
    for report in reports:
        for row in report.rows:
            number = row.counted(key)
            label = _label(labels, report.name, row.id, name, is_alone=len(reports) == 1)
            if number is not None and number.is_finite and label is not None:
                found.append((row.video_id, number.value, label))
    return found


def _label(labels: Judged, method: str, edit: tuple[str, str], name: str, *, is_alone: bool) -> float | None:
    """The label of an edit: by its method, or of labels that name none where there is one report."""
    for key in ((method, *edit), *([("", *edit)] if is_alone else [])):
        if name in labels.get(key, {}):
            return labels[key][name]
    return None


def _few(edits: Judged) -> str:
    names = [" ".join(part for part in edit if part) for edit in list(edits)[:3]]
    return ", ".join(names) + (" ..." if len(edits) > 3 else "")


def agreement_table(lines: Sequence[Line], reports: Sequence[Results], *, is_of_choices: bool) -> Table:
    """A line per metric and label, those that agree best first."""
    head = ["metric", "label", "n", "Spearman", "95% interval", "Kendall", "95% interval"]
    head += ["same choice"] if is_of_choices else []
    ordered = sorted(lines, key=lambda line: (line.label, -(line.found.spearman or -2)))
    rows = []
    for line in ordered:
        found = line.found
        row = [line.metric, line.label, _count(found)]
        for value, interval in (
            (found.spearman, found.spearman_interval),
            (found.kendall, found.kendall_interval),
        ):
            row += ["–" if value is None else f"{value:+.3f}", _interval(found, value, interval)]
        row += [f"{found.same} of {found.decided}"] if is_of_choices else []
        rows.append(tuple(map(Cell, row)))
    notes = [
        "Metrics of which lower is better are turned round, so that +1 is full agreement and 0 none."
        " Intervals: 2000 bootstrap samples of videos.",
        *other_weights_notes(reports),
    ]
    if is_of_choices:
        notes.insert(0, "The difference of two methods on a video, against which of them was chosen blind.")
    return Table("Agreement with people", tuple(head), tuple(rows), left=2, notes=tuple(notes))


def _count(found: Agreement) -> str:
    return str(found.n) if found.n == found.videos else f"{found.n} of {found.videos} videos"


def _interval(found: Agreement, value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "all alike"
    if interval is None:
        return "n too small" if found.videos < LEAST else "–"
    return f"{interval[0]:+.3f} to {interval[1]:+.3f}"


def agreement_json(lines: Sequence[Line]) -> dict[str, Any]:
    return {
        "schema": 1,
        "lines": [
            {
                "metric": line.metric,
                "label": line.label,
                "turned": line.sign < 0,
                **line.found._asdict(),
            }
            for line in lines
        ],
    }
