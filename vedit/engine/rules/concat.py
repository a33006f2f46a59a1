"""Let a branch attend to the tokens of another beside its own."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from vedit.engine.rules.rule import Call, Rule, Steps, parts
from vedit.models.sites import Select
from vedit.models.tensors import Part, Stage, Tensors


@dataclass(frozen=True)
class Concat(Rule):
    """Join the source's keys and values, frame by frame, behind those of `targets`."""

    stage: Stage = field(default="qkv", init=False)
    select: Select
    source: str
    targets: tuple[str, ...]
    steps: Steps
    tensors: tuple[str, ...] = ("k", "v")
    name: str = "concat"
    order: int | None = None

    @property
    def reads(self) -> frozenset[Part]:
        return frozenset(
            (tensor, branch) for tensor in self.tensors for branch in (self.source, *self.targets)
        )

    @property
    def writes(self) -> frozenset[Part]:
        return parts(self.tensors, self.targets)

    def apply(self, tensors: Tensors, call: Call) -> None:
        for tensor in self.tensors:
            given = tensors[tensor, self.source]
            for target in self.targets:
                tensors[tensor, target] = torch.cat([tensors[tensor, target], given], dim=2)
