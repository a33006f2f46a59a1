"""Presets of kind "localize": the branches of `vedit localize`, and whose words they share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vedit.errors import nearest

COMMANDS = ("edit", "generate")
MODES = ("align", "free", "generate", "description")
TOP: Mapping[str, type] = {
    "model": str,
    "device": str,
    "input": dict,
    "caption": dict,
    "rewrite": dict,
    "score": dict,
}
TABLES: Mapping[str, tuple[str, ...]] = {
    "input": ("frames", "fps", "size", "crop"),
    "caption": ("model", "revision", "dtype", "by", "base_url", "remote_model", "key_env", "timeout"),
    "rewrite": (
        "llm", "base_url", "llm_model", "key_env", "timeout", "revision", "dtype", "lexicon", "max_distance",
        "forbid", "strict",
    ),
    "score": ("metrics", "profile", "weights"),
}  # fmt: skip
SHARED = ("name", "title", "command", "rewrite")
BRANCH: Mapping[str, tuple[str, ...]] = {
    "edit": ("method", "preset", "model", "set", "seed", "mask"),
    "generate": (
        "model", "provider", "revision", "frames", "size", "fps", "seed", "steps", "guidance", "negative",
        "base_url", "remote_model", "key_env", "timeout",
    ),
}  # fmt: skip


def mistakes(table: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the keys, and with each branch."""
    known = ("kind", "summary", *TOP, "branch")
    for key, value in table.items():
        if key not in known:
            yield f"top level: no key {key!r}{nearest(key, known) or '.'} There are {', '.join(known)}."
        elif key in TOP and not isinstance(value, TOP[key]):
            yield f"top level: {key} is not a {'table' if TOP[key] is dict else 'text'}."
        elif key in TABLES:
            for own in value:
                if own not in TABLES[key]:
                    yield f"[{key}]: no key {own!r}{nearest(own, TABLES[key]) or '.'}"
    rows = table.get("branch")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        yield "top level: there is one [[branch]] table or more."
        return
    names = [row.get("name") for row in rows]
    for place, row in enumerate(rows, 1):
        yield from (f"[[branch]] {place}: {what}" for what in _branch_mistakes(row))
        if names.count(row.get("name")) > 1:
            yield f"[[branch]] {place}: there are two of the name {row.get('name')!r}."


def _branch_mistakes(row: Mapping[str, Any]) -> Iterator[str]:
    name, command = row.get("name"), row.get("command", "edit")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][\w-]{0,30}", name, re.ASCII):
        yield f"name {name!r} is not a word of letters, digits and dashes."
    if command not in COMMANDS:
        yield f"command {command!r} is not one of {', '.join(COMMANDS)}."
        return
    if row.get("rewrite", "align") not in MODES:
        yield f"rewrite {row['rewrite']!r} is not one of {', '.join(MODES)}."
    if command == "edit" and not isinstance(row.get("method"), str):
        yield "it has no method."
    known = (*SHARED, *BRANCH[command])
    for key in row:
        if key not in known:
            yield f"no key {key!r}{nearest(key, known) or '.'} There are {', '.join(known)}."
