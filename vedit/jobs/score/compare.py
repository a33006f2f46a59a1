"""Two reports against each other, video by video: what differs beyond chance, and what does not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vedit.errors import InputError, UsageError, option
from vedit.jobs.score.metrics import check_keys, options_of, ordered
from vedit.jobs.score.render import Cell, Table, figure
from vedit.jobs.score.results import Results, Row, videos_of
from vedit.jobs.score.statistics import (
    LEAST,
    LEVEL,
    POWER,
    Paired,
    excludes_zero,
    holm,
    paired,
    videos_needed,
)
from vedit.jobs.score.weights import other_weights_notes
from vedit.metrics.types import flow_of

NOTHING_SHOWN = "no difference shown"
MANY = 99_999  # videos; what would need more is not told to the last one


@dataclass(frozen=True)
class Line:
    """One metric of a comparison. holm_p: Wilcoxon's p-value corrected over the metrics shown.

    verdict: the name of the better method, or NOTHING_SHOWN. needed: videos from which a difference of this
    size would get a verdict, None for a difference within the metric's own rounding.
    """

    key: str
    mean_a: float
    mean_b: float
    paired: Paired
    holm_p: float
    verdict: str
    needed: int | None = None


@dataclass(frozen=True)
class Comparison:
    """unpaired: videos of one report only, or without a number in one of them, by metric or "". forced: what
    was computed differently all the same. tests: how many Holm's correction is over.
    """

    a: Results
    b: Results
    lines: tuple[Line, ...]
    unpaired: dict[str, list[str]]
    forced: tuple[str, ...] = ()
    tests: int = 1


def compare(
    a: Results, b: Results, keys: Sequence[str] | None = None, *, force: bool = False, seed: int = 0
) -> Comparison:
    """Compare two reports on the videos that both hold.

    keys: metrics to show; those of both reports by default. The verdict names a method when the
    bootstrap interval of the mean difference excludes 0 and Holm's correction of Wilcoxon's test,
    over the metrics shown, stays below 0.05; a difference within the metric's own rounding gets none.
    Raises UsageError when the numbers were computed differently, unless forced, and InputError when
    no metric or no video is in both.
    """
    shared = [key for key in a.keys if key in b.metrics]
    if keys:
        check_keys(keys, shared, "the two reports have not both this metric")
        shared = ordered(dict.fromkeys(keys))
    if not shared:
        raise InputError(
            f"{a.name} and {b.name} have no metric in common.",
            f"{a.name} has {', '.join(a.keys) or 'none'}; {b.name} has {', '.join(b.keys) or 'none'}.",
        )
    forced = check_alike([a, b], force, shared)
    return compare_pairs([(a, b)], shared, forced, seed)[0]


def compare_pairs(
    pairs: Sequence[tuple[Results, Results]], keys: Sequence[str], forced: Sequence[str], seed: int
) -> list[Comparison]:
    """Compare each pair of reports; Holm's correction is over all pairs and metrics together.

    Raises InputError for a pair without a video or a number in common.
    """
    found = [_measured(a, b, keys, seed) for a, b in pairs]
    corrected = iter(holm([result.wilcoxon_p for measured, _ in found for *_, result in measured]))
    tests = sum(len(measured) for measured, _ in found)
    return [
        Comparison(
            a,
            b,
            tuple(_judged(a, b, *entry, next(corrected), tests) for entry in measured),
            unpaired,
            tuple(forced),
            tests,
        )
        for (a, b), (measured, unpaired) in zip(pairs, found, strict=True)
    ]


def _judged(
    a: Results, b: Results, key: str, mean_a: float, mean_b: float, result: Paired, p: float, tests: int
) -> Line:
    is_within = abs(result.mean) <= a.metrics[key].value.rounding
    needed = None if is_within or result.videos < 2 else videos_needed(result.effect, tests)
    return Line(key, mean_a, mean_b, result, p, verdict(a, b, key, result, p), needed)


def _measured(
    a: Results, b: Results, shared: Sequence[str], seed: int
) -> tuple[list[tuple[str, float, float, Paired]], dict[str, list[str]]]:
    """Each metric with both means and the paired differences, and what was left out by metric."""
    pairs, alone = pair_rows(a.rows, b.rows)
    if not pairs:
        raise InputError(
            f"{a.name} and {b.name} have no video in common.",
            f"Pairs have the same video_id and edit_id. {a.name} has"
            f" {few([row.label for row in a.rows], 3)}; {b.name} has"
            f" {few([row.label for row in b.rows], 3)}.",
        )
    unpaired = {"": alone} if alone else {}
    found: list[tuple[str, float, float, Paired]] = []
    for key in shared:
        x, y, videos, left = paired_values(pairs, key)
        if left:
            unpaired[key] = left
        if x:
            fact = a.metrics[key].value
            result = paired(
                x, y, higher_is_better=fact.higher_is_better, seed=seed, videos=videos, rounding=fact.rounding
            )
            found.append((key, sum(x) / len(x), sum(y) / len(y), result))
    if not found:
        raise InputError(
            f"{a.name} and {b.name} have no number in common.",
            f"No video has one in both reports for {', '.join(shared)}.",
        )
    return found, unpaired


def check_alike(reports: Sequence[Results], force: bool, keys: Sequence[str] | None = None) -> list[str]:
    """What was computed differently in the reports, in words; raises UsageError for it unless forced.

    keys: the metrics that matter; those of two reports or more by default. Compared are the profile,
    the options that a metric's numbers depend on, its version, and the weights of its networks; what a
    report does not hold (a CSV) is not known.
    """
    found = [
        f"the profile is {value}"
        for value in _differing(
            [(report.name, report.profile) for report in reports if report.profile != "unknown"]
        )
    ]
    told: dict[str, list[str]] = {}
    for key in keys if keys is not None else dict.fromkeys(key for report in reports for key in report.keys):
        having = [report for report in reports if key in report.metrics and report.profile != "unknown"]
        for what, values in _making_of(key, having).items():
            for value in _differing(values):
                told.setdefault(f"{what} is {value}", []).append(key)
    found += [f"{what} ({few(of, 4)})" for what, of in told.items()]
    if found and not force:
        raise UsageError(
            f"the reports were not computed alike: {'; '.join(found)}.",
            "Their numbers differ for that reason too.",
            f"Score again in one way, or go on all the same with {option('force')}",
        )
    return found


def _making_of(key: str, reports: Sequence[Results]) -> dict[str, list[tuple[str, Any]]]:
    """How each report made a metric's numbers: by what it is called, the report's name and its value."""
    found: dict[str, list[tuple[str, Any]]] = {}
    for report in reports:
        fact = report.metrics[key]
        found.setdefault("its version", []).append((report.name, fact.version))
        if not report.options:
            continue
        for name in options_of(fact.metric):
            value = (
                report.options.get("flow") or flow_of(report.profile)
                if name == "flow"
                else report.options.get(name)
            )
            found.setdefault(option(name), []).append((report.name, value))
        networks = dict.fromkeys(
            name
            for row in report.rows
            if key in row.numbers
            for name in row.numbers[key].provenance.get("weights", ())
        )
        if networks:
            found.setdefault(option("dtype"), []).append((report.name, report.options.get("dtype")))
        for name in networks:
            facts = report.provenance.get("weights", {}).get(name)
            if isinstance(facts, Mapping) and facts.get("sha256"):
                found.setdefault(f"the hash of {name}", []).append((report.name, str(facts["sha256"])[:12]))
    return found


def _differing(values: Sequence[tuple[str, Any]]) -> list[str]:
    """ "a in one, b in the other" where the values differ, else nothing."""
    if len({str(value) for _, value in values}) < 2:
        return []
    return [", ".join(f"{value} in {name}" for name, value in values)]


def pair_rows(a: Sequence[Row], b: Sequence[Row]) -> tuple[list[tuple[Row, Row]], list[str]]:
    """Rows of the same video and edit, in the order of their names, and the names of the others."""
    of_a, of_b = {row.id: row for row in a}, {row.id: row for row in b}
    both = sorted(of_a.keys() & of_b.keys())
    alone = sorted(of_a.keys() ^ of_b.keys())
    return [(of_a[name], of_b[name]) for name in both], [
        (of_a.get(name) or of_b[name]).label for name in alone
    ]


def paired_values(
    pairs: Sequence[tuple[Row, Row]], key: str
) -> tuple[list[float], list[float], list[str], list[str]]:
    """The values of a metric on edits where both have one, the videos they are of, and the names of those
    left out.
    """
    x, y, videos, left = [], [], [], []
    for (row_a, row_b), video in zip(pairs, videos_of([row for row, _ in pairs]), strict=True):
        number_a, number_b = row_a.counted(key), row_b.counted(key)
        if (
            number_a is not None
            and number_b is not None
            and math.isfinite(number_a.value)
            and math.isfinite(number_b.value)
        ):
            x.append(number_a.value)
            y.append(number_b.value)
            videos.append(video)
        elif not (row_a.damage or row_b.damage):  # those are named once, for all metrics
            left.append(row_a.label)
    return x, y, videos, left


def verdict(a: Results, b: Results, key: str, result: Paired, holm_p: float) -> str:
    fact = a.metrics[key].value
    if not excludes_zero(result.interval) or holm_p >= LEVEL or abs(result.mean) <= fact.rounding:
        return NOTHING_SHOWN
    return a.name if (result.mean > 0) == fact.higher_is_better else b.name


def comparison_table(found: Comparison, *, verdict_first: bool = False) -> Table:
    """The comparison as a table; the first column carries the metric's direction.

    verdict_first: the verdict behind the metric, where a narrow page still shows it, instead of at the end.
    """
    a, b = found.a, found.b
    head = [
        "metric",
        a.name,
        b.name,
        f"{a.name} − {b.name}",
        "95% interval",
        "n",
        "wins/losses/ties",
        "sign p",
        "Wilcoxon p",
        "Holm p",
        "effect",
        "videos needed",
        "verdict",
    ]
    rows = []
    for line in found.lines:
        result, is_shown = line.paired, line.verdict != NOTHING_SHOWN
        rows.append(
            (
                Cell(f"{line.key} {a.metrics[line.key].arrow}"),
                Cell(figure(line.mean_a), is_best=is_shown and line.verdict == a.name),
                Cell(figure(line.mean_b), is_best=is_shown and line.verdict == b.name),
                Cell(figure(result.mean, sign=True)),
                Cell(interval_text(result.interval, sign=True)),
                Cell(str(result.n) if result.n == result.videos else f"{result.n} of {result.videos} videos"),
                Cell(f"{result.wins}/{result.losses}/{result.ties}"),
                Cell(f"{result.sign_p:.4f}"),
                Cell(f"{result.wilcoxon_p:.4f}"),
                Cell(f"{line.holm_p:.4f}"),
                *effect_cells(line),
                Cell(line.verdict, is_best=is_shown),
            )
        )
    if verdict_first:
        head.insert(1, head.pop())
        rows = [(row[0], row[-1], *row[1:-1]) for row in rows]
    return Table(
        f"{a.name} against {b.name}",
        tuple(head),
        tuple(rows),
        left=2 if verdict_first else 1,
        notes=tuple(comparison_notes(found)),
    )


def effect_cells(line: Line) -> tuple[Cell, Cell]:
    """The effect size, and the videos that a verdict would need."""
    effect = line.paired.effect
    needed = "" if line.needed is None else str(line.needed) if line.needed <= MANY else f"over {MANY}"
    return Cell("" if effect is None else f"{effect:+.2f}"), Cell(needed)


def comparison_notes(found: Comparison, first: str | None = None) -> list[str]:
    """What a reader of a comparison must know. first: what the method is called whose wins are counted."""
    notes = (
        [f"Not computed alike, compared by {option('force')}: {'; '.join(found.forced)}."]
        if found.forced
        else []
    )
    notes += [*damage_notes(found.a), *damage_notes(found.b), *source_notes(found.a)]
    notes += other_weights_notes([found.a, found.b])
    if unknown := [report.name for report in (found.a, found.b) if report.profile == "unknown"]:
        notes.append(
            f"How {' and '.join(unknown)} came about is not known: a CSV holds no options, versions or"
            " weights."
        )
    notes += [
        f"Wins are videos on which {first or found.a.name} is better; ↑ higher is better, ↓ lower is better.",
        (
            "A verdict needs a 95% interval of the mean difference without 0 and a Holm-corrected Wilcoxon p"
            " below 0.05."
        ),
        (
            "Effect is the mean difference in units of the videos' deviation; videos needed: with so many a"
            f" difference of this size gets a verdict in {POWER:.0%} of suites, at {LEVEL} / {found.tests}."
        ),
    ]
    if any(line.paired.n != line.paired.videos for line in found.lines):
        notes.append(
            "Edits of one video are not independent: intervals resample videos with all their edits, and the"
            " tests take each video's mean difference."
        )
    if any(line.paired.videos < LEAST for line in found.lines):
        notes.append(f"Fewer than {LEAST} videos carry no interval, and so no verdict.")
    largest = max((line.paired.videos for line in found.lines), default=0)
    if largest >= LEAST and found.tests * 2 / 2**largest >= LEVEL:
        many = f"{found.tests} {'metrics' if found.tests == len(found.lines) else 'tests'}"
        notes.append(
            f"{largest} videos are too few for {many}: the corrected p cannot fall below"
            f" {LEVEL}. Show fewer with {option('metrics')}, or score more videos."
        )
    if alone := found.unpaired.get(""):
        notes.append(f"In one report only, left out: {few(alone)}.")
    within = [
        line.key
        for line in found.lines
        if excludes_zero(line.paired.interval)
        and abs(line.paired.mean) <= found.a.metrics[line.key].value.rounding
    ]
    if within:
        notes.append(f"Within the metric's own rounding, not judged: {', '.join(within)}.")
    notes += [
        f"{key}: without a number in one of the two, left out: {few(names)}."
        for key, names in found.unpaired.items()
        if key
    ]
    sizes = {
        report.name: {
            (row.facts.get("width"), row.facts.get("height")) for row in report.rows if "width" in row.facts
        }
        for report in (found.a, found.b)
    }
    of_a, of_b = (sizes[report.name] for report in (found.a, found.b))
    if of_a and of_b and of_a != of_b:
        notes.append(
            "The two were scored at different sizes; motion_alignment and warp_error can be compared at equal"
            " sizes only."
        )
    return notes


def damage_notes(results: Results) -> list[str]:
    """The clips of a report that were damaged and are left out, in a sentence; none for most reports."""
    labels = [row.label for row in results.rows if row.damage]
    return [f"Damaged and left out of {results.name}: {few(labels)}."] if labels else []


def source_notes(results: Results) -> list[str]:
    """Videos that have one source file, in a sentence: they are not independent, whatever they are called."""
    of: dict[str, set[str]] = {}
    for row in results.rows:
        if row.facts.get("source"):
            of.setdefault(str(row.facts["source"]), set()).add(row.video_id)
    shared = {source: names for source, names in of.items() if len(names) > 1}
    return [
        f"{results.name}: {few(sorted(names))} are edits of one source, {source}, but count as videos of"
        " their own."
        for source, names in shared.items()
    ]


def few(names: Sequence[str], most: int = 10) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def interval_text(interval: tuple[float, float] | None, *, sign: bool = False) -> str:
    return (
        "n too small"
        if interval is None
        else f"[{figure(interval[0], sign=sign)}, {figure(interval[1], sign=sign)}]"
    )


def comparison_json(found: Comparison) -> dict[str, Any]:
    return {"schema": 1, **pair_json(found)}


def pair_json(found: Comparison) -> dict[str, Any]:
    return {
        "a": found.a.name,
        "b": found.b.name,
        "profile": (
            found.a.profile if found.a.profile == found.b.profile else [found.a.profile, found.b.profile]
        ),
        "unpaired": found.unpaired,
        "metrics": {
            line.key: {
                "mean_a": line.mean_a,
                "mean_b": line.mean_b,
                **line.paired._asdict(),
                "holm_p": line.holm_p,
                "videos_needed": line.needed,
                "verdict": line.verdict,
            }
            for line in found.lines
        },
    }
