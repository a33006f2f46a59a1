"""The sites of a Wan transformer, and rules at them: attention processors that are put back.

Self-attention sees all tokens of a clip at once; rules are given them by frame, (F, N, T, D), and what they
leave is put together again. Text is the same for all frames, so each frame has cross-attention maps of
its own. Order inside one module: rules of `enter`; project q, k, v and normalise q, k over all heads; rules
of `pre`; rotary positions; rules of `qkv`; attention. A module at which no rule acts in a step runs its own
processor. Checked against WanAttnProcessor.
Shape letters: B branches, F frames, T tokens of a frame, N heads, D head width, L text tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from vedit.models.attention import attend, attend_together
from vedit.models.sites import Site
from vedit.models.tensors import Applier, Stage, Tensors

STAGES: tuple[Stage, ...] = ("enter", "pre", "qkv", "maps", "output")
TENSORS = {
    "self": frozenset({"q_pre", "k_pre", "q", "k", "v", "out", "x"}),
    "cross": frozenset({"q", "k", "v", "bias", "maps", "out", "x"}),
}
IMAGE_TEXT = 512  # text tokens of a model that also reads a picture, whose tokens come before them


def find_sites(transformer: Any) -> list[Site]:
    """Both attentions of every block, in forward order."""
    scale = int(transformer.config.patch_size[-1])
    return [
        Site(f"blocks.{block}.{name}", kind, 2 * block + place, scale)
        for block in range(len(transformer.blocks))
        for place, (name, kind) in enumerate((("attn1", "self"), ("attn2", "cross")))
    ]


@contextmanager
def attached(
    transformers: Sequence[Any], sites: Sequence[Site], controller: Applier, image_text: int = IMAGE_TEXT
) -> Iterator[None]:
    """Put processors in place at these sites of each transformer; they are themselves again on any exit.

    image_text: text tokens behind those of a picture, where the network reads one.
    """
    before: list[tuple[Any, Any]] = []
    hooks = []
    try:
        for transformer in transformers:
            clip = _Clip(int(transformer.config.patch_size[0]))
            hooks.append(transformer.rope.register_forward_pre_hook(clip.see))
            for site in sites:
                module = transformer.get_submodule(site.path)
                before.append((module, module.processor))
                module.processor = _Processor(controller, site.path, clip, module.processor, image_text)
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, processor in reversed(before):
            module.processor = processor


class _Clip:
    """How many frames of tokens the call at hand has; the rotary positions are given the clip itself."""

    def __init__(self, patch: int) -> None:
        self.patch, self.frames = patch, 1

    def see(self, module: Any, inputs: tuple[Tensor, ...]) -> None:
        self.frames = inputs[0].shape[2] // self.patch


class _Processor:
    """The attention of one module under control."""

    _attention_backend = None
    _parallel_config = None

    def __init__(self, controller: Applier, path: str, clip: _Clip, stock: Any, image_text: int) -> None:
        self.controller, self.path, self.clip, self.stock = controller, path, clip, stock
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
        if not any(self.controller.acting(self.path, stage) for stage in STAGES):
            given: Tensor = self.stock(
                attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb, **kwargs
            )
            return given
        assert attention_mask is None, "a transformer block of Wan"
        branches = self.controller.branches
        x_BFTC = hidden_states.unflatten(1, (self.clip.frames, -1))
        if entering := self.controller.acting(self.path, "enter"):
            entered = Tensors({"x": x_BFTC}, branches)
            self.controller.apply(entering, self.path, entered)
            if all(entered.get("out", branch) is not None for branch in branches):
                return _projected(attn, entered.stacked("out"))
            x_BFTC = entered.stacked("x")
        if encoder_hidden_states is None:
            return self._within_clip(attn, x_BFTC, rotary_emb)
        return self._to_text(attn, x_BFTC, encoder_hidden_states)

    def _within_clip(self, attn: Any, x_BFTC: Tensor, rotary_emb: tuple[Tensor, Tensor] | None) -> Tensor:
        parts = dict(zip(("q_pre", "k_pre", "v"), _projections(attn, x_BFTC, x_BFTC), strict=True))
        tensors = Tensors({**{name: _heads(attn, part) for name, part in parts.items()}, "x": x_BFTC},
                          self.controller.branches)  # fmt: skip
        self.controller.apply(self.controller.acting(self.path, "pre"), self.path, tensors)
        for name in ("q", "k"):
            stacked = tensors.stacked(f"{name}_pre")
            tensors.put(name, stacked if rotary_emb is None else _rotated(stacked, *rotary_emb))
        self.controller.apply(self.controller.acting(self.path, "qkv"), self.path, tensors)
        out = attend_together(self.controller, self.path, tensors, _scale(attn))
        return _projected(attn, out.type_as(x_BFTC))

    def _to_text(self, attn: Any, x_BFTC: Tensor, context_BLC: Tensor) -> Tensor:
        image_BLC = None
        if attn.add_k_proj is not None:
            first = context_BLC.shape[1] - self.image_text
            image_BLC, context_BLC = context_BLC[:, :first], context_BLC[:, first:]
        q, k, v = _projections(attn, x_BFTC, context_BLC)
        frames = x_BFTC.shape[1]
        text = {name: _heads(attn, part[:, None]).expand(-1, frames, -1, -1, -1)
                for name, part in (("k", k), ("v", v))}  # fmt: skip
        tensors = Tensors({"q": _heads(attn, q), **text, "x": x_BFTC}, self.controller.branches)
        self.controller.apply(self.controller.acting(self.path, "qkv"), self.path, tensors)
        if image_BLC is None:
            return _projected(attn, attend(self.controller, self.path, tensors, _scale(attn)).type_as(x_BFTC))
        seen = self._of_picture(attn, tensors.stacked("q"), image_BLC)
        out = attend(self.controller, self.path, tensors, _scale(attn))
        return _projected(attn, out.type_as(x_BFTC) + seen.type_as(x_BFTC))

    def _of_picture(self, attn: Any, q_BFNTD: Tensor, image_BLC: Tensor) -> Tensor:
        """What the tokens see of the picture that the model also reads."""
        from torch.nn.functional import scaled_dot_product_attention

        if attn.fused_projections:
            k, v = attn.to_added_kv(image_BLC).chunk(2, dim=-1)
        else:
            k, v = attn.add_k_proj(image_BLC), attn.add_v_proj(image_BLC)
        key, value = (_heads(attn, part[:, None])[:, 0] for part in (attn.norm_added_k(k), v))
        frames = q_BFNTD.shape[1]
        out = scaled_dot_product_attention(q_BFNTD.transpose(1, 2).flatten(2, 3), key, value)
        return out.unflatten(2, (frames, -1)).transpose(1, 2)


def _projections(attn: Any, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value, the first two normalised over all heads together."""
    if attn.fused_projections and not attn.is_cross_attention:
        q, k, v = attn.to_qkv(x).chunk(3, dim=-1)
    elif attn.fused_projections:
        q, (k, v) = attn.to_q(x), attn.to_kv(context).chunk(2, dim=-1)
    else:
        q, k, v = attn.to_q(x), attn.to_k(context), attn.to_v(context)
    return attn.norm_q(q), attn.norm_k(k), v


