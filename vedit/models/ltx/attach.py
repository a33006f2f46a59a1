"""Rules in the attention of an LTX-Video transformer. Checked against LTXVideoAttnProcessor.

Queries and keys are normalised and turned over their whole width, so each head has angles of its own, and
tokens of the text that stand for nothing are masked.
Shape letters: B branches, F frames, T tokens of a frame, S tokens of a clip, N heads, D head width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vedit.models.clip_attention import ClipProcessor


class LTXProcessor(ClipProcessor):
    """The attention of one module under control."""

    @staticmethod
    def frames_of(transformer: Any, inputs: tuple[Any, ...]) -> int:
        """Its rotary positions are told the number."""
        return int(inputs[1])

    def turn(self, x_BFNTD: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        """Turn pairs of neighbouring numbers by the angle of the token's place and of their head."""
        frames, count = x_BFNTD.shape[1:3]
        cos, sin = (
            part_BSC.unflatten(1, (frames, -1)).unflatten(-1, (count, -1)).transpose(2, 3)
            for part_BSC in rotary
        )
        first, second = x_BFNTD.float().unflatten(-1, (-1, 2)).unbind(-1)
        across = torch.stack([-second, first], dim=-1).flatten(-2)
        return (x_BFNTD.float() * cos + across * sin).to(x_BFNTD.dtype)
