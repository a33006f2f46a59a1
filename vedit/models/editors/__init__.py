"""Released instruction editors, one file each: what its pipeline of diffusers wants of a clip.

A module has

    SUMMARY   one line
    PIPELINE  the class of diffusers
    ALSO      classes that models of the same parts name instead
    MODEL     the Hub id that is used where none is named
    LICENCE   a `Licence`
    SIDE      the shorter side that it is worked on by default
    GRAIN     sides are filled up to multiples of this
    LEAST     the shortest side that it takes
    PACKS     frames are filled up to PACKS * k + 1; 1 takes any number
    MASKS     whether it takes a mask, white where it is edited
    OWN       keys of the settings that it reads beside steps, guidance and negative_prompt
    check     refuses a model and LoRAs that cannot do it, before anything is fetched
    settle    from the settings and what the headers of LoRAs say to the settings that it runs with
    grain     from the settings to GRAIN, where they decide it
    edit      from a loaded pipeline, frames and an `Order` to the edited frames

ALSO, LEAST, check, settle and grain need not be there.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

from vedit.registry import Registry

registry = Registry(__name__, __path__, "vedit.editors", skip=("editor", "call"))


class Licence(NamedTuple):
    """What weights may be used for. must_accept: they are not fetched before the user says so."""

    name: str
    address: str
    must_accept: bool = False


class Order(NamedTuple):
    """What is asked of an editor. settings: its own, by name. frames, sides are filled up already.

    mask_FYX: uint8, 255 where it is edited, or None. references: pictures of what it should look like. fps:
    frames a second.
    """

    instruction: str
    settings: dict[str, Any]
    seed: int = 0
    mask_FYX: Any = None
    references: tuple[Any, ...] = ()
    frames_per_call: int = 8
    fps: float = 24.0


def names() -> list[str]:
    return registry.names()


def load(name: str) -> ModuleType:
    """The module of a backend; raises UsageError with the nearest spelling."""
    return registry.load(name)
