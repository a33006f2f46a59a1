"""Change features until neighbouring frames agree along the motion, and each frame with the source.

Source: Yang et al. 2024 (FRESCO), eq. 2-4, and williamyang1991/FRESCO; docs/methods.md 7.9. As in the code
means stand for the paper's sums, agreement is asked of both directions, and afterwards each channel gets the
mean and deviation it had (AdaIN), so that the next layer finds what it expects.
Shape letters: F frames, P = F - 1 pairs, C channels, Y X rows and columns, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vedit.engine.rules.guide import Kept, kept_at
from vedit.engine.rules.rule import Call, Rule, Shape, Steps, parts
from vedit.models.sites import Select
from vedit.models.tensors import Frames, Part, Stage, Tensors
from vedit.motion import Warps, warped

COPIES = 6  # of the features: themselves, their gradient, two moments, and both warps


@dataclass(frozen=True)
class OptimiseFeatures(Rule):
    """Take steps of Adam on the features of each branch.

    warps: of a grid; None where no motion is known. kept: the source's features, "h". weight: of the
    resemblance within a frame.
    """

    select: Select
    branches: tuple[str, ...]
    warps: Callable[[tuple[int, int]], Warps | None] = field(compare=False)
    kept: Kept = field(compare=False)
    steps: Steps
    iterations: int = 20
    lr: float = 0.2
    weight: float = 100.0
    name: str = "features optimised"
    order: int | None = None
    stage: Stage = field(default="output", init=False)
    frames: Frames = field(default="all", init=False)

    @property
    def writes(self) -> frozenset[Part]:
        return parts("h", self.branches)

    def bytes(self, shape: Shape) -> int:
        """Of one branch at a time, and a map of resemblance of a frame with its gradient."""
        features = COPIES * shape.frames * shape.queries * shape.width
        return 4 * (features + 3 * shape.queries**2)

    def apply(self, tensors: Tensors, call: Call) -> None:
        warps = self.warps(call.grid)
        for branch in self.branches:
            own = tensors["h", branch]
            if own.is_meta or not self.iterations:
                continue
            source = kept_at(self.kept, call, "h", own)
            tensors["h", branch] = self._agreeing(own, source, warps)

    def _agreeing(self, own_FCYX: Tensor, source_FCYX: Tensor, warps: Warps | None) -> Tensor:
        # tensors made in inference mode can never be differentiated: copies made outside it can
        with torch.inference_mode(False), torch.enable_grad():
            before = own_FCYX.clone().to(torch.promote_types(own_FCYX.dtype, torch.float32))
            source = source_FCYX.clone().to(before)
            features = before.clone().requires_grad_()
            adam = torch.optim.Adam([features], lr=self.lr)
            for _ in range(self.iterations):
                adam.zero_grad()
                if warps is not None:
                    torch.autograd.backward(disagreement(features, warps))
                for part in unlikeness(features, source):
                    torch.autograd.backward(self.weight * part)
                adam.step()
            return restyled(features.detach(), before).to(own_FCYX)


def disagreement(features_FCYX: Tensor, warps: Warps) -> Tensor:
    """How far neighbouring frames are apart where one shows what the other does, eq. 2."""
    earlier, later = features_FCYX[:-1], features_FCYX[1:]
    gaps = (
        ((later - warped(earlier, warps.backward.to(later))) * warps.backward_seen.to(later)).abs().mean(),
        ((earlier - warped(later, warps.forward.to(later))) * warps.forward_seen.to(later)).abs().mean(),
    )
    return gaps[0] + gaps[1]


def unlikeness(features_FCYX: Tensor, source_FCYX: Tensor) -> Iterator[Tensor]:
    """How differently the tokens of each frame resemble each other than the source's do, eq. 3, by frame."""
    for own_CYX, source_CYX in zip(features_FCYX, source_FCYX, strict=True):
        own_TT, source_TT = resemblance(own_CYX), resemblance(source_CYX)
        yield (own_TT - source_TT).square().mean() / len(features_FCYX)


def resemblance(features_CYX: Tensor) -> Tensor:
    """The cosine of every two tokens, (T, T)."""
    unit_CT = torch.nn.functional.normalize(features_CYX.flatten(1), dim=0)
    return unit_CT.T @ unit_CT


def restyled(features_FCYX: Tensor, like_FCYX: Tensor) -> Tensor:
    """Features whose channels have the mean and the deviation that others have, frame by frame."""

    def style(part: Tensor) -> tuple[Tensor, Tensor]:
        return part.mean((2, 3), keepdim=True), part.std((2, 3), keepdim=True)

    (mean, deviation), (wanted_mean, wanted) = style(features_FCYX), style(like_FCYX)
    return (features_FCYX - mean) / deviation.clamp(min=1e-5) * wanted + wanted_mean
