"""Name the places of a UNet that methods read and write, in the order a forward pass visits them.

Every public implementation counts modules or filters them by size, and attaches to nothing when
a library renames a class. Here a selector says how many sites it must match, and a wrong number
is an error before anything runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from vedit.errors import ModelError


@dataclass(frozen=True)
class Site:
    """One module that can be controlled.

    path: of the module below the UNet, as `named_modules` spells it.
    kind: "self" or "cross" attention, or "conv" for the second convolution of a residual block.
    layer: forward-order index among attention modules (0-31 in Stable Diffusion 1.x); -1 for conv.
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

    kind: "self", "cross" or "conv". paths: globs, any may match. scales: allowed scales, empty
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
            and (site.kind == "conv" or site.layer >= self.first_layer)
            and (not self.scales or site.scale in self.scales)
            and any(fnmatchcase(site.path, path) or fnmatchcase(site.path, path + ".*") for path in self.paths)
        )

    def __str__(self) -> str:
        scale = f" at 1/{'|'.join(map(str, self.scales))}" if self.scales else ""
        layer = f" from layer {self.first_layer}" if self.first_layer else ""
        return f"{self.kind} {' '.join(self.paths)}{scale}{layer}"


def find_sites(unet: Any) -> list[Site]:
    """All sites of a `UNet2DConditionModel`, in forward order."""
    sites: list[Site] = []
    layer = 0
    for path, kind, scale in _walk(unet):
        sites.append(Site(path, kind, -1 if kind == "conv" else layer, scale))
        layer += kind != "conv"
    return sites


def _walk(unet: Any) -> Iterator[tuple[str, str, int]]:
    if not hasattr(unet, "down_blocks") or not hasattr(unet, "up_blocks"):
        raise ModelError(f"{type(unet).__name__} is not a UNet.", "These methods control the attention of Stable Diffusion 1.x and 2.x UNets.")
    scale = 1
    for i, block in enumerate(unet.down_blocks):
        yield from _block(f"down_blocks.{i}", block, scale)
        if getattr(block, "downsamplers", None):
            scale *= 2
    if unet.mid_block is not None:
        yield from _mid("mid_block", unet.mid_block, scale)
    for i, block in enumerate(unet.up_blocks):
        yield from _block(f"up_blocks.{i}", block, scale)
        if getattr(block, "upsamplers", None):
            scale //= 2


def _block(path: str, block: Any, scale: int) -> Iterator[tuple[str, str, int]]:
    attentions = getattr(block, "attentions", None) or []
    for j in range(len(block.resnets)):
        yield f"{path}.resnets.{j}.conv2", "conv", scale
        if j < len(attentions):
            yield from _attention(f"{path}.attentions.{j}", attentions[j], scale)


def _mid(path: str, block: Any, scale: int) -> Iterator[tuple[str, str, int]]:
    yield f"{path}.resnets.0.conv2", "conv", scale
    for j, attention in enumerate(getattr(block, "attentions", None) or []):
        yield from _attention(f"{path}.attentions.{j}", attention, scale)
        if j + 1 < len(block.resnets):
            yield f"{path}.resnets.{j + 1}.conv2", "conv", scale


def _attention(path: str, attention: Any, scale: int) -> Iterator[tuple[str, str, int]]:
    for k, transformer in enumerate(getattr(attention, "transformer_blocks", [])):
        if getattr(transformer, "attn1", None) is not None:
            yield f"{path}.transformer_blocks.{k}.attn1", "self", scale
        if getattr(transformer, "attn2", None) is not None:
            yield f"{path}.transformer_blocks.{k}.attn2", "cross", scale


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
            f"Its {select.kind} sites are {', '.join(there)}.",
            "Name the layers of this model in the preset; see: vedit models info MODEL --sites",
        )
    return found