def _heads(attn: Any, tensor: Tensor) -> Tensor:
    """(B, F, T, N*D) -> (B, F, N, T, D)."""
    return tensor.unflatten(-1, (attn.heads, -1)).transpose(2, 3)


def _scale(attn: Any) -> float:
    return float((attn.inner_dim // attn.heads) ** -0.5)


def _rotated(x_BFNTD: Tensor, cos_1S1D: Tensor, sin_1S1D: Tensor) -> Tensor:
    """Turn pairs of neighbouring numbers by the angle of the token's place."""
    frames = x_BFNTD.shape[1]
    cos, sin = (
        part.unflatten(1, (frames, -1)).transpose(2, 3)  # (1, F, 1, T, D)
        for part in (cos_1S1D[..., 0::2], sin_1S1D[..., 1::2])
    )
    first, second = x_BFNTD.unflatten(-1, (-1, 2)).unbind(-1)
    out = x_BFNTD.new_empty(x_BFNTD.shape)
    out[..., 0::2] = first * cos - second * sin
    out[..., 1::2] = first * sin + second * cos
    return out.type_as(x_BFNTD)


def _projected(attn: Any, out_BFNTD: Tensor) -> Tensor:
    hidden_states = out_BFNTD.transpose(2, 3).flatten(3).flatten(1, 2)
    projected: Tensor = attn.to_out[1](attn.to_out[0](hidden_states))
    return projected
