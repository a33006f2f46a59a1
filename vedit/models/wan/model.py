"""A loaded model in Wan's layout: transformers, the codec between clips and latents, and the text encoder.

Source: diffusers' WanPipeline, for the text and the scales of latents.
Shape letters: C channels.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from vedit.models.clips import ClipModel
from vedit.models.layout import WAN, Layout
from vedit.models.wan.network import WanNetwork
from vedit.models.wan.side import NATIVE_SIDE, codec_factors

ENCODED_AT_ONCE = 4  # frames behind the first that AutoencoderKLWan encodes at a time, whatever it packs


@dataclass(kw_only=True)
class WanModel(ClipModel, WanNetwork):
    """A loaded model.

    editors: weights of instruction editors that are loaded, by what they were asked for as.
    """

    layout: ClassVar[Layout] = WAN
    editors: dict[str, Any] = field(default_factory=dict)

    @property
    def scale(self) -> int:
        return codec_factors(self.vae.config)[0]

    @property
    def packs(self) -> int:
        return codec_factors(self.vae.config)[1]

    @property
    def grain(self) -> int:
        return math.lcm(ENCODED_AT_ONCE, self.packs)

    @property
    def native_size(self) -> int:
        return NATIVE_SIDE[self.scale]

    def read(self, prompt: str) -> str:
        """As WanPipeline does: HTML's names of letters are letters, and blanks are single."""
        return " ".join(html.unescape(html.unescape(prompt)).split())

    def normal(self) -> tuple[Tensor, Tensor]:
        mean, std = (
            torch.tensor(self.vae.config[name], dtype=torch.float32)[:, None, None]
            for name in ("latents_mean", "latents_std")
        )
        return mean, std
