"""What a method asks of the engine: a rule reads and writes named tensors at a place of the network's pass.

    inputs    text embeddings, before the network is called          text (1 or F, L, E)
    enter     what goes into an attention module; who writes `out`   x (F, T, C), out (F, N, Q, D),
              or `y` of every branch spares its attention            y (F, T, C)
    pre       queries and keys before rotary positions               q_pre, k_pre
    qkv       what attention is computed of                          q, k, v (F, N, T, D), bias (., ., Q, K)
    maps      attention maps, float32                                maps (F, N, Q, K)
    output    attention before its output projection, and the        out (F, N, Q, D); x, the module's input,
              features of a convolution                              (F, T, C); h (F, C, Y, X)
    exit      attention behind its output projection                 y (F, T, C); x
    latents   the latents of each stream after a step                latents (F, C, Y, X)

The controller puts rules in the order of this list and applies them; it knows no class of rule, so
a new primitive is one file beside this one. `bias` is added to the logits: 0 where nobody wrote it.
Shape letters: B branches, F frames, N heads, Q query tokens, K key tokens, T either, D head width,
C channels, Y X rows and columns, L text tokens, E embedding width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
from torch import Tensor

from vedit.engine.blend import resize_mask
from vedit.engine.store import MapSize, MapStore
from vedit.errors import UsageError
from vedit.models.sites import Select, Site
from vedit.models.tensors import Frames, Part, Stage, Tensors

STAGES: tuple[Stage, ...] = ("inputs", "enter", "pre", "qkv", "maps", "output", "exit", "latents")
FRAMES: tuple[Frames, ...] = ("each", "call", "keyframes", "all")  # from narrow to wide
TENSORS: dict[Stage, frozenset[str]] = {
    "inputs": frozenset({"text"}),
    "enter": frozenset({"x", "out", "y"}),
    "pre": frozenset({"q_pre", "k_pre"}),
    "qkv": frozenset({"q", "k", "v", "bias"}),
    "maps": frozenset({"maps"}),
    "output": frozenset({"out", "h"}),
    "exit": frozenset({"y"}),
    "latents": frozenset({"latents"}),
}
LAST = 1000  # the order of a rule that only looks

Steps = tuple[bool, ...]
Indices = slice | Sequence[int]


def parts(tensors: Iterable[str], branches: Iterable[str]) -> frozenset[Part]:
    """Each of some tensors in each of some branches."""
    return frozenset(product(tensors, branches))


def step_range(steps: int, start: float = 0.0, end: float = 1.0) -> Steps:
    """True for the steps floor(start*N) <= i < floor(end*N); i = 0 is the noisiest."""
    # 0.3 * 10 is 2.999...96 in floating point: a share that means a whole step gets that step
    first, last = int(start * steps + 1e-9), int(end * steps + 1e-9)
    return tuple(first <= i < last for i in range(steps))


@dataclass(frozen=True)
class Shape:
    """The sizes that a rule meets: frames of the window; query and key tokens and the width of one site;
    sites.
    """

    frames: int
    queries: int
    keys: int
    width: int
    sites: int


@dataclass(frozen=True)
class Call:
    """Where in the run a rule is applied.

    step: index of the sampling step. frames: of the window that go through the network in this call.
    total: frames of the window. keyframes: those that a pass of their own has shown before this
    one; `is_key_pass` in that pass itself, and `comes_again` if its frames do. site, grid: the module,
    and its rows and columns.
    memory: what the rule, and those of its kin, keep at this site until the step ends. store: sums of maps
    over the run. shown: what rules have to show to who runs the plan, such as the "mask" of a blend.
    """

    step: int
    frames: Indices
    total: int
    keyframes: tuple[int, ...] = ()
    is_key_pass: bool = False
    comes_again: bool = False
    site: Site | None = None
    grid: tuple[int, int] = (0, 0)
    memory: dict[Any, Any] = field(default_factory=dict)
    store: MapStore | None = None
    shown: dict[str, Tensor] = field(default_factory=dict)

    @property
    def numbers(self) -> list[int]:
        """The frames of the call by their index in the window."""
        return list(range(self.total)[self.frames]) if isinstance(self.frames, slice) else list(self.frames)

    def of_frames(self, mask_F1YX: Tensor) -> Tensor:
        """The call's frames of a tensor of the whole window; one of a single frame serves all."""
        return mask_F1YX if len(mask_F1YX) == 1 else mask_F1YX[self.frames]

    def mask(self, mask_F1YX: Tensor, device: torch.device) -> Tensor:
        """A mask for the call's frames at the module's grid, bool (F, 1, y, x)."""
        return resize_mask(self.of_frames(mask_F1YX) > 0.5, self.grid).to(device)

    def tokens(self, mask_F1YX: Tensor, device: torch.device) -> Tensor:
        """The same by token, (F, 1, T, 1), as heads x tokens x width broadcast; over frames, where they
        are the tokens, (T, 1, F, 1).
        """
        by_token = self.mask(mask_F1YX, device).flatten(1)[:, None, :, None]
        is_over_frames = self.site is not None and self.site.kind == "temporal"
        return by_token.expand(len(self.numbers), -1, -1, -1).transpose(0, 2) if is_over_frames else by_token


