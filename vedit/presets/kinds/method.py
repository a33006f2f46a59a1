"""Presets of kind "method": the parameters of an editing method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vedit.errors import nearest


def mistakes(table: Mapping[str, Any]) -> Iterator[str]:
    """What can be known without loading the method, whose class knows its parameters."""
    from vedit import methods

    name, known = table.get("method"), methods.names()
    if not isinstance(name, str) or not methods.has(name):
        what = "there is no method" if name is None else f"no method is called {name!r}"
        yield f"top level: {what}{nearest(str(name), known) or '.'} There are {', '.join(known)}."


def parameters(table: Mapping[str, Any]) -> dict[str, Any]:
    """The method's own keys of a method preset."""
    return {
        key.replace("-", "_"): value
        for key, value in table.items()
        if key not in ("kind", "summary", "method")
    }
