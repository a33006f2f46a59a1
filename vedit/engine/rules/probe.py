"""Look at attention maps, and keep their sum over the run."""

from __future__ import annotations

from dataclasses import dataclass, field

from vedit.engine.rules.rule import LAST, Call, Rule, Shape, Steps
from vedit.engine.store import MapSize
from vedit.models.sites import Select
from vedit.models.tensors import Part, Stage, Tensors


@dataclass(frozen=True)
class Probe(Rule):
    """Sum the attention maps of a branch over steps, averaged over heads and sites.

    The maps are taken after rules have edited them. key: name in the store. every, first: it looks in
    step `first` and each `every`-th from there.
    """

    stage: Stage = field(default="maps", init=False)
    order: int = field(default=LAST, init=False)
    steps: Steps = field(default=(), init=False)  # it looks however many there are
    select: Select
    branch: str
    key: str
    name: str = "probe"
    every: int = 1
    first: int = 0

    @property
    def reads(self) -> frozenset[Part]:
        return frozenset({("maps", self.branch)})

    def acts(self, step: int) -> bool:
        return (step - self.first) % self.every == 0

    def sums(self, shape: Shape) -> tuple[MapSize, ...]:
        return (MapSize(self.key, shape.frames, shape.queries, shape.keys, shape.sites),)

    def apply(self, tensors: Tensors, call: Call) -> None:
        if call.comes_again:
            return
        assert call.store is not None
        call.store.add(self.key, call.frames, tensors["maps", self.branch].mean(1))