class Rule(ABC):
    """One thing that is read or written in a pass.

    select: the sites; None for `inputs` and `latents`, which have none. steps: when it acts, by step
    index. order: of two rules that write one tensor of one branch in one step, the smaller acts
    first; without an order that is an error. kin: rules of one name here share what they keep.
    """

    select: Select | None
    steps: Steps
    name: str
    order: int | None = None
    frames: Frames = "each"
    kin: str = ""
    stage: Stage

    @property
    def ends_keyframes(self) -> bool:
        """Whether the pass that shows keyframes gives them what a later one would: they need no other."""
        return False

    @property
    def tells_tokens_apart(self) -> bool:
        """Whether it goes by where a token is, so that tokens may not be joined beside it."""
        return True

    @property
    def reads(self) -> frozenset[Part]:
        """The tensors looked at: those that it changes, unless it says otherwise."""
        return self.writes

    @property
    def writes(self) -> frozenset[Part]:
        """The tensors changed: none, unless it says so."""
        return frozenset()

    @abstractmethod
    def apply(self, tensors: Tensors, call: Call) -> None:
        """Act; called in `steps` only, once for each site and call of the network."""

    def sums(self, shape: Shape) -> tuple[MapSize, ...]:
        """Sums of maps that the rule keeps over the whole run."""
        return ()

    def bytes(self, shape: Shape) -> int:
        """What the rule keeps between the calls of a step, over all of its sites."""
        return 0

    def keyframes(self, step: int) -> Sequence[int]:
        """The frames that are to go through first, for a rule whose `frames` is "keyframes"."""
        return ()

    def groups(self, step: int, total: int) -> Sequence[Sequence[int]]:
        """Which frames go through together, where the rule cares.

        For "keyframes": parts of them, ascending; the frames up to the last one of a part follow it.
        For "call": all frames of the window, in the order of the calls.
        """
        keys = self.keyframes(step)
        return (keys,) if keys else ()

    def acts(self, step: int) -> bool:
        return self.steps[step]


@dataclass(frozen=True)
class Plan:
    """Everything done to a run: rules that write, and probes that look, which come last in their stage."""

    rules: tuple[Rule, ...] = ()
    probes: tuple[Rule, ...] = field(default=())

    @property
    def ordered(self) -> list[Rule]:
        """All of them as they are applied: by stage, then order, then as given."""
        return sorted(
            (*self.rules, *self.probes), key=lambda rule: (STAGES.index(rule.stage), rule.order or 0)
        )

    def check(self, branches: Sequence[str]) -> None:
        """Raise UsageError for an unknown stage or tensor, a branch that this run lacks, and two writers
        without an order.
        """
        for rule in (*self.rules, *self.probes):
            _check_place(rule)
        named = {branch for rule in (*self.rules, *self.probes) for _, branch in rule.reads | rule.writes}
        missing = named - set(branches)
        if missing:
            raise UsageError(
                f"the plan names branches that this run does not have: {', '.join(sorted(missing))}.",
                f"It has {', '.join(branches)}.",
            )

    def check_writers(self, rules: Sequence[Rule], where: str) -> None:
        """Two rules that write one tensor of one branch in one step at one site need an order."""
        for first, second in _pairs(rules):
            shared = first.writes & second.writes
            if (
                shared
                and first.order == second.order
                and any(a and b for a, b in zip(first.steps, second.steps, strict=False))
            ):
                tensor, branch = min(shared)
                raise UsageError(
                    f"{first.name} and {second.name} both write {tensor} of {branch} at {where}, and nothing"
                    " says which comes first.",
                    "Rules that write one tensor in one step need an order.",
                )


def _check_place(rule: Rule) -> None:
    if rule.stage not in STAGES or rule.frames not in FRAMES:
        raise UsageError(
            f"{rule.name}: there is no stage {rule.stage!r} with frames {rule.frames!r}.",
            f"Stages are {', '.join(STAGES)}.",
        )
    if (rule.select is None) != (rule.stage in ("inputs", "latents")):
        raise UsageError(
            f"{rule.name}: the stage {rule.stage} {'needs' if rule.select is None else 'has no'} sites."
        )
    unknown = {tensor for tensor, _ in rule.writes} - TENSORS[rule.stage]
    if unknown:
        raise UsageError(
            f"{rule.name}: the stage {rule.stage} has no tensor {', '.join(sorted(unknown))} to write.",
            f"It has {', '.join(sorted(TENSORS[rule.stage]))}.",
        )


def _pairs(rules: Sequence[Rule]) -> Iterator[tuple[Rule, Rule]]:
    for place, first in enumerate(rules):
        for second in rules[place + 1 :]:
            yield first, second


def mixed(own: Tensor, given: Tensor, share: Tensor | float) -> Tensor:
    """`given` where share is 1, `own` where it is 0, bit for bit; in proportion between."""
    if isinstance(share, float):
        return given if share == 1 else own if share == 0 else own + share * (given - own)
    if share.dtype == torch.bool:
        return torch.where(share, given, own)
    share = share.to(own)
    return torch.where(share == 1, given, torch.where(share == 0, own, own + share * (given - own)))


EditMaps = Callable[[Tensor, Tensor, int], Tensor]
