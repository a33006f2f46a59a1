"""Streaming frame transforms, one file each; the registry finds them by listing this folder."""

from __future__ import annotations

from types import ModuleType

from vedit.registry import Registry

registry = Registry(__name__, __path__, "vedit.stages", skip=("options",))


def names() -> list[str]:
    """The stages there are, ours and those of other distributions."""
    return registry.names()


def has(name: str) -> bool:
    """Whether there is a stage of that name; cheaper than listing them all."""
    return registry.has(name)


def summary(name: str) -> str:
    """A stage's one line of help, without importing it where it is ours."""
    return registry.summary(name)


def load(name: str) -> ModuleType:
    """The module of a stage; raises UsageError with the nearest spelling."""
    return registry.load(name)
