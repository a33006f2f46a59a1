"""Rules outside the network: blend latents after a step, and give a step its own text embedding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from vedit.engine.blend import blend
from vedit.engine.rules.rule import Call, Rule, Steps
from vedit.models.tensors import Part, Stage, Tensors


@dataclass(frozen=True)
class LatentBlend(Rule):
    """After a step keep the latents of `target` inside a mask, and put the source's back outside.

    mask: (F, 1, Y, X) at the latents' size, or a function of the call that makes one, from the sums
    of maps in `call.store` say; such a mask is shown to who runs the plan. source: a stream of the run, or a
    function from the index one past the step to the latents (F, C, Y, X) after it.
    """

    stage: Stage = field(default="latents", init=False)
    select: None = field(default=None, init=False)
    target: str
    source: str | Callable[[int], Tensor] = field(compare=False)
    mask: Tensor | Callable[[Call], Tensor] = field(compare=False)
    steps: Steps
    name: str = "latent blend"
    order: int | None = None

    @property
    def reads(self) -> frozenset[Part]:
        streams = {self.target} if callable(self.source) else {self.target, self.source}
        return frozenset(("latents", stream) for stream in streams)

    @property
    def writes(self) -> frozenset[Part]:
        return frozenset({("latents", self.target)})

    def apply(self, tensors: Tensors, call: Call) -> None:
        own = tensors["latents", self.target]
        source = self.source(call.step + 1) if callable(self.source) else tensors["latents", self.source]
        mask = self.mask
        if callable(mask):
            call.shown["mask"] = mask = mask(call)
        tensors["latents", self.target] = blend(source.to(own), own, mask.to(own.device))


@dataclass(frozen=True)
class Embedding(Rule):
    """Give a branch another text embedding in each step.

    values: (1 or F, L, E) by step index, F the frames of the window.
    """

    stage: Stage = field(default="inputs", init=False)
    select: None = field(default=None, init=False)
    branch: str
    values: Callable[[int], Tensor] = field(compare=False)
    steps: Steps
    name: str = "embedding"
    order: int | None = None

    @property
    def reads(self) -> frozenset[Part]:
        return frozenset()

    @property
    def writes(self) -> frozenset[Part]:
        return frozenset({("text", self.branch)})

    def apply(self, tensors: Tensors, call: Call) -> None:
        own = tensors["text", self.branch]
        tensors["text", self.branch] = call.of_frames(self.values(call.step)).to(own).expand_as(own)
