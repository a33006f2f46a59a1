"""Give a branch the tensors of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from vedit.engine.rules.rule import Call, Rule, Steps, mixed, parts
from vedit.models.sites import FEATURES, Select
from vedit.models.tensors import Part, Stage, Tensors

MAPS = ("q", "k")


@dataclass(frozen=True)
class Replace(Rule):
    """Give `targets` the source's tensors at these sites, in these steps.

    tensors: of q, k, v at attention sites, or q_pre, k_pre before rotary positions; at conv sites
    the module's output is meant. Replacing q and k replaces the whole attention map, without making it.
    keep: mask (F, 1, Y, X) of any size, 1 where the targets keep their own; None replaces everywhere.
    amount: share of the source by step; 1 when not given.
    """

    select: Select
    source: str
    targets: tuple[str, ...]
    steps: Steps
    tensors: tuple[str, ...] = MAPS
    name: str = "replace"
    keep: Tensor | None = field(default=None, compare=False)
    amount: Sequence[float] | None = None
    order: int | None = None

    @property
    def stage(self) -> Stage:  # type: ignore[override]
        if self.select.kind in FEATURES:
            return "output"
        return "pre" if all(name.endswith("_pre") for name in self.tensors) else "qkv"

    @property
    def names(self) -> tuple[str, ...]:
        """Of what is replaced."""
        return ("h",) if self.select.kind in FEATURES else self.tensors

    @property
    def tells_tokens_apart(self) -> bool:
        return self.keep is not None

    @property
    def reads(self) -> frozenset[Part]:
        return parts(self.names, [self.source])

    @property
    def writes(self) -> frozenset[Part]:
        return parts(self.names, self.targets)

    def apply(self, tensors: Tensors, call: Call) -> None:
        share = 1.0 if self.amount is None else float(self.amount[call.step])
        for part in self.names:
            source = tensors[part, self.source]
            for target in self.targets:
                own = tensors[part, target]
                tensors[part, target] = self._kept(own, mixed(own, source, share), call, part)

    def _kept(self, own: Tensor, given: Tensor, call: Call, part: str) -> Tensor:
        if self.keep is None:
            return given
        mask = call.mask(self.keep, own.device) if part == "h" else call.tokens(self.keep, own.device)
        return mixed(given, own, mask)
