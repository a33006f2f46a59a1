"""Metrics, one file each; the registry finds them by listing this folder. Importing one loads no torch."""

from __future__ import annotations

from types import ModuleType

from vedit.registry import Registry

registry = Registry(__name__, __path__, "vedit.metrics", skip=("base", "types", "own"))


def names() -> list[str]:
    """The metric modules there are, ours and those of other distributions."""
    return registry.names()


def has(name: str) -> bool:
    """Whether there is a metric module of that name."""
    return registry.has(name.replace("_", "-"))


def load(name: str) -> ModuleType:
    """The module of that name, written with dashes or underscores; raises UsageError with the nearest
    spelling.
    """
    return registry.load(name.replace("_", "-"))
