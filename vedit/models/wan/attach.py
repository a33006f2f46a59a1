"""Rules in the attention of a Wan transformer. Checked against WanAttnProcessor.

Shape letters: B branches, F frames, T tokens of a frame, S tokens of a clip, N heads, D head width, L text
tokens, C their width.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from vedit.models.clip_attention import ClipProcessor, heads

IMAGE_TEXT = 512  # text tokens of a model that also reads a picture, whose tokens come before them


class WanProcessor(ClipProcessor):
    """The attention of one module under control."""

    @staticmethod
    def frames_of(transformer: Any, inputs: tuple[Any, ...]) -> int:
        """Its rotary positions are given the clip itself."""
        return int(inputs[0].shape[2]) // int(transformer.config.patch_size[0])

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
        return context_BLC if attn.add_k_proj is None else context_BLC[:, -IMAGE_TEXT:]

    def besides(self, attn: Any, q_BFNTD: Tensor, context_BLC: Tensor) -> Tensor | None:
        """What the tokens see of the picture that the model also reads."""
        if attn.add_k_proj is None:
            return None
        image_BLC = context_BLC[:, :-IMAGE_TEXT]
        if attn.fused_projections:
            k, v = attn.to_added_kv(image_BLC).chunk(2, dim=-1)
        else:
            k, v = attn.add_k_proj(image_BLC), attn.add_v_proj(image_BLC)
        key, value = (heads(attn, part[:, None])[:, 0] for part in (attn.norm_added_k(k), v))
        frames = q_BFNTD.shape[1]
        out = scaled_dot_product_attention(q_BFNTD.transpose(1, 2).flatten(2, 3), key, value)
        return out.unflatten(2, (frames, -1)).transpose(1, 2)
