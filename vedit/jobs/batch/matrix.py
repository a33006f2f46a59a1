"""Rows out of lists: every combination of clips, methods and axes, or one after the other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vedit.errors import UsageError, nearest, option

Pair = Literal["product", "zip"]
PARTS = ("pair", "defaults", "job", "clip", "method", "axis", "exclude")
AXIS_KEYS = ("key", "values", "name", "labels", "only")


@dataclass(frozen=True)
class Axis:
    """A key that takes several values. name: in outputs, "" for none. labels: the values there.
    only: rows that it is for, by their keys.
    """

    key: str
    values: tuple[Any, ...]
    name: str = ""
    labels: tuple[str, ...] = ()
    only: tuple[tuple[str, Any], ...] = ()

    def is_for(self, row: Mapping[str, Any]) -> bool:
        return all(row.get(key) == value for key, value in self.only)

    def choices(self) -> Iterator[tuple[Any, str]]:
        """Each value with its label."""
        labels = self.labels or tuple(map(str, self.values))
        return zip(self.values, labels)


AXES = "\0axes"  # of a raw row: labels by the name of an axis, beside what users can write


def crossed(rows: Sequence[Mapping[str, Any]], axes: Sequence[Axis], pair: Pair) -> list[dict[str, Any]]:
    """Each row with every combination of the axes that are for it, or with their values in step.

    Raises UsageError for lengths that differ where they go in step.
    """
    return [made for row in rows for made in _of_row(row, [axis for axis in axes if axis.is_for(row)], pair)]


def _of_row(row: Mapping[str, Any], axes: list[Axis], pair: Pair) -> Iterator[dict[str, Any]]:
    if not axes:
        yield dict(row)
        return
    if pair == "zip" and len({len(axis.values) for axis in axes}) > 1:
        told = ", ".join(f"{axis.key} {len(axis.values)}" for axis in axes)
        raise UsageError(
            f"values that go in step differ in number: {told}.", "", "Or take every pair: product"
        )
    combine = itertools.product if pair == "product" else zip
    for values in combine(*(list(axis.choices()) for axis in axes)):
        named = {axis.name or axis.key: label for axis, (_, label) in zip(axes, values)}
        yield {
            **row,
            **{axis.key: value for axis, (value, _) in zip(axes, values)},
            AXES: {**row.get(AXES, {}), **named},
        }


def over(text: str) -> Axis:
    """The axis of `--over KEY=V1,V2`; a value that holds a comma is put in quotes. Raises UsageError."""
    import csv

    key, equals, values = text.partition("=")
    if not equals or not key or not values:
        right = f"Write it as {option('over', 'seed=0,1')}"
        raise UsageError(f"{option('over', text)} has no values.", "", right)
    cells = next(csv.reader([values], skipinitialspace=True))
    return Axis(key.strip(), tuple(cell.strip() for cell in cells))


def matrix_rows(table: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    """The raw rows of a TOML manifest: [[job]] rows as they stand, then clips x methods x axes.

    Raises UsageError with every key that is wrong.
    """
    wrong = [f"no key {key!r}{nearest(key, PARTS) or '.'}" for key in table if key not in PARTS]
    for name in ("job", "clip", "method", "axis", "exclude"):
        listed = table.get(name, [])
        if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
            wrong.append(f"{name} is not a list of [[{name}]] tables.")
    for number, clip in enumerate(table.get("clip", []), 1):
        if isinstance(clip, dict) and clip.get("prompt") == []:
            wrong.append(f"[[clip]] {number}: prompt is a list without a prompt.")
    if table.get("pair", "product") not in ("product", "zip"):
        wrong.append(f"pair = {table['pair']!r} is not product or zip.")
    if not isinstance(table.get("defaults", {}), dict):
        wrong.append("defaults is not a table.")
    _refuse(path, wrong)
    axes = [
        _axis(given, f"{path}: [[axis]] {number}") for number, given in enumerate(table.get("axis", []), 1)
    ]
    rows = [dict(job) for job in table.get("job", [])]
    rows += crossed(list(_pairs(table)), axes, table.get("pair", "product"))
    kept = [row for row in rows if not any(_matches(row, out) for out in table.get("exclude", []))]
    return [{**_flat(table.get("defaults", {})), **_flat(row)} for row in kept]


def _pairs(table: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each clip with each of its prompts and each method."""
    methods = [_method(given) for given in table.get("method", [])] or [{}]
    for clip in table.get("clip", []):
        prompts = clip.get("prompt")
        for prompt in prompts if isinstance(prompts, list) else [prompts]:
            for method in methods:
                yield {**clip, **({} if prompt is None else {"prompt": prompt}), **method}


def _method(given: Mapping[str, Any]) -> dict[str, Any]:
    return {("method" if key == "name" else key): value for key, value in given.items()}


def _axis(given: Mapping[str, Any], where: str) -> Axis:
    wrong = [f"no key {key!r}{nearest(key, AXIS_KEYS) or '.'}" for key in given if key not in AXIS_KEYS]
    values, labels, only = given.get("values"), given.get("labels", []), given.get("only", {})
    if not isinstance(given.get("key"), str):
        wrong.append("key is missing: what takes the values.")
    if not isinstance(values, list) or not values:
        wrong.append("values is not a list of values.")
    elif not isinstance(labels, list) or (labels and len(labels) != len(values)):
        wrong.append(f"labels are not as many as the {len(values)} values.")
    if not isinstance(only, dict):
        wrong.append('only is not a table such as { method = "p2p" }.')
    _refuse(where, wrong)
    return Axis(
        given["key"],
        tuple(given["values"]),
        str(given.get("name", "")),
        tuple(map(str, labels)),
        tuple(only.items()),
    )


def _matches(row: Mapping[str, Any], out: Mapping[str, Any]) -> bool:
    return bool(out) and all(row.get(key) == value for key, value in out.items())


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose table `set` is spelt `set.KEY`, so that defaults and axes meet it key by key."""
    flat = {key: value for key, value in row.items() if key != "set"}
    settings = row.get("set", {})
    if not isinstance(settings, dict):
        return dict(row)
    return {**{f"set.{key}": value for key, value in settings.items()}, **flat}


def _refuse(where: str, wrong: list[str]) -> None:
    from vedit.errors import refuse_mistakes

    refuse_mistakes(where, wrong)
