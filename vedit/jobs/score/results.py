"""What scoring gives: numbers per video with where they came from, and their file, JSON of schema 1.

    {"schema": 1, "name": ..., "profile": ..., "options": {...}, "metrics": {key: facts},
     "videos": [{"video_id", "edit_id", "values": {key: {"value", "per_frame", "extra", "provenance"}},
                 "skipped": {metric: why}, "failed": {metric: why}, "flags": [...], ...}],
     "baselines": {"identity": [...]}, "summary": {key: {...}}, "provenance": {...}}

A number that is not finite is null. `summary` is recomputed when a file is read.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, NotRequired

from annotated_types import Ge
from typing_extensions import TypedDict

from vedit.documents import Kind, cell, parse_json, read_text, table, uncell, validated
from vedit.errors import InputError
from vedit.jobs.score.metrics import Fact, catalogue, ordered
from vedit.jobs.score.statistics import Summary, summarise
from vedit.metrics.base import Value

SCHEMA = 1
REPORT = Kind(
    "a report of vedit score",
    right="It is the JSON that vedit score writes, or CSV with the columns video_id, edit_id and metrics.",
    next_step="Make one with: vedit score EDITED --json REPORT.json",
    largest=2**27,
    names_files=True,
)


EXTRA = {"extra": "allow"}  # further keys pass


class _Number(TypedDict):
    value: float | None
    per_frame: NotRequired[list[float | None]]
    extra: NotRequired[dict[str, Any]]
    provenance: NotRequired[dict[str, Any]]


class _Row(TypedDict):
    """A video; what it holds besides is kept as facts."""

    __pydantic_config__ = EXTRA  # type: ignore[misc]  # read by pydantic, and no key
    video_id: str
    edit_id: str
    values: dict[str, _Number]
    skipped: NotRequired[dict[str, str]]
    failed: NotRequired[dict[str, str]]
    flags: NotRequired[list[str]]
    width: NotRequired[int | None]
    height: NotRequired[int | None]


class _Fact(TypedDict):
    __pydantic_config__ = EXTRA  # type: ignore[misc]
    unit: str
    higher_is_better: bool
    usual: str
    explanation: str
    aliases: NotRequired[list[str]]
    metric: str
    version: int


class _Report(TypedDict):
    name: str
    profile: str
    seed: Annotated[int, Ge(0)]
    options: dict[str, Any]
    metrics: dict[str, _Fact]
    videos: list[_Row]
    baselines: dict[str, list[_Row]]
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Number:
    """One metric of one video; see `vedit.metrics.base.Score`."""

    value: float
    per_frame: tuple[float, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.value)


@dataclass(frozen=True)
class Row:
    """One edited video. skipped, failed: reasons by metric. facts: paths, prompts, size, frames, record."""

    video_id: str
    edit_id: str
    numbers: Mapping[str, Number]
    skipped: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> tuple[str, str]:
        return self.video_id, self.edit_id

    @property
    def label(self) -> str:
        return self.video_id if self.edit_id in ("", "0") else f"{self.video_id}/{self.edit_id}"

    @property
    def damage(self) -> str:
        """What was lost when its files were read; "" for a whole clip."""
        return str(self.facts.get("damage") or "")

    def counted(self, key: str) -> Number | None:
        """The number that means and comparisons take: None also for a damaged clip, of which only a part was
        scored.
        """
        return None if self.damage else self.numbers.get(key)


@dataclass(frozen=True)
class Results:
    """A suite, or one video. name: of the method, as tables show it. baselines: rows of reference edits by
    name.
    """

    name: str
    profile: str
    rows: tuple[Row, ...]
    metrics: Mapping[str, Fact]
    options: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    baselines: Mapping[str, tuple[Row, ...]] = field(default_factory=dict)
    seed: int = 0

    @property
    def keys(self) -> list[str]:
        return ordered(self.metrics)

    def values(self, key: str) -> list[float | None]:
        """One value per video; None where there is none, which a mean then counts as failed unless it was
        skipped.
        """
        return values_of(self.rows, key)

    def summary(self, key: str) -> Summary:
        return summary_of(self.rows, key, self.seed)


def summary_of(rows: Sequence[Row], key: str, seed: int) -> Summary:
    """Mean and interval of a metric over videos, each with all its edits."""
    meant = _meant(rows, key)
    return summarise(values_of(rows, key), seed, videos=videos_of(meant))


def values_of(rows: Sequence[Row], key: str) -> list[float | None]:
    """The values of rows on which the metric was meant to be computed, in the order of their names.

    A damaged clip has none; where there is but one clip, it is shown with its damage.
    """
    found = [row.numbers.get(key) if len(rows) == 1 else row.counted(key) for row in _meant(rows, key)]
    return [None if number is None else number.value for number in found]


def _meant(rows: Sequence[Row], key: str) -> list[Row]:
    return [row for row in sorted(rows, key=lambda row: row.id) if key not in row.skipped]


def videos_of(rows: Sequence[Row]) -> list[str]:
    """The video that each row is an edit of."""
    return [row.video_id for row in rows]


def finite(value: Any) -> Any:
    """The value with None for every number that JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if hasattr(value, "tolist"):  # a NumPy scalar or array
        return finite(value.tolist())
    return value


