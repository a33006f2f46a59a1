"""Editing methods, one file each; the registry finds them by listing this folder."""

from __future__ import annotations

from collections.abc import Collection
from types import ModuleType

from vedit.registry import Registry

registry = Registry(__name__, __path__, "vedit.methods", skip=("base", "outline", "params", "sampled"))


def names() -> list[str]:
    """The methods there are, ours and those of other distributions."""
    return registry.names()


def fitting(of_clips: bool) -> list[str]:
    """The methods for networks that see clips whole and are trained by flow matching, or for those that see
    pictures, which need no mask and take two prompts.
    """
    return without({"pictures" if of_clips else "flow", "temporal", "first frame", "mask", "instruction"})


def fitting_motion() -> list[str]:
    """Those for networks with layers over frames, which are shown no picture."""
    return without({"pictures", "flow", "first frame", "mask", "instruction"})


def without(needs: Collection[str]) -> list[str]:
    """The methods that have none of these needs."""
    return [name for name in names() if not load(name).NEEDS & {*needs}]


def has(name: str) -> bool:
    """Whether there is a method of that name; cheaper than listing them all."""
    return registry.has(name)


def load(name: str) -> ModuleType:
    """The module of a method; raises UsageError with the nearest spelling."""
    return registry.load(name)
