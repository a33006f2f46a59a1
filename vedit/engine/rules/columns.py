"""Edit the cross-attention maps of a branch, column by column."""

from __future__ import annotations

from dataclasses import dataclass, field

from vedit.engine.rules.rule import Call, EditMaps, Rule, Steps
from vedit.models.sites import Select
from vedit.models.tensors import Part, Stage, Tensors


@dataclass(frozen=True)
class MapColumns(Rule):
    """Replace the attention maps of `target` by edit(source maps, target maps, step).

    edit: gets and gives float32 probabilities (F, N, Q, K); called only in `steps`.
    """

    stage: Stage = field(default="maps", init=False)
    select: Select
    source: str
    target: str
    edit: EditMaps
    steps: Steps
    name: str = "map columns"
    order: int | None = None

    @property
    def reads(self) -> frozenset[Part]:
        return frozenset({("maps", self.source), ("maps", self.target)})

    @property
    def writes(self) -> frozenset[Part]:
        return frozenset({("maps", self.target)})

    def apply(self, tensors: Tensors, call: Call) -> None:
        tensors["maps", self.target] = self.edit(
            tensors["maps", self.source], tensors["maps", self.target], call.step
        )
