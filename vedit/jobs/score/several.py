"""More than two reports against each other: ranks over the videos that all have, and every pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from vedit.errors import InputError
from vedit.jobs.score.compare import (
    NOTHING_SHOWN,
    Comparison,
    check_alike,
    compare_pairs,
    comparison_notes,
    effect_cells,
    interval_text,
    pair_json,
)
from vedit.jobs.score.metrics import among
from vedit.jobs.score.render import Cell, Table, figure
from vedit.jobs.score.results import Results
from vedit.jobs.score.statistics import friedman, mean_ranks
from vedit.jobs.score.weights import other_weights_notes

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Ranked:
    """One metric over the videos that all methods have a number of, by method in the order of the reports.

    ranks: mean rank on a video, 1 is best. friedman_p: of the test that all methods are alike. Both are
    empty, or None, where no video is in all reports; videos: how many are.
    """

    key: str
    means: tuple[float, ...]
    ranks: tuple[float, ...]
    friedman_p: float | None
    videos: int


@dataclass(frozen=True)
class Several:
    """Three reports or more. left_out: metrics that not all of them hold."""

    reports: tuple[Results, ...]
    ranked: tuple[Ranked, ...]
    pairs: tuple[Comparison, ...]
    left_out: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        return [report.name for report in self.reports]

    def verdict(self, key: str, a: str, b: str) -> str:
        """The verdict between two methods, in whichever order they were compared."""
        return next(
            (
                line.verdict
                for pair in self.pairs
                if {pair.a.name, pair.b.name} == {a, b}
                for line in pair.lines
                if line.key == key
            ),
            NOTHING_SHOWN,
        )


def compare_several(
    reports: Sequence[Results], metrics: str | None = None, *, force: bool = False, seed: int = 0
) -> Several:
    """Compare every pair of reports, and rank all. Reports have names of their own.

    metrics: a list as `among` reads it; those that all reports hold by default. Holm's correction is over
    all pairs and metrics. Raises UsageError and InputError as `compare` does.
    """
    shared = [key for key in reports[0].keys if all(key in report.metrics for report in reports)]
    rest = dict.fromkeys(key for report in reports for key in report.keys if key not in shared)
    if metrics:
        shared, rest = among(metrics, shared, "the reports have not all this metric"), {}
    if not shared:
        raise InputError(
            "the reports have no metric in common.",
            "; ".join(f"{report.name} has {', '.join(report.keys) or 'none'}" for report in reports) + ".",
        )
    forced = check_alike(reports, force, shared)
    pairs = compare_pairs(list(combinations(reports, 2)), shared, forced, seed)
    return Several(tuple(reports), tuple(_ranked(reports, key) for key in shared), tuple(pairs), tuple(rest))


def _ranked(reports: Sequence[Results], key: str) -> Ranked:
    values_VM = values_of_all(reports, key)
    if not len(values_VM):
        return Ranked(key, (), (), None, 0)
    higher = reports[0].metrics[key].value.higher_is_better
    means = tuple(float(mean) for mean in values_VM.mean(axis=0))
    ranks = tuple(mean_ranks(values_VM, higher))
    return Ranked(key, means, ranks, friedman(values_VM), len(values_VM))


def values_of_all(reports: Sequence[Results], key: str) -> np.ndarray:
    """A metric by video (rows) and method (columns), where all methods have it; a video's value is the mean
    of its edits.
    """
    import numpy as np

    by_id = [{row.id: row.counted(key) for row in report.rows} for report in reports]
    of_video: dict[str, list[list[float]]] = {}
    for name in sorted(set.intersection(*(set(numbers) for numbers in by_id))):
        found = [numbers[name] for numbers in by_id]
        values = [number.value for number in found if number is not None and math.isfinite(number.value)]
        if len(values) == len(reports):
            of_video.setdefault(name[0], []).append(values)
    return np.array([np.mean(edits, axis=0) for edits in of_video.values()], dtype=float)


def several_tables(found: Several) -> list[Table]:
    """Means and ranks by metric, and a line per metric and pair."""
    return [_ranks_table(found), _pairs_table(found)]


def _ranks_table(found: Several) -> Table:
    rows = []
    for ranked in found.ranked:
        fact = found.reports[0].metrics[ranked.key]
        p = "" if ranked.friedman_p is None else f"{ranked.friedman_p:.4f}"
        ranks = [f"{rank:.2f}" for rank in ranked.ranks] or [""] * len(found.reports)
        rows.append(
            (
                Cell(f"{ranked.key} {fact.arrow}"),
                *_mean_cells(found, ranked, fact.value.higher_is_better),
                *map(Cell, ranks),
                Cell(str(ranked.videos)),
                Cell(p),
            )
        )
    notes = [
        "Means and ranks are over the videos that all methods have; rank 1 is best. Friedman p: of the test"
        " that all methods are alike, not corrected.",
        "Bold: better than every other method by the verdicts below. Underlined: best mean alone.",
    ]
    notes += other_weights_notes(found.reports)
    if found.left_out:
        notes.append(f"Not in every report, left out: {', '.join(found.left_out)}.")
    names = found.names
    head = ("metric", *names, *(f"rank {name}" for name in names), "videos", "Friedman p")
    return Table(f"{', '.join(names[:-1])} and {names[-1]}", head, tuple(rows), notes=tuple(notes))


def _mean_cells(found: Several, ranked: Ranked, higher: bool) -> list[Cell]:
    if not ranked.means:
        return [Cell("–") for _ in found.reports]
    best = max(ranked.means) if higher else min(ranked.means)
    is_alone = ranked.means.count(best) == 1
    marked = []
    for name, mean in zip(found.names, ranked.means, strict=True):
        others = [other for other in found.names if other != name]
        beats_all = all(found.verdict(ranked.key, name, other) == name for other in others)
        is_first = mean == best and is_alone and not beats_all
        marked.append(Cell(figure(mean), is_best=beats_all, is_first=is_first))
    return marked


def _pairs_table(found: Several) -> Table:
    head = (
        "metric", "A", "B", "A − B", "95% interval", "n", "wins/losses/ties", "Wilcoxon p", "Holm p",
        "effect", "videos needed", "verdict",
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    rules = []
    for ranked in found.ranked:
        if rows:
            rules.append(len(rows))
        rows += [row for pair in found.pairs if (row := _pair_row(pair, ranked.key))]
    notes = dict.fromkeys(note for pair in found.pairs for note in comparison_notes(pair, "A"))
    return Table("Pairs", head, tuple(rows), left=3, rules=tuple(rules), notes=tuple(notes))


def _pair_row(pair: Comparison, key: str) -> tuple[Cell, ...]:
    """A metric of a pair, nothing where the two have no number of it in common."""
    for line in pair.lines:
        if line.key == key:
            result = line.paired
            return (
                Cell(f"{key} {pair.a.metrics[key].arrow}"),
                Cell(pair.a.name, is_best=line.verdict == pair.a.name),
                Cell(pair.b.name, is_best=line.verdict == pair.b.name),
                Cell(figure(result.mean, sign=True)),
                Cell(interval_text(result.interval, sign=True)),
                Cell(str(result.n) if result.n == result.videos else f"{result.n} of {result.videos} videos"),
                Cell(f"{result.wins}/{result.losses}/{result.ties}"),
                Cell(f"{result.wilcoxon_p:.4f}"),
                Cell(f"{line.holm_p:.4f}"),
                *effect_cells(line),
                Cell(line.verdict),
            )
    return ()


def several_json(found: Several) -> dict[str, Any]:
    return {
        "schema": 1,
        "methods": found.names,
        "tests": found.pairs[0].tests,
        "left_out": list(found.left_out),
        "ranks": {
            ranked.key: {
                "means": dict(zip(found.names, ranked.means, strict=False)),
                "ranks": dict(zip(found.names, ranked.ranks, strict=False)),
                "friedman_p": ranked.friedman_p,
                "videos": ranked.videos,
            }
            for ranked in found.ranked
        },
        "pairs": [pair_json(pair) for pair in found.pairs],
    }
