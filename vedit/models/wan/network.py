"""The network half of a model in Wan's layout: one transformer, or one for noisy levels and one for the rest.

Shape letters: B clips, F latent frames, C channels, Y X rows and columns, L text tokens, E text width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from vedit.models.bare import rebuilt
from vedit.models.clip_network import ClipNetwork
from vedit.models.wan.attach import WanProcessor


@dataclass
class WanNetwork(ClipNetwork):
    """What the engine asks of a network, answered by a `WanTransformer3DModel`, or two.

    transformer_2: takes over below `boundary`, a share of the timesteps. by_token: the network is told a
    timestep for each token, as Wan 2.2 5B wants it.
    """

    processor: ClassVar = WanProcessor
    blocks: ClassVar = "blocks"
    text_width: ClassVar = "text_dim"

    transformer_2: Any = None
    boundary: float | None = None
    by_token: bool = False

    @property
    def transformers(self) -> list[Any]:
        return [part for part in (self.transformer, self.transformer_2) if part is not None]

    @property
    def patch(self) -> tuple[int, int, int]:
        frames, rows, columns = self.transformer.config.patch_size
        return int(frames), int(rows), int(columns)

    @property
    def places(self) -> int:
        return int(self.transformer.config.rope_max_seq_len)

    def second_at(self, timestep: float) -> bool:
        return (
            self.has_second
            and self.boundary is not None
            and self.schedule.told(timestep) < self.boundary * self.schedule.train_steps
        )

    def part_at(self, timestep: float) -> Any:
        """The transformer that is asked at a timestep."""
        return self.transformer_2 if self.second_at(timestep) else self.transformer

    def predict(self, latents_BFCYX: Tensor, timestep: float, text_BLE: Tensor) -> Tensor:
        count, frames, _, rows, columns = latents_BFCYX.shape
        shape: tuple[int, ...] = (count,)
        if self.by_token:
            shape = (count, frames // self.patch[0] * (rows // self.patch[1]) * (columns // self.patch[2]))
        levels = self.told(timestep, *shape, device=latents_BFCYX.device)
        with self._ready(self.part_at(timestep)) as part:
            output: Tensor = part(latents_BFCYX.transpose(1, 2), levels, text_BLE, return_dict=False)[0]
        return output.transpose(1, 2)

    def on_meta(self) -> WanNetwork:
        second = None if self.transformer_2 is None else rebuilt(self.transformer_2)
        return WanNetwork(
            rebuilt(self.transformer), self.schedule, self.text_tokens, second, self.boundary, self.by_token
        )
