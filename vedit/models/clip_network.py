"""The network half of a model of clips, whichever transformer it has.

Its latents are clips: frames are an axis of their own, and self-attention sees all of them. A family says how
its transformer is asked.
Shape letters: B clips, F latent frames, C channels, Y X rows and columns, L text tokens, E text width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from vedit.models.bare import weight_bytes
from vedit.models.clip_attention import TENSORS, ClipProcessor, attached, find_sites
from vedit.models.flow import Flow
from vedit.models.sites import Site
from vedit.models.tensors import Applier


@dataclass
class ClipNetwork:
    """What the engine asks of a network, but for `predict` and `on_meta`, which are the family's.

    text_tokens: of a text embedding. processor: of its attention under rules. blocks: what it calls the list
    of its blocks. text_width: the key of its configuration that tells the width of the text it reads.
    """

    processor: ClassVar[type[ClipProcessor]]
    blocks: ClassVar[str]
    text_width: ClassVar[str]
    frame_axis: ClassVar[bool] = True
    sees_picture: ClassVar[bool] = False

    transformer: Any
    schedule: Flow
    text_tokens: int

    @property
    def transformers(self) -> list[Any]:
        return [self.transformer]

    @property
    def has_second(self) -> bool:
        return len(self.transformers) > 1

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
        return self.text_tokens, int(self.transformer.config[self.text_width])

    @property
    def patch(self) -> tuple[int, int, int]:
        """Frames, rows and columns of latents that it joins into one token."""
        return 1, 1, 1

    @property
    def places(self) -> int | None:
        """Latent frames, and patches on a side, that it has positions for; None for any number."""
        return None

    def told(self, timestep: float, *shape: int, device: torch.device) -> Tensor:
        """What it is told of a timestep, as often as asked; in float32, since it is embedded in that."""
        return torch.full(shape, self.schedule.told(timestep), device=device, dtype=torch.float32)

    @contextmanager
    def _ready(self, part: Any) -> Iterator[Any]:
        """A transformer, where it is asked."""
        yield part

    def sites(self) -> list[Site]:
        return find_sites(self.transformer, self.blocks, self.patch[-1])

    def tensors(self, kind: str) -> frozenset[str]:
        return TENSORS.get(kind, frozenset())

    def width(self, site: Site) -> int:
        return int(self.transformer.get_submodule(site.path).inner_dim)

    def attached(self, sites: Sequence[Site], applier: Applier) -> AbstractContextManager[None]:
        return attached(self.transformers, sites, applier, self.processor)

    @contextmanager
    def checkpointing(self) -> Iterator[None]:
        with ExitStack() as stack:
            for part in self.transformers:
                if not part.is_gradient_checkpointing:
                    part.enable_gradient_checkpointing()
                    stack.callback(part.disable_gradient_checkpointing)
            yield

    def network_bytes(self) -> int:
        return sum(weight_bytes(part) for part in self.transformers)
