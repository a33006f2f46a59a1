"""The network half of LTX-Video: clips are packed into a row of tokens.

It is told where each token lies in seconds and in pixels, so frames a second are part of its input, and which
tokens of a text stand for something: those of an embedding whose row is not zero.
Shape letters: B clips, F latent frames, C channels, Y X rows and columns, S tokens of a clip, L text tokens,
E text width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vedit.models.bare import rebuilt
from vedit.models.clip_network import ClipNetwork
from vedit.models.ltx.attach import LTXProcessor


@dataclass(frozen=True)
class Grid:
    """Where latent entries lie: pixels apart, pictures apart, frames a second.

    is_causal: the first frame, which the codec packs alone, is one picture long, as in models from 0.9.5 on;
    before, all count as equally long.
    """

    scale: int = 32
    packs: int = 8
    rate: float = 25.0
    is_causal: bool = False

    def coordinates(self, frames: int, rows: int, columns: int, device: torch.device) -> Tensor:
        """Seconds, rows and columns of each token, (1, 3, S) float32."""
        times = torch.arange(frames, dtype=torch.float32, device=device) * self.packs
        if self.is_causal:
            times = (times + 1 - self.packs).clamp(min=0)
        sides = (self.scale * torch.arange(side, dtype=torch.float32, device=device)
                 for side in (rows, columns))  # fmt: skip
        return torch.stack(torch.meshgrid(times / self.rate, *sides, indexing="ij")).flatten(1)[None]


@dataclass
class LTXNetwork(ClipNetwork):
    """What the engine asks of a network, answered by an `LTXVideoTransformer3DModel`."""

    processor: ClassVar = LTXProcessor
    blocks: ClassVar = "transformer_blocks"
    text_width: ClassVar = "caption_channels"

    grid: Grid = Grid()

    def predict(self, latents_BFCYX: Tensor, timestep: float, text_BLE: Tensor) -> Tensor:
        count, frames, _, rows, columns = latents_BFCYX.shape
        device = latents_BFCYX.device
        mask_BL = (text_BLE != 0).any(-1)
        # on the meta device nothing is zero or not, and any length of text takes as much
        known_BL = torch.ones_like(mask_BL) if device.type == "meta" else mask_BL
        with self._ready(self.transformer) as transformer:
            output_BSC: Tensor = transformer(
                latents_BFCYX.permute(0, 1, 3, 4, 2).flatten(1, 3),
                text_BLE,
                self.told(timestep, count, device=device),
                known_BL.to(torch.int64),
                num_frames=frames,
                height=rows,
                width=columns,
                video_coords=self.grid.coordinates(frames, rows, columns, device).expand(count, -1, -1),
                return_dict=False,
            )[0]
        return output_BSC.unflatten(1, (frames, rows, columns)).permute(0, 1, 4, 2, 3)

    def on_meta(self) -> LTXNetwork:
        return LTXNetwork(rebuilt(self.transformer), self.schedule, self.text_tokens, self.grid)
