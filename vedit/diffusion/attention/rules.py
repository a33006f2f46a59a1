"""What a method asks of the engine: rules that write sites, probes that read them, as data.

Shape letters: B branches, F frames, N heads, Q query tokens, K key tokens, D head width,
L text tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from vedit.diffusion.attention.locate import Select
from vedit.errors import UsageError

Steps = tuple[bool, ...]
EditMaps = Callable[[Tensor, Tensor, int], Tensor]


def step_range(steps: int, start: float = 0.0, end: float = 1.0) -> Steps:
    """True for the steps floor(start*N) <= i < floor(end*N); i = 0 is the noisiest."""
    # 0.3 * 10 is 2.999...96 in floating point: a share that means a whole step gets that step
    first, last = int(start * steps + 1e-9), int(end * steps + 1e-9)
    return tuple(first <= i < last for i in range(steps))


@dataclass(frozen=True)
class Replace:
    """Give `targets` the source's tensors at these sites, in these steps.

    tensors: of "q", "k", "v" at attention sites; at conv sites the module's output.
    Replacing q and k replaces the whole attention map, without making it.
    keep: mask (F, 1, Y, X) of any size, 1 where the targets keep their own; None replaces everywhere.
    """

    select: Select
    source: str
    targets: tuple[str, ...]
    steps: Steps
    tensors: tuple[str, ...] = ("q", "k")
    name: str = "replace"
    keep: Tensor | None = field(default=None, compare=False)


@dataclass(frozen=True)
class MapColumns:
    """Replace the cross-attention maps of `target` by edit(source maps, target maps, step).

    edit: gets and gives float32 probabilities (F, N, Q, L); called only in `steps`.
    """

    select: Select
    source: str
    target: str
    edit: EditMaps
    steps: Steps
    name: str = "map columns"


@dataclass(frozen=True)
class Probe:
    """Sum the attention maps of a branch over steps, averaged over heads and sites.

    The maps are taken after rules have edited them. key: name in the store.
    """

    select: Select
    branch: str
    key: str
    name: str = "probe"


@dataclass(frozen=True)
class Plan:
    """Everything done to attention in a run: rules in the order they apply, and probes."""

    rules: tuple[Replace | MapColumns, ...] = ()
    probes: tuple[Probe, ...] = field(default=())

    def check_branches(self, branches: Sequence[str]) -> None:
        """Every branch that a rule or a probe names must exist."""
        named = {rule.source for rule in self.rules} | {probe.branch for probe in self.probes}
        for rule in self.rules:
            named |= set(rule.targets) if isinstance(rule, Replace) else {rule.target}
        missing = named - set(branches)
        if missing:
            raise UsageError(f"the plan names branches that this run does not have: {', '.join(sorted(missing))}.", f"It has {', '.join(branches)}.")
