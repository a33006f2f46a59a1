"""The network half of LTX-Video: a transformer whose latents are clips, packed into a row of tokens.

It is told where each token lies in seconds and in pixels, so frames a second are part of its input, and which
tokens of a text stand for something: those of an embedding whose row is not zero.
Shape letters: B clips, F latent frames, C channels, Y X rows and columns, S tokens of a clip, L text tokens,
E text width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vedit.models.bare import rebuilt, weight_bytes
from vedit.models.clip_attention import TENSORS
from vedit.models.flow import Flow
from vedit.models.ltx.attach import attached, find_sites
from vedit.models.sites import Site
from vedit.models.tensors import Applier


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


class LTXNetwork:
    """What the engine asks of a network, answered by an `LTXVideoTransformer3DModel`.

    text_tokens: of a text embedding.
    """

    transformer: Any
    schedule: Flow
    text_tokens: int
    grid: Grid
    frame_axis = True
    sees_picture = False
    has_second = False

    def second_at(self, timestep: float) -> bool:
        return False

    @property
    def network_dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.transformer.dtype
        return dtype

    @property
    def channels(self) -> int:
        return int(self.transformer.config.in_channels)

    @property
    def text_shape(self) -> tuple[int, int]:
        return self.text_tokens, int(self.transformer.config.caption_channels)

    def predict(self, latents_BFCYX: Tensor, timestep: float, text_BLE: Tensor) -> Tensor:
        count, frames, _, rows, columns = latents_BFCYX.shape
        device = latents_BFCYX.device
        mask_BL = (text_BLE != 0).any(-1)
        # on the meta device nothing is zero or not, and any length of text takes as much
        known_BL = torch.ones_like(mask_BL) if device.type == "meta" else mask_BL
        output_BSC: Tensor = self.transformer(
            latents_BFCYX.permute(0, 1, 3, 4, 2).flatten(1, 3),
            text_BLE,
            torch.full((count,), self.schedule.told(timestep), device=device, dtype=torch.float32),
            known_BL.to(torch.int64),
            num_frames=frames,
            height=rows,
            width=columns,
            video_coords=self.grid.coordinates(frames, rows, columns, device).expand(count, -1, -1),
            return_dict=False,
        )[0]
        return output_BSC.unflatten(1, (frames, rows, columns)).permute(0, 1, 4, 2, 3)

    def sites(self) -> list[Site]:
        return find_sites(self.transformer)

    def tensors(self, kind: str) -> frozenset[str]:
        return TENSORS.get(kind, frozenset())

    def width(self, site: Site) -> int:
        return int(self.transformer.get_submodule(site.path).inner_dim)

    def attached(self, sites: Sequence[Site], applier: Applier) -> AbstractContextManager[None]:
        return attached(self.transformer, sites, applier)

    @contextmanager
    def checkpointing(self) -> Iterator[None]:
        was_on = self.transformer.is_gradient_checkpointing
        if not was_on:
            self.transformer.enable_gradient_checkpointing()
        try:
            yield
        finally:
            if not was_on:
                self.transformer.disable_gradient_checkpointing()

    def on_meta(self) -> BareLTX:
        return BareLTX(rebuilt(self.transformer), self.schedule, self.text_tokens, self.grid)

    def network_bytes(self) -> int:
        return weight_bytes(self.transformer)


@dataclass
class BareLTX(LTXNetwork):
    """The transformer and its levels, and nothing else of a model."""

    transformer: Any
    schedule: Flow
    text_tokens: int = 128
    grid: Grid = Grid()
