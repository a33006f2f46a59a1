"""The sites of a Wan transformer, and rules at them. Checked against WanAttnProcessor.

Shape letters: B branches, F frames, T tokens of a frame, N heads, D head width, L text tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from torch import Tensor

from vedit.models import clip_attention
from vedit.models.clip_attention import ClipProcessor, Frames, heads
from vedit.models.sites import Site
from vedit.models.tensors import Applier

IMAGE_TEXT = 512  # text tokens of a model that also reads a picture, whose tokens come before them


def find_sites(transformer: Any) -> list[Site]:
    """Both attentions of every block, in forward order."""
    return clip_attention.find_sites(transformer.blocks, "blocks", int(transformer.config.patch_size[-1]))


def attached(
    transformers: Sequence[Any], sites: Sequence[Site], controller: Applier, image_text: int = IMAGE_TEXT
) -> AbstractContextManager[None]:
    """Put processors in place at these sites of each transformer; they are themselves again on any exit.

    image_text: text tokens behind those of a picture, where the network reads one.
    """
    return clip_attention.attached(
        transformers, sites, _frames, partial(_Processor, controller, image_text=image_text)
    )


def _frames(transformer: Any) -> Frames:
    """Wan's rotary positions are given the clip itself."""
    patch = int(transformer.config.patch_size[0])
    return Frames(lambda inputs: int(inputs[0].shape[2]) // patch)


class _Processor(ClipProcessor):
    """The attention of one module under control."""

    def __init__(
        self, controller: Applier, path: str, frames: Frames, stock: Any, *, image_text: int
    ) -> None:
        super().__init__(controller, path, frames, stock)
        self.image_text = image_text

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        if self.is_idle:
            given: Tensor = self.stock(
                attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb, **kwargs
            )
            return given
        assert attention_mask is None, "a transformer block of Wan"
        return self.run(attn, hidden_states, encoder_hidden_states, rotary_emb)

    def project(self, attn: Any, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if not attn.fused_projections:
            return super().project(attn, x, context)
        if attn.is_cross_attention:
            q, (k, v) = attn.to_q(x), attn.to_kv(context).chunk(2, dim=-1)
        else:
            q, k, v = attn.to_qkv(x).chunk(3, dim=-1)
        return attn.norm_q(q), attn.norm_k(k), v

    def turn(self, x_BFNTD: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        """Turn pairs of neighbouring numbers by the angle of the token's place, which all heads share."""
        frames = x_BFNTD.shape[1]
        cos_1S1D, sin_1S1D = rotary
        cos, sin = (
            part.unflatten(1, (frames, -1)).transpose(2, 3)  # (1, F, 1, T, D)
            for part in (cos_1S1D[..., 0::2], sin_1S1D[..., 1::2])
        )
        first, second = x_BFNTD.unflatten(-1, (-1, 2)).unbind(-1)
        out = x_BFNTD.new_empty(x_BFNTD.shape)
        out[..., 0::2] = first * cos - second * sin
        out[..., 1::2] = first * sin + second * cos
        return out.type_as(x_BFNTD)

    def text_of(self, attn: Any, context_BLC: Tensor) -> Tensor:
        return context_BLC if attn.add_k_proj is None else context_BLC[:, -self.image_text :]

    def besides(self, attn: Any, q_BFNTD: Tensor, context_BLC: Tensor) -> Tensor | None:
        """What the tokens see of the picture that the model also reads."""
        from torch.nn.functional import scaled_dot_product_attention

        if attn.add_k_proj is None:
            return None
        image_BLC = context_BLC[:, : -self.image_text]
        if attn.fused_projections:
            k, v = attn.to_added_kv(image_BLC).chunk(2, dim=-1)
        else:
            k, v = attn.add_k_proj(image_BLC), attn.add_v_proj(image_BLC)
        key, value = (heads(attn, part[:, None])[:, 0] for part in (attn.norm_added_k(k), v))
        frames = q_BFNTD.shape[1]
        out = scaled_dot_product_attention(q_BFNTD.transpose(1, 2).flatten(2, 3), key, value)
        return out.unflatten(2, (frames, -1)).transpose(1, 2)