def to_json(results: Results) -> dict[str, Any]:
    """The report as JSON holds it."""
    whole: dict[str, Any] = {
        "schema": SCHEMA,
        "name": results.name,
        "profile": results.profile,
        "seed": results.seed,
        "options": results.options,
        "metrics": {
            key: {
                **asdict(results.metrics[key].value),
                "metric": results.metrics[key].metric,
                "version": results.metrics[key].version,
            }
            for key in results.keys
        },
        "videos": [row_json(row) for row in results.rows],
        "baselines": {name: [row_json(row) for row in rows] for name, rows in results.baselines.items()},
        "summary": {key: summary_json(results.summary(key)) for key in results.keys},
        "provenance": results.provenance,
    }
    cleaned: dict[str, Any] = finite(whole)
    return cleaned


def summary_json(summary: Summary) -> dict[str, Any]:
    return {**summary._asdict(), "note": "n too small for an interval" if summary.interval is None else ""}


def row_json(row: Row) -> dict[str, Any]:
    return {
        "video_id": row.video_id,
        "edit_id": row.edit_id,
        "values": {key: number_json(number) for key, number in row.numbers.items()},
        "skipped": dict(row.skipped),
        "failed": dict(row.failed),
        "flags": list(row.flags),
        **row.facts,
    }


def number_json(number: Number) -> dict[str, Any]:
    return {
        "value": number.value,
        "per_frame": list(number.per_frame),
        "extra": dict(number.extra),
        "provenance": dict(number.provenance),
    }


def number_of(record: Mapping[str, Any]) -> Number:
    """A number out of JSON: null is NaN again."""
    return Number(
        _float(record["value"]),
        tuple(_float(value) for value in record.get("per_frame", ())),
        record.get("extra", {}),
        record.get("provenance", {}),
    )


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


def row_of(record: Mapping[str, Any]) -> Row:
    own = ("video_id", "edit_id", "values", "skipped", "failed", "flags")
    numbers = {key: number_of(number) for key, number in record["values"].items()}
    facts = {key: value for key, value in record.items() if key not in own}
    return Row(
        str(record["video_id"]),
        str(record["edit_id"]),
        numbers,
        record.get("skipped", {}),
        record.get("failed", {}),
        tuple(record.get("flags", ())),
        facts,
    )


def fact_of(key: str, record: Mapping[str, Any]) -> Fact:
    value = Value(
        key,
        record["unit"],
        record["higher_is_better"],
        record["usual"],
        record["explanation"],
        tuple(record.get("aliases", ())),
        record.get("rounding", Value.rounding),
    )
    return Fact(value, record["metric"], record["version"])


