"""Write what attention gives: blended with another branch, or made by somebody else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from vedit.engine.rules.rule import Call, Rule, Steps, mixed
from vedit.models.sites import Select
from vedit.models.tensors import Frames, Part, Stage, Tensors


@dataclass(frozen=True)
class BlendOut(Rule):
    """Keep the output of `target` where the mask is 1, take that of `source` where it is 0, in proportion
    between.

    mask: (F or 1, 1, Y, X) of any size, or a function of the call that gives one (F, 1, T, 1) by token.
    Blending the rows of maps, where values are shared, is the same as blending outputs.
    """

    stage: Stage = field(default="output", init=False)
    select: Select
    source: str
    target: str
    mask: Tensor | Callable[[Call], Tensor] = field(compare=False)
    steps: Steps
    name: str = "blend out"
    order: int | None = None

    @property
    def reads(self) -> frozenset[Part]:
        return frozenset({("out", self.source), ("out", self.target)})

    @property
    def writes(self) -> frozenset[Part]:
        return frozenset({("out", self.target)})

    def apply(self, tensors: Tensors, call: Call) -> None:
        own = tensors["out", self.target]
        share = self.mask(call).to(own.device) if callable(self.mask) else call.tokens(self.mask, own.device)
        tensors["out", self.target] = mixed(tensors["out", self.source], own, share)


@dataclass(frozen=True)
class Override(Rule):
    """Put in the place of the output of `branch` what `make` gives.

    make: from the tensors of the module and the call to (F, N, Q, D); it may read the module's input
    "x" (F, Q, C) and q, k, v of every branch, and keep things in `call.memory` until the step ends.
    reach: which frames it has to see.
    """

    stage: Stage = field(default="output", init=False)
    select: Select
    branch: str
    make: Callable[[Tensors, Call], Tensor] = field(compare=False)
    steps: Steps
    reach: Frames = "each"
    chosen: Callable[[int], tuple[int, ...]] | None = field(default=None, compare=False)
    name: str = "override"
    order: int | None = None

    @property
    def frames(self) -> Frames:  # type: ignore[override]
        return self.reach

    def keyframes(self, step: int) -> tuple[int, ...]:
        return () if self.chosen is None else self.chosen(step)

    @property
    def writes(self) -> frozenset[Part]:
        return frozenset({("out", self.branch)})

    def apply(self, tensors: Tensors, call: Call) -> None:
        tensors["out", self.branch] = self.make(tensors, call)
