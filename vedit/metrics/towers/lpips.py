"""LPIPS: how different two pictures look to people.

Source: Zhang et al. 2018, version 0.1. The trunk is torchvision's, trained on ImageNet; the linear heads come
with the package `lpips`, of which only these files are read. Inputs are scaled to -1..1 and not resized.
"""

from __future__ import annotations

from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vedit.errors import ModelError
from vedit.metrics.towers.features import Features
from vedit.metrics.towers.tower import Tower, empty, read_state, to_numpy
from vedit.metrics.types import Floats, Pixels, Video

if TYPE_CHECKING:
    from vedit.metrics.towers.tower import State

TAPS = {
    "alex": (1, 4, 7, 9, 11),
    "vgg": (3, 8, 15, 22, 29),
    "squeeze": (1, 4, 7, 9, 10, 11, 12),
}  # layers of torchvision whose outputs are compared
TRUNKS = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class LpipsNet(nn.Module):
    """The trunk up to the last tap, and a weight for each channel of each tap."""

    def __init__(self, kind: str) -> None:
        from torchvision import models

        super().__init__()
        self.taps = TAPS[kind]
        self.features = getattr(models, TRUNKS[kind])(weights=None).features[: max(self.taps) + 1]

    def maps(self, pixels_T3YX: Tensor) -> list[Tensor]:
        """The output of each tap, each position of unit length over channels."""
        found = []
        for index, layer in enumerate(self.features):
            pixels_T3YX = layer(pixels_T3YX)
            if index in self.taps:
                found.append(pixels_T3YX / (pixels_T3YX.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found


class LpipsTower(Tower):
    half_is_safe = False

    @property
    def kind(self) -> str:
        return self.name.removeprefix("lpips_")

    @cached_property
    def heads_file(self) -> Path:
        """The linear heads inside the installed package, which is found and not imported."""
        spec = find_spec("lpips")
        folders = list(spec.submodule_search_locations or []) if spec else []
        if not folders:
            raise ModelError(
                "lpips needs the package lpips, which is not installed.",
                "",
                'Install with: pip install "vedit[lpips]"',
            )
        return Path(folders[0]) / "weights" / "v0.1" / f"{self.kind}.pth"

    def build(self, state: State) -> LpipsNet:
        heads = read_state(self.heads_file)
        net: Any = empty(lambda: LpipsNet(self.kind))
        self.ready(net, state, ignore=(r"classifier\..*",))
        self.heads = [
            heads[f"lin{index}.model.1.weight"].to(self.device, self.dtype)
            for index in range(len(TAPS[self.kind]))
        ]
        return net

    def distances(self, first: Video, second: Video) -> Floats:
        """The distance of frames of the same number, (T,); both videos have one size of 32 x 32 or more."""
        heads = self.finder.sha256(self.heads_file)
        return self.kept(
            lambda: self._distances(first.frames_TYX3, second.frames_TYX3),
            "distance",
            heads,
            first.digest,
            second.digest,
        )["distance"]

    def _distances(self, first_TYX3: Pixels, second_TYX3: Pixels) -> Features:
        net, found = self.net, []
        for a, b in zip(
            *(self.batches(frames, *_normalisation()) for frames in (first_TYX3, second_TYX3)), strict=True
        ):
            taps = zip(net.maps(a), net.maps(b), self.heads, strict=True)
            found.append(
                torch.stack([((x - y).square() * head).sum(1).mean((1, 2)) for x, y, head in taps]).sum(0)
            )
        return {"distance": to_numpy(torch.cat(found))}


def _normalisation() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of values in 0..1 that do what the published scaling does to values in -1..1."""
    return tuple((1 + shift) / 2 for shift in SHIFT), tuple(scale / 2 for scale in SCALE)
