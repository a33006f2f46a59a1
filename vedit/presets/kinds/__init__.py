"""The kinds of presets, one module each; the registry finds them by listing this folder.

A module has a function `mistakes(table)`: a sentence for each thing that is wrong with the table of a
preset of its kind. What reads such a preset stands beside it.
"""

from __future__ import annotations

from types import ModuleType

from vedit.registry import Registry

registry = Registry(__name__, __path__, "vedit.presets")


def names() -> list[str]:
    """The kinds there are, ours and those of other distributions."""
    return registry.names()


def load(name: str) -> ModuleType:
    """The module of a kind. Raises UsageError with the nearest spelling."""
    return registry.load(name)
