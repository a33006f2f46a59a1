"""Models that say what a clip shows. A module here is one of them; they are found by listing.

A module has `FRAMES` and `EVERY`, which frames it looks at unless told; `SIZE`, the side of the square that
they are scaled to; and `open_captioner(device)`.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from vedit.errors import UsageError, nearest
from vedit.jobs.caption.request import Detail

if TYPE_CHECKING:
    import numpy as np


class Told(NamedTuple):
    """What a captioner says: of the clip, and of each frame that it looked at."""

    clip: str
    frames: tuple[str, ...]


class Captioner(Protocol):
    """A model that is ready."""

    def told(self, frames_FYX3: np.ndarray, detail: Detail) -> Told:
        """The captions of a clip's frames, uint8 RGB, and of the clip. Raises InputError for frames that it
        cannot tell of.
        """
        ...

    def facts(self) -> dict[str, Any]:
        """Its name and where its weights are from."""
        ...


def names() -> list[str]:
    """The captioners there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def module_of(name: str) -> Any:
    """A captioner's module. Raises UsageError for a name that is none."""
    if name not in names():
        raise UsageError(
            f"there is no captioner {name!r}{nearest(name, names()) or '.'}",
            f"There are: {', '.join(names())}.",
        )
    return import_module(f"{__name__}.{name}")
