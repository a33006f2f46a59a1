"""Places of a network that methods read and write, and selectors that name them.

Every public implementation counts modules or filters them by size, and attaches to nothing when
a library renames a class. Here a selector says how many sites it must match, and a wrong number
is an error before anything runs. A family finds its own sites, in the order a forward pass visits them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from vedit.errors import ModelError

KINDS = ("self", "cross", "temporal", "joint", "conv", "up")
FEATURES = ("conv", "up")


@dataclass(frozen=True)
class Site:
    """One module that can be controlled.

    path: of the module below the network, as `named_modules` spells it.
    kind: "self", "cross", "temporal" or "joint" attention, "conv" for the second convolution of a residual
    block, "up" for the last of a decoder block, whose output goes into the next block. layer: forward-order
    index among attention modules (0-31 in Stable Diffusion 1.x); -1 for conv and up.
    scale: side of the latent divided by the side here: 1, 2, 4, 8.
    """

    path: str
    kind: str
    layer: int
    scale: int

    def grid(self, latent_size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns here; a stride-2 convolution rounds a half up."""
        return -(-latent_size[0] // self.scale), -(-latent_size[1] // self.scale)


@dataclass(frozen=True)
class Select:
    """Which sites a rule means.

    kind: one of `KINDS`. paths: globs, any may match. scales: allowed scales, empty
    for all. first_layer: leaves out attention modules with a smaller forward index.
    expect: how many sites must match; None for at least one.
    """

    kind: str
    paths: tuple[str, ...] = ("*",)
    scales: tuple[int, ...] = ()
    first_layer: int = 0
    expect: int | None = None

    def matches(self, site: Site) -> bool:
        return (
            site.kind == self.kind
            and (site.kind in FEATURES or site.layer >= self.first_layer)
            and (not self.scales or site.scale in self.scales)
            and any(
                fnmatchcase(site.path, path) or fnmatchcase(site.path, path + ".*") for path in self.paths
            )
        )

    def __str__(self) -> str:
        scale = f" at 1/{'|'.join(map(str, self.scales))}" if self.scales else ""
        layer = f" from layer {self.first_layer}" if self.first_layer else ""
        return f"{self.kind} {' '.join(self.paths)}{scale}{layer}"


def select_sites(sites: Sequence[Site], select: Select, what: str) -> list[Site]:
    """The sites a selector means; ModelError when their number is not the one expected.

    what: the rule or probe asking, for the message.
    """
    found = [site for site in sites if select.matches(site)]
    wrong = len(found) != select.expect if select.expect is not None else not found
    if wrong:
        there = [site.path for site in sites if site.kind == select.kind]
        expected = f"{select.expect}" if select.expect is not None else "at least one"
        raise ModelError(
            f"{what}: {select} matches {len(found)} sites of this model, expected {expected}.",
            f"Its {select.kind} sites are {', '.join(there)}."
            if there
            else f"It has no {select.kind} sites.",
            "Name the layers of this model in the preset; see: vedit models info MODEL --sites",
        )
    return found
