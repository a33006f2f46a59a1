"""Presets of kind "rewrite": what a language model is told before it rewrites a prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vedit.errors import nearest

MODES = ("align", "free", "generate", "description")
KEYS: Mapping[str, type] = {"mode": str, "version": int, "role": str, "rules": list, "example": list}
EXAMPLE = ("source", "instruction", "target")


def mistakes(table: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the keys and values."""
    known = ("kind", "summary", *KEYS)
    for key in table:
        if key not in known:
            yield f"top level: no key {key!r}{nearest(key, known) or '.'} There are {', '.join(known)}."
    for key, kind in KEYS.items():
        value = table.get(key)
        if not isinstance(value, kind) or isinstance(value, bool) or not value:
            yield f"top level: {key} is missing, or not {'a whole number' if kind is int else 'filled'}."
    if isinstance(table.get("mode"), str) and table["mode"] not in MODES:
        yield f"top level: mode {table['mode']!r} is not one of {', '.join(MODES)}."
    rules = table.get("rules")
    if isinstance(rules, list) and not all(isinstance(rule, str) and rule for rule in rules):
        yield "top level: rules are sentences."
    examples = table.get("example")
    for place, row in enumerate(examples if isinstance(examples, list) else (), 1):
        texts = [row.get(key) for key in EXAMPLE] if isinstance(row, dict) else [None]
        if not all(isinstance(text, str) and text for text in texts) or set(row) != set(EXAMPLE):
            yield f"[[example]] {place}: it has {', '.join(EXAMPLE)}."
