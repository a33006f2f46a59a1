"""The sites of an LTX-Video transformer, and rules at them. Checked against LTXVideoAttnProcessor.

Queries and keys are normalised and turned over their whole width, so each head has angles of its own, and
tokens of the text that stand for nothing are masked.
Shape letters: B branches, F frames, T tokens of a frame, S tokens of a clip, N heads, D head width, L text
tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vedit.models import clip_attention
from vedit.models.clip_attention import ClipProcessor, Frames
from vedit.models.sites import Site
from vedit.models.tensors import Applier


def find_sites(transformer: Any) -> list[Site]:
    """Both attentions of every block, in forward order."""
    return clip_attention.find_sites(
        transformer.transformer_blocks, "transformer_blocks", int(transformer.config.patch_size)
    )


def attached(transformer: Any, sites: Sequence[Site], controller: Applier) -> AbstractContextManager[None]:
    """Put processors in place at these sites; they are themselves again on any exit."""
    return clip_attention.attached(
        [transformer],
        sites,
        lambda transformer: Frames(lambda inputs: int(inputs[1])),  # its positions are told the number
        partial(_Processor, controller),
    )


class _Processor(ClipProcessor):
    """The attention of one module under control."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        if self.is_idle:
            given: Tensor = self.stock(
                attn, hidden_states, encoder_hidden_states, attention_mask, image_rotary_emb, **kwargs
            )
            return given
        return self.run(attn, hidden_states, encoder_hidden_states, image_rotary_emb, attention_mask)

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