def read_results(path: str) -> Results:
    """Read a report: JSON that `vedit score --json` wrote, or CSV with video_id, edit_id and one column per
    metric.

    Raises InputError for anything else.
    """
    text = read_text(path, REPORT)
    try:
        return check_once(
            path, _from_csv(path, text) if path.lower().endswith(".csv") else _from_json(path, text)
        )
    except (KeyError, TypeError, AttributeError, ValueError, csv.Error) as error:
        raise InputError(
            f"{path}: not a report of vedit score: {type(error).__name__}: {error}.",
            REPORT.right,
            f"Make one with: vedit score EDITED --json {os.path.splitext(path)[0]}.json",
        ) from None


def _from_json(path: str, text: str) -> Results:
    found = table(parse_json(text, path, REPORT), path, REPORT)
    if "schema" not in found:
        raise REPORT.refusal(path, "it does not say its schema")
    if found["schema"] != SCHEMA:
        raise InputError(
            f"{path}: its schema is {found.get('schema')!r}.",
            f"This vedit reads schema {SCHEMA}.",
            "Score again with this vedit",
        )
    record = validated(found, _Report, path, REPORT)
    return Results(
        record["name"],
        record["profile"],
        tuple(row_of(row) for row in record["videos"]),
        {key: fact_of(key, fact) for key, fact in record["metrics"].items()},
        record["options"],
        record["provenance"],
        {name: tuple(row_of(row) for row in rows) for name, rows in record["baselines"].items()},
        record["seed"],
    )


def _from_csv(path: str, text: str) -> Results:
    """Numbers alone: facts come from the metrics of this vedit, and the profile is unknown.

    As Excel writes it where commas are decimal, columns may be divided by semicolons.
    """
    known = catalogue()
    has_semicolons = ";" in text.partition("\n")[0] and "," not in text.partition("\n")[0]
    lines = list(csv.DictReader(io.StringIO(text), delimiter=";" if has_semicolons else ","))
    lines = [{str(key).strip(): value for key, value in line.items()} for line in lines if any(line.values())]
    keys = [key for key in (lines[0] if lines else {}) if key not in ("video_id", "edit_id")]
    unknown = [key for key in keys if key not in known]
    if unknown or not keys:
        raise InputError(
            f"{path}: these columns are not metrics: {', '.join(unknown) or 'none at all'}.",
            f"The metrics are: {', '.join(known)}.",
        )
    rows = []
    for line in lines:
        texts = {
            key: line[key].strip().replace(",", ".") if has_semicolons else line[key].strip()
            for key in keys
            if line[key]
        }
        numbers = {key: Number(float(text)) for key, text in texts.items() if text}
        rows.append(
            Row(uncell(line["video_id"].strip()), uncell((line.get("edit_id") or "0").strip()), numbers)
        )
    name = os.path.splitext(os.path.basename(path))[0]
    return Results(name, "unknown", tuple(rows), {key: known[key] for key in keys})


def check_once(path: str, results: Results) -> Results:
    """The report, unless an edit of a video stands in it twice. Raises InputError."""
    seen: set[tuple[str, str]] = set()
    for row in results.rows:
        if row.id in seen:
            raise InputError(
                f"{path}: edit {row.edit_id} of video {row.video_id} stands in it twice.",
                "Each edit counts once; several edits of one video differ in edit_id.",
            )
        seen.add(row.id)
    return results


def to_csv(results: Results) -> str:
    """One line per video, full precision; empty where there is no finite number."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["video_id", "edit_id", *results.keys])
    for row in sorted(results.rows, key=lambda row: row.id):
        writer.writerow(
            [cell(row.video_id), cell(row.edit_id), *(_cell(row.numbers.get(key)) for key in results.keys)]
        )
    return out.getvalue()


def summary_csv(results: Results) -> str:
    """One line: the number of edits, the mean of each metric, then over how many edits each mean is."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["name", "edits", *results.keys, *(f"{key}_n" for key in results.keys)])
    found = [results.summary(key) for key in results.keys]
    means = ["" if summary.mean is None else repr(summary.mean) for summary in found]
    writer.writerow([cell(results.name), len(results.rows), *means, *(summary.n for summary in found)])
    return out.getvalue()


def _cell(number: Number | None) -> str:
    return repr(number.value) if number is not None and number.is_finite else ""
