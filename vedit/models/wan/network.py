"""The network half of a model in Wan's layout: one transformer, or one for noisy levels and one for the rest.

Its latents are clips: frames are an axis of their own, and self-attention sees all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vedit.models.bare import rebuilt, weight_bytes
from vedit.models.clip_attention import TENSORS
from vedit.models.flow import Flow
from vedit.models.sites import Site
from vedit.models.tensors import Applier
from vedit.models.wan.attach import attached, find_sites


class WanNetwork:
    """What the engine asks of a network, answered by a `WanTransformer3DModel`, or two.

    transformer_2: takes over below `boundary`, a share of the timesteps. by_token: the network is told a
    timestep for each token, as Wan 2.2 5B wants it. text_tokens: of a text embedding.
    """

    transformer: Any
    schedule: Flow
    transformer_2: Any
    boundary: float | None
    by_token: bool
    text_tokens: int
    frame_axis = True
    sees_picture = False

    @property
    def transformers(self) -> list[Any]:
        return [part for part in (self.transformer, self.transformer_2) if part is not None]

    @property
    def network_dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.transformer.dtype
        return dtype

    @property
    def channels(self) -> int:
        return int(self.transformer.config.in_channels)

    @property
    def text_shape(self) -> tuple[int, int]:
        return self.text_tokens, int(self.transformer.config.text_dim)

    @property
    def has_second(self) -> bool:
        return self.transformer_2 is not None

    def second_at(self, timestep: float) -> bool:
        is_late = (
            self.boundary is not None
            and self.schedule.told(timestep) < self.boundary * self.schedule.train_steps
        )
        return is_late and self.has_second

    def part_at(self, timestep: float) -> Any:
        """The transformer that is asked at a timestep."""
        return self.transformer_2 if self.second_at(timestep) else self.transformer

    def predict(self, latents_BFCYX: Tensor, timestep: float, text_BLE: Tensor) -> Tensor:
        told = self.schedule.told(timestep)
        shape: tuple[int, ...] = (len(latents_BFCYX),)
        if self.by_token:
            _, frames, _, rows, columns = latents_BFCYX.shape
            patch = self.transformer.config.patch_size
            shape = (*shape, frames // patch[0] * (rows // patch[1]) * (columns // patch[2]))
        levels = torch.full(shape, told, device=latents_BFCYX.device, dtype=torch.float32)
        with self._ready(self.part_at(timestep)) as part:
            output: Tensor = part(latents_BFCYX.transpose(1, 2), levels, text_BLE, return_dict=False)[0]
        return output.transpose(1, 2)

    @contextmanager
    def _ready(self, part: Any) -> Iterator[Any]:
        """The part, where it is asked."""
        yield part

    def sites(self) -> list[Site]:
        return find_sites(self.transformer)

    def tensors(self, kind: str) -> frozenset[str]:
        return TENSORS.get(kind, frozenset())

    def width(self, site: Site) -> int:
        return int(self.transformer.get_submodule(site.path).inner_dim)

    def attached(self, sites: Sequence[Site], applier: Applier) -> AbstractContextManager[None]:
        return attached(self.transformers, sites, applier)

    @contextmanager
    def checkpointing(self) -> Iterator[None]:
        with ExitStack() as stack:
            for part in self.transformers:
                if not part.is_gradient_checkpointing:
                    part.enable_gradient_checkpointing()
                    stack.callback(part.disable_gradient_checkpointing)
            yield

    def on_meta(self) -> Transformers:
        parts = [None if part is None else rebuilt(part) for part in (self.transformer, self.transformer_2)]
        return Transformers(parts[0], self.schedule, parts[1], self.boundary, self.by_token, self.text_tokens)

    def network_bytes(self) -> int:
        return sum(weight_bytes(part) for part in self.transformers)


@dataclass
class Transformers(WanNetwork):
    """The transformers and their levels, and nothing else of a model."""

    transformer: Any
    schedule: Flow
    transformer_2: Any = None
    boundary: float | None = None
    by_token: bool = False
    text_tokens: int = 512
