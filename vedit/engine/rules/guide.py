"""Keep what a pass of the source showed, and let queries, keys and values of another run go by it.

Source: Yang et al. 2024 (FRESCO), eq. 5-6, and williamyang1991/FRESCO; docs/methods.md 7.9.
Shape letters: F frames, N heads, T tokens, M chosen tokens, D head width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from vedit.engine.rules.rule import Call, Rule, Steps, parts
from vedit.models.sites import FEATURES, Select
from vedit.models.tensors import Frames, Part, Stage, Tensors

Kept = dict[tuple[str, str], list[Tensor]]  # by site and tensor, in the order of the frames


@dataclass(frozen=True)
class Keep(Rule):
    """Keep tensors of a branch in `into`, where they stay after the run; frames come in their order."""

    select: Select
    branch: str
    into: Kept = field(compare=False)
    steps: Steps = (True,)
    tensors: tuple[str, ...] = ("q", "k")
    name: str = "what the source shows"

    @property
    def stage(self) -> Stage:  # type: ignore[override]
        return "output" if self.select.kind in FEATURES else "qkv"

    @property
    def reads(self) -> frozenset[Part]:
        return parts(self.tensors, [self.branch])

    def apply(self, tensors: Tensors, call: Call) -> None:
        assert call.site is not None
        for part in self.tensors:
            self.into.setdefault((call.site.path, part), []).append(tensors[part, self.branch])


def kept_at(kept: Kept, call: Call, part: str, otherwise: Tensor) -> Tensor:
    """What was kept of the call's frames at its site; `otherwise` where nothing was, as before a run."""
    assert call.site is not None
    found = kept.get((call.site.path, part))
    return otherwise if found is None else torch.cat(found)[call.numbers]


@dataclass(frozen=True)
class SpatialGuide(Rule):
    """Mix the queries of each frame by the source's maps: softmax(w Q_s K_s^T / sqrt(D)) Q.

    weight: w; the paper divides by it and the code, as here, multiplies.
    """

    select: Select
    branches: tuple[str, ...]
    kept: Kept = field(compare=False)
    steps: Steps
    weight: float = 0.2
    name: str = "queries guided by the source"
    order: int | None = None
    stage: Stage = field(default="qkv", init=False)

    @property
    def writes(self) -> frozenset[Part]:
        return parts("q", self.branches)

    def apply(self, tensors: Tensors, call: Call) -> None:
        for branch in self.branches:
            own = tensors["q", branch]
            query, key = (kept_at(self.kept, call, part, own).to(own) for part in "qk")
            # attention whose values are the queries: no map is made
            scale = self.weight * own.shape[-1] ** -0.5
            tensors["q", branch] = F.scaled_dot_product_attention(query, key, own, scale=scale)


@dataclass(frozen=True)
class GatherTokens(Rule):
    """Give all frames the keys and values of chosen tokens, of whichever frames.

    tokens: by the module's grid, (M, 2): a frame of the window and a token there.
    """

    select: Select
    branches: tuple[str, ...]
    tokens: Callable[[tuple[int, int]], Tensor] = field(compare=False)
    steps: Steps
    name: str = "keys and values of chosen tokens"
    order: int | None = None
    stage: Stage = field(default="qkv", init=False)
    frames: Frames = field(default="all", init=False)

    @property
    def writes(self) -> frozenset[Part]:
        return parts("kv", self.branches)

    def apply(self, tensors: Tensors, call: Call) -> None:
        frame_M, token_M = self.tokens(call.grid).unbind(1)
        for part, branch in self.writes:
            own_FNTD = tensors[part, branch]
            # an index on both sides of the heads would move them to the back
            chosen_MND = own_FNTD.transpose(1, 2)[frame_M.to(own_FNTD.device), token_M.to(own_FNTD.device)]
            tensors[part, branch] = chosen_MND.transpose(0, 1)[None].expand(len(own_FNTD), -1, -1, -1)
