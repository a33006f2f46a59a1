"""A loaded LTX-Video: the transformer, the codec between clips and latents, and T5's text.

Source: diffusers' LTXPipeline and LTXConditionPipeline, for the text, the levels and the scales of latents.
Deviation: a codec that is told a noise level is given latents with the same noise each time.
Shape letters: f latent frames, C channels, Y X rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from vedit.models.clips import ClipModel
from vedit.models.flow import Moving
from vedit.models.layout import LTX, Layout
from vedit.models.ltx.network import LTXNetwork
from vedit.models.ltx.side import NATIVE_SIDE

DECODED_AT, DECODED_NOISE = 0.05, 0.025  # what the models' cards decode with, where a codec is told a level


@dataclass(kw_only=True)
class LTXModel(ClipModel, LTXNetwork):
    """A loaded model.

    moving: how its levels depend on the tokens of a clip; None where they do not.
    """

    layout: ClassVar[Layout] = LTX
    moving: Moving | None = None

    @property
    def scale(self) -> int:
        return int(self.vae.spatial_compression_ratio)

    @property
    def packs(self) -> int:
        return int(self.vae.temporal_compression_ratio)

    @property
    def native_size(self) -> int:
        return NATIVE_SIDE

    def for_clip(self, size: tuple[int, int], pictures: int, rate: float) -> Self:
        """With the levels of clips of as many tokens, and the places of tokens at a rate."""
        rows, columns = self.latent_size(size)
        tokens = self.frames(pictures) * rows * columns
        schedule = self.schedule if self.moving is None else self.moving.at(tokens)
        return replace(self, schedule=schedule, grid=replace(self.grid, rate=rate))

    @property
    def about(self) -> tuple[str, ...]:
        moved = "" if self.moving is None else f"; levels shifted by {self.schedule.shift:.3g} for its size"
        return (f"the network is told {self.grid.rate:.4g} frames a second{moved}",)

    def normal(self) -> tuple[Tensor, Tensor]:
        mean, std = (
            getattr(self.vae, name).float()[:, None, None] for name in ("latents_mean", "latents_std")
        )
        return mean, std / float(self.vae.config.scaling_factor)

    def decoded(self, vae: Any, latents_1CfYX: Tensor) -> Tensor:
        """Pixels; a codec that adds noise of its own draws it from the same seed each time."""
        level = None
        if vae.config.timestep_conditioning:
            level = torch.full((1,), DECODED_AT, device=latents_1CfYX.device, dtype=latents_1CfYX.dtype)
            noise = torch.randn(latents_1CfYX.shape, generator=torch.Generator().manual_seed(0))
            latents_1CfYX = (1 - DECODED_NOISE) * latents_1CfYX + DECODED_NOISE * noise.to(latents_1CfYX)
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(0)
            pixels: Tensor = vae.decode(latents_1CfYX, level).sample
        return pixels

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "rate": self.grid.rate}
