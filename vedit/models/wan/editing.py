"""The network of an instruction editor: a Wan transformer under conditions, as the engine's sampler calls it.

Tensor names: B branches, C latent channels, F latent frames, Y X rows and columns, L text tokens, E width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vedit.models.wan.conditions import Conditions, predict
from vedit.models.wan.network import WanNetwork


@dataclass
class EditNetwork(WanNetwork):
    """A transformer that has been fitted, and what it is shown beside the noisy clip.

    given: conditions of one clip for all branches, or a row for each stream, whose branches follow each
    other. source_guidance: how strongly the source leads; blind: the text beside which it is left out, (1,
    L, E).

        v0 + g_s (v_s - v0) + g (v_ts - v_s)     0: neither, s: source, t: text
    """

    given: Conditions | None = None
    source_guidance: float = 1.0
    blind: Tensor | None = None

    def predict(self, latents_BFCYX: Tensor, timestep: float, text_BLE: Tensor) -> Tensor:
        assert self.given is not None, "an editor is shown its source"
        seen = self._asked(latents_BFCYX, timestep, text_BLE, self.given)
        if self.source_guidance == 1:
            return seen
        assert self.blind is not None, "who leads by the source says beside which text"
        # what is added to all branches of guidance by the text is added to what it makes of them
        latents, text = latents_BFCYX[:1], self.blind.to(text_BLE)
        without = self.given._replace(source=torch.zeros_like(self.given.source))
        apart = self._asked(latents, timestep, text, self.given) - self._asked(
            latents, timestep, text, without
        )
        return seen + (self.source_guidance - 1) * apart

    def _asked(self, latents_BFCYX: Tensor, timestep: float, text_BLE: Tensor, given: Conditions) -> Tensor:
        count = len(latents_BFCYX)
        levels = torch.full((count,), self.schedule.told(timestep), device=latents_BFCYX.device)
        source, mask, reference = (
            None if part is None else part.repeat_interleave(count // len(part), dim=0).to(latents_BFCYX)
            for part in given
        )
        assert source is not None, "it is always there"
        rows = Conditions(source, mask, reference)
        output = predict(self.transformer, latents_BFCYX.transpose(1, 2), levels, text_BLE, rows)
        return output.transpose(1, 2)
