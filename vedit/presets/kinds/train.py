"""Presets of kind "train": the tables that decide a generator and its training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def mistakes(table: Mapping[str, Any]) -> Iterator[str]:
    """What can be known without loading pydantic; `load_train` finds the rest."""
    for key, value in tables_of(table).items():
        if not isinstance(value, dict):
            yield f"top level: {key} is not a table."


def tables_of(table: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a training preset."""
    return {key: value for key, value in table.items() if key not in ("kind", "summary")}
