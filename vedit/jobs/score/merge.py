"""Reports of parts of one suite as one: other videos, other metrics, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from vedit.errors import UsageError, option
from vedit.jobs.score.compare import check_alike
from vedit.jobs.score.metrics import options_of, ordered
from vedit.jobs.score.results import Number, Results, Row


def merge(reports: Sequence[Results], name: str | None = None, *, force: bool = False) -> Results:
    """One report of all videos and metrics, rows by name.

    A video may be in several reports when each number is in one of them only, or is the same in all. name:
    of the method, needed where the reports have several. Raises UsageError for two values of one number, for
    reports of other names, and for what was computed differently unless forced.
    """
    names = list(dict.fromkeys(report.name for report in reports))
    if name is None and len(names) > 1:
        raise UsageError(
            f"the reports are of several methods: {', '.join(names)}.",
            "A report is of one method.",
            f"Compare them with: vedit score compare, or name the whole with {option('name', 'NAME')}",
        )
    differing = check_alike(reports, force)
    differing += _other_weights(reports, force)
    facts = {key: fact for report in reports for key, fact in report.metrics.items()}
    provenance = _provenance(reports)
    if differing:
        provenance["not_alike"] = differing
    of_baselines = dict.fromkeys(kind for report in reports for kind in report.baselines)
    return Results(
        name or names[0],
        _profile(reports),
        _rows([row for report in reports for row in report.rows]),
        {key: facts[key] for key in ordered(facts)},
        _options(reports, force),
        provenance,
        {
            kind: _rows([r for report in reports for r in report.baselines.get(kind, ())])
            for kind in of_baselines
        },
        reports[0].seed,
    )


def by_seed(reports: Sequence[Results]) -> list[Results]:
    """The reports with each edit under its own and its seed's name, `0@7`, so that one video's edits under
    several seeds are edits of that video, not videos. Raises UsageError for a row without a seed.
    """
    return [replace(report, rows=tuple(_seeded(report, row) for row in report.rows)) for report in reports]


def _seeded(report: Results, row: Row) -> Row:
    seed = (row.facts.get("run") or {}).get("seed")
    if seed is None:
        raise UsageError(
            f"{report.name}: {row.label}: its run record has no seed.",
            "Edits are told apart by the seeds of their run records, the *.vedit.json beside the clips.",
        )
    return replace(row, edit_id=f"{row.edit_id}@{seed}")


def _other_weights(reports: Sequence[Results], force: bool) -> list[str]:
    """Networks whose files differ between reports that use them for other metrics; `check_alike` has told of
    those that made the same metric. Raises UsageError unless forced.
    """
    seen: dict[str, set[str]] = {}
    for report in reports:
        for name, facts in report.provenance.get("weights", {}).items():
            if isinstance(facts, Mapping) and facts.get("sha256"):
                seen.setdefault(name, set()).add(str(facts["sha256"])[:12])
    found = [f"the hash of {name} is {' or '.join(sorted(of))}" for name, of in seen.items() if len(of) > 1]
    if found and not force:
        raise UsageError(
            f"the reports were not computed alike: {'; '.join(found)}.",
            "A report names one file of each network.",
            f"Score again in one way, or go on all the same with {option('force')}",
        )
    return found


def _profile(reports: Sequence[Results]) -> str:
    """The one profile of all; where it is not known of a part, or differs, it is not known of the whole."""
    found = {report.profile for report in reports}
    return found.pop() if len(found) == 1 else "unknown"


def _rows(rows: Sequence[Row]) -> tuple[Row, ...]:
    whole: dict[tuple[str, str], Row] = {}
    for row in rows:
        whole[row.id] = _joined(whole[row.id], row) if row.id in whole else row
    return tuple(whole[name] for name in sorted(whole))


def _joined(one: Row, other: Row) -> Row:
    """Two rows of one edit. What failed or was skipped in one has its number from the other."""
    for key in one.numbers.keys() & other.numbers.keys():
        if not _same(one.numbers[key], other.numbers[key]):
            raise UsageError(
                f"{one.label}: {key} is {one.numbers[key].value:g} in one report and"
                f" {other.numbers[key].value:g} in another.",
                "A merged report has each number once.",
                "Leave one out, or compare them with: vedit score compare",
            )
    numbers = {**one.numbers, **other.numbers}

    def left(reasons: Mapping[str, str]) -> dict[str, str]:
        return {key: why for key, why in reasons.items() if key not in numbers}

    return replace(
        one,
        numbers=numbers,
        skipped=left({**one.skipped, **other.skipped}),
        failed=left({**one.failed, **other.failed}),
        flags=tuple(dict.fromkeys((*one.flags, *other.flags))),
        facts={**other.facts, **one.facts},
    )


def _same(one: Number, other: Number) -> bool:
    return one.value == other.value or not (one.is_finite or other.is_finite)


def _options(reports: Sequence[Results], force: bool) -> dict[str, Any]:
    """Each option from the reports whose numbers depend on it.

    Raises UsageError where two such reports have other values, for one report has one value of each option.
    """
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for report in reports for name in report.options):
        having = [report for report in reports if name in report.options]
        depending = [report for report in having if _depends(report, name)]
        values = [report.options[name] for report in depending or having]
        if depending and any(value != values[0] for value in values) and not force:
            raise UsageError(
                f"{option(name)} has several values: {', '.join(dict.fromkeys(map(str, values)))}.",
                "Numbers of the reports depend on it, and a report has one value of it.",
                f"Score again in one way, or go on all the same with {option('force')}",
            )
        found[name] = values[0]
    return found


def _depends(report: Results, name: str) -> bool:
    return any(name in options_of(fact.metric) for fact in report.metrics.values())


def _provenance(reports: Sequence[Results]) -> dict[str, Any]:
    """That of the first report, with the weights of all, and the others' in full behind `merged`."""
    weights = {
        name: facts for report in reports for name, facts in report.provenance.get("weights", {}).items()
    }
    return {
        **reports[0].provenance,
        **({"weights": weights} if weights else {}),
        "merged": [
            {"name": report.name, "edits": len(report.rows), "provenance": dict(report.provenance)}
            for report in reports
        ],
    }
