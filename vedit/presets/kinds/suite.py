"""Presets of kind "suite": clips, runs, scores, tables and comparisons of `vedit suite`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vedit.errors import nearest

CLIP_KEYS = ("cases", "count", "names", "frames", "stride", "start", "size", "model")
RUN_KEYS = ("label", "method", "preset", "prompt", "factor", "set")
PROMPTS = ("full", "short", "rewritten")
LISTS = {
    "run": RUN_KEYS,
    "group": ("name", "columns"),
    "table": ("id", "runs", "videos", "groups"),
    "compare": ("runs",),
}
REWRITE_KEYS = (
    "llm", "base_url", "llm_model", "key_env", "timeout", "revision", "dtype", "lexicon", "max_distance",
    "forbid", "strict", "preset",
)  # fmt: skip
TABLES = {"clips": CLIP_KEYS, "score": ("profile", "metrics"), "rewrite": REWRITE_KEYS}


def mistakes(table: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the keys, and what refers to a run or a group that there is not."""
    for key, value in table.items():
        if key in TABLES:
            yield from _keys(key, value, TABLES[key])
        elif key in LISTS:
            for place, entry in enumerate(value if isinstance(value, list) else [value], 1):
                yield from _keys(f"{key} {place}", entry, LISTS[key])
        elif key not in ("kind", "summary"):
            known = (*TABLES, *LISTS)
            yield f"top level: no key {key!r}{nearest(key, known) or '.'} There are {', '.join(known)}."
    yield from _references(table)


def _keys(where: str, value: Any, known: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{where}: it is not a table."
        return
    for key in value:
        if key not in known:
            yield f"{where}: no key {key!r}{nearest(key, known) or '.'} There are {', '.join(known)}."


def _references(table: Mapping[str, Any]) -> Iterator[str]:
    runs = [run for run in _entries(table, "run")]
    labels = [run.get("label") for run in runs]
    if not runs:
        yield "top level: there is no [[run]]."
    for place, run in enumerate(runs, 1):
        if not isinstance(run.get("label"), str) or not isinstance(run.get("method"), str):
            yield f"run {place}: it has no label or no method."
        elif not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,60}", run["label"], re.ASCII):  # it names a folder
            yield f"run {place}: label {run['label']!r} is not a word of letters, digits, dots and dashes."
        if run.get("prompt", "full") not in PROMPTS:
            yield f"run {place}: prompt = {run['prompt']!r} is none of {', '.join(PROMPTS)}."
    yield from (f"run: two have the label {label!r}." for label in set(labels) if labels.count(label) > 1)
    groups = [group.get("name") for group in _entries(table, "group")]
    for kind in ("table", "compare"):
        for place, entry in enumerate(_entries(table, kind), 1):
            for label in (*entry.get("runs", ()), *entry.get("videos", ())):
                if label not in labels:
                    yield f"{kind} {place}: there is no run {label!r}{nearest(str(label), map(str, labels))}"
            for name in entry.get("groups", ()):
                if groups and name not in groups:
                    yield f"{kind} {place}: there is no group {name!r}{nearest(str(name), map(str, groups))}"


def _entries(table: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = table.get(key, [])
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []
