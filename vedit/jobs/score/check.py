"""What is wrong with reports before anybody compares them: gaps, damage, other weights, other videos."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vedit.jobs.score.compare import check_alike, damage_notes, few, source_notes
from vedit.jobs.score.metrics import catalogue
from vedit.jobs.score.results import Results, videos_of
from vedit.jobs.score.summary import failures
from vedit.jobs.score.weights import other_weights_notes

RANGE = re.compile(r"(-?\d+(?:\.\d+)?)\.\.(-?\d+(?:\.\d+)?)")  # as `usual` of a metric says it


@dataclass(frozen=True)
class Finding:
    """report: its name, "" for what is between reports. is_wrong: a mean or a comparison is not what it
    seems; otherwise it is worth a look.
    """

    report: str
    text: str
    is_wrong: bool


def check(reports: Sequence[Results], wanted: Sequence[tuple[str, str]] | None = None) -> list[Finding]:
    """What is wrong with each report, and between them. wanted: edits that an index names, by video and
    edit.
    """
    found = [finding for report in reports for finding in _of_one(report, wanted)]
    return [*found, *_between(reports)]


def _of_one(report: Results, wanted: Sequence[tuple[str, str]] | None) -> list[Finding]:
    wrong = [*damage_notes(report), *other_weights_notes([report]), *_gaps(report)]
    wrong += [f"{label}: not scored: {why}." for label, why in failures(report.rows)]
    if wanted is not None:
        there = {row.id for row in report.rows}
        wrong += _listed("of the index, not in the report", [id for id in wanted if id not in there])
        wrong += _listed("not in the index", sorted(there - set(wanted)))
    if not report.rows:
        wrong.append("it holds no video.")
    looks = [*source_notes(report), *_old(report), *_unusual(report)]
    looks += [f"{row.label}: {flag}" for row in report.rows for flag in row.flags]
    return [
        *(Finding(report.name, text, True) for text in wrong),
        *(Finding(report.name, text, False) for text in looks),
    ]


def _listed(what: str, ids: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{what}: {few([f'{video}/{edit}' for video, edit in ids])}."] if ids else []


def _gaps(report: Results) -> list[str]:
    """Metrics without a number, or without a finite one, of videos for which nothing says why."""
    said = []
    for key in report.keys:
        rows = [row for row in report.rows if key not in row.skipped and key not in row.failed]
        absent = [row.label for row in rows if key not in row.numbers]
        endless = [row.label for row in rows if key in row.numbers and not row.numbers[key].is_finite]
        said += [f"{key}: no number of {few(absent)}."] if absent else []
        said += [f"{key}: not finite for {few(endless)}."] if endless else []
    return said


def _old(report: Results) -> list[str]:
    known = catalogue()
    return [
        f"{key}: version {fact.version}, and this vedit computes version {known[key].version}."
        for key, fact in report.metrics.items()
        if key in known and known[key].version != fact.version
    ]


def _unusual(report: Results) -> list[str]:
    """Metrics with values outside their usual range."""
    said = []
    for key in report.keys:
        usual = report.metrics[key].value.usual
        if ends := RANGE.fullmatch(usual):
            low, high = map(float, ends.groups())
            outside = [
                row.label
                for row in report.rows
                if (number := row.numbers.get(key)) and number.is_finite and not low <= number.value <= high
            ]
            said += [f"{key}: outside the usual {usual} for {few(outside)}."] if outside else []
    return said


def _between(reports: Sequence[Results]) -> list[Finding]:
    """What keeps the reports from being compared on all their videos."""
    if len(reports) < 2:
        return []
    said = [f"not computed alike: {what}." for what in check_alike(reports, True)]
    everywhere = set.intersection(*({row.id for row in report.rows} for report in reports))
    alone = sorted({row.id for report in reports for row in report.rows} - everywhere)
    said += _listed("not in every report", alone)
    keys = {key for report in reports for key in report.metrics}
    lacking = [key for key in sorted(keys) if not all(key in report.metrics for report in reports)]
    looks = [f"metrics not in every report: {few(lacking)}."] if lacking else []
    return [*(Finding("", text, True) for text in said), *(Finding("", text, False) for text in looks)]


def findings_text(reports: Sequence[Results], found: Sequence[Finding]) -> str:
    """A line per report, its findings below, what is wrong first; then what is between reports."""
    lines = []
    for report in reports:
        videos = len(set(videos_of(report.rows)))
        own = [finding for finding in found if finding.report == report.name]
        state = "" if any(finding.is_wrong for finding in own) else ": nothing is wrong"
        lines.append(
            f"{report.name}: {len(report.rows)} edits of {videos} videos,"
            f" {len(report.metrics)} metrics{state}"
        )
        lines += [_line(finding) for finding in own]
    between = [_line(finding) for finding in found if not finding.report]
    return "\n".join([*lines, *(["between the reports:", *between] if between else [])]) + "\n"


def _line(finding: Finding) -> str:
    return f"  {'wrong' if finding.is_wrong else 'look'}: {finding.text}"
