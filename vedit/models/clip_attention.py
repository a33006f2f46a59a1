"""Rules in the attention of a transformer that sees whole clips: processors that are put back.

Self-attention sees all tokens of a clip at once; rules are given them by frame, (F, N, T, D), and what they
leave is put together again. Text is the same for all frames, so each frame has cross-attention maps of
its own. Order inside one module: rules of `enter`; project q, k, v and normalise q, k over all heads; rules
of `pre`; rotary positions; rules of `qkv`; attention. A module at which no rule acts in a step runs its own
processor. A family says how its modules project, turn and are called.
Shape letters: B branches, F frames, T tokens of a frame, N heads, D head width, L text tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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


def find_sites(transformer: Any, blocks: str, scale: int) -> list[Site]:
    """Both attentions of every block, in forward order. blocks: the name of their list; scale: of a patch."""
    return [
        Site(f"{blocks}.{block}.{attention}", kind, 2 * block + place, scale)
        for block in range(len(getattr(transformer, blocks)))
        for place, (attention, kind) in enumerate((("attn1", "self"), ("attn2", "cross")))
    ]


class Frames:
    """How many frames of tokens the call at hand has, read where the rotary positions are asked for."""

    count = 1

    def __init__(self, transformer: Any, read: Callable[[Any, tuple[Any, ...]], int]) -> None:
        self.transformer, self.read = transformer, read

    def see(self, module: Any, inputs: tuple[Any, ...]) -> None:
        self.count = self.read(self.transformer, inputs)


class ClipProcessor:
    """The attention of one module under control.

    stock: the processor that is there when no rule acts.
    """

    _attention_backend = None
    _parallel_config = None

    def __init__(self, controller: Applier, path: str, frames: Frames, stock: Any) -> None:
        self.controller, self.path, self.frames, self.stock = controller, path, frames, stock

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary: tuple[Tensor, Tensor] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        if self.is_idle:
            given: Tensor = self.stock(
                attn, hidden_states, encoder_hidden_states, attention_mask, rotary, **kwargs
            )
            return given
        assert encoder_hidden_states is not None or attention_mask is None, "a clip sees all of itself"
        return self._run(attn, hidden_states, encoder_hidden_states, rotary, attention_mask)

    @staticmethod
    def frames_of(transformer: Any, inputs: tuple[Any, ...]) -> int:
        """Frames of tokens, by what the rotary positions are given."""
        raise NotImplementedError

    @property
    def is_idle(self) -> bool:
        return not any(self.controller.acting(self.path, stage) for stage in STAGES)

    def project(self, attn: Any, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value, the first two normalised over all heads together."""
        return attn.norm_q(attn.to_q(x)), attn.norm_k(attn.to_k(context)), attn.to_v(context)

    def turn(self, x_BFNTD: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        """Queries or keys at their rotary positions."""
        raise NotImplementedError

    def besides(self, attn: Any, q_BFNTD: Tensor, context_BLC: Tensor) -> Tensor | None:
        """What is added to what the tokens see of the text, if anything."""
        return None

    def text_of(self, attn: Any, context_BLC: Tensor) -> Tensor:
        """The text in what a module sees beside the clip."""
        return context_BLC

    def _run(
        self,
        attn: Any,
        hidden_states: Tensor,
        context_BLC: Tensor | None,
        rotary: tuple[Tensor, Tensor] | None,
        bias_B1L: Tensor | None = None,
    ) -> Tensor:
        """What the module makes of all frames' tokens. bias: added to the logits of each text token."""
        branches = self.controller.branches
        x_BFTC = hidden_states.unflatten(1, (self.frames.count, -1))
        if entering := self.controller.acting(self.path, "enter"):
            entered = Tensors({"x": x_BFTC}, branches)
            self.controller.apply(entering, self.path, entered)
            if all(entered.get("out", branch) is not None for branch in branches):
                return projected(attn, entered.stacked("out"))
            x_BFTC = entered.stacked("x")
        if context_BLC is None:
            return self._within_clip(attn, x_BFTC, rotary)
        return self._to_text(attn, x_BFTC, context_BLC, bias_B1L)

    def _within_clip(self, attn: Any, x_BFTC: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        parts = dict(zip(("q_pre", "k_pre", "v"), self.project(attn, x_BFTC, x_BFTC), strict=True))
        tensors = Tensors({**{name: heads(attn, part) for name, part in parts.items()}, "x": x_BFTC},
                          self.controller.branches)  # fmt: skip
        self.controller.apply(self.controller.acting(self.path, "pre"), self.path, tensors)
        for name in ("q", "k"):
            stacked = tensors.stacked(f"{name}_pre")
            tensors.put(name, stacked if rotary is None else self.turn(stacked, rotary))
        self.controller.apply(self.controller.acting(self.path, "qkv"), self.path, tensors)
        out = attend_together(self.controller, self.path, tensors, scale_of(attn))
        return projected(attn, out.type_as(x_BFTC))

    def _to_text(self, attn: Any, x_BFTC: Tensor, context_BLC: Tensor, bias_B1L: Tensor | None) -> Tensor:
        q, k, v = self.project(attn, x_BFTC, self.text_of(attn, context_BLC))
        frames = x_BFTC.shape[1]
        text = {name: heads(attn, part[:, None]).expand(-1, frames, -1, -1, -1)
                for name, part in (("k", k), ("v", v))}  # fmt: skip
        tensors = Tensors({"q": heads(attn, q), **text, "x": x_BFTC}, self.controller.branches)
        if bias_B1L is not None:
            for branch, place in self.controller.branches.items():
                tensors["bias", branch] = bias_B1L[place, None, None]
        self.controller.apply(self.controller.acting(self.path, "qkv"), self.path, tensors)
        seen = self.besides(attn, tensors.stacked("q"), context_BLC)
        out = attend(self.controller, self.path, tensors, scale_of(attn)).type_as(x_BFTC)
        return projected(attn, out if seen is None else out + seen.type_as(x_BFTC))


@contextmanager
def attached(
    transformers: Sequence[Any], sites: Sequence[Site], controller: Applier, processor: type[ClipProcessor]
) -> Iterator[None]:
    """Put processors in place at these sites of each transformer; they are themselves again on any exit."""
    before: list[tuple[Any, Any]] = []
    hooks = []
    try:
        for transformer in transformers:
            frames = Frames(transformer, processor.frames_of)
            hooks.append(transformer.rope.register_forward_pre_hook(frames.see))
            for site in sites:
                module = transformer.get_submodule(site.path)
                before.append((module, module.processor))
                module.processor = processor(controller, site.path, frames, module.processor)
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, stock in reversed(before):
            module.processor = stock


def heads(attn: Any, tensor: Tensor) -> Tensor:
    """(B, F, T, N*D) -> (B, F, N, T, D)."""
    return tensor.unflatten(-1, (attn.heads, -1)).transpose(2, 3)


def scale_of(attn: Any) -> float:
    return float((attn.inner_dim // attn.heads) ** -0.5)


def projected(attn: Any, out_BFNTD: Tensor) -> Tensor:
    """What leaves a module, all frames' tokens in a row."""
    hidden_states = out_BFNTD.transpose(2, 3).flatten(3).flatten(1, 2)
    made: Tensor = attn.to_out[1](attn.to_out[0](hidden_states))
    return made
