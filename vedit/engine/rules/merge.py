"""Merge the tokens of a few frames before self-attention, and hand its outputs back to all of them.

Source: Li et al. 2024 (VidToMe), eq. 3-7, and lixirui142/VidToMe; docs/methods.md 7.15. Of the frames of a
call one is drawn; of the others' tokens the given share, those with the nearest likeness there, take its
tokens' place. Attention runs once over what is left of all frames. With `across`, what is left is merged
with the tokens of the calls before it in the same step, which carry the look through the clip.

Deviation: calls go forwards or backwards through the clip, as drawn; the published order also shuffles some.
Shape letters: B branches, F frames, N heads, T tokens, M merged tokens, C channels, D head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vedit.engine.noise import substream
from vedit.engine.rules.rule import LAST, Call, Rule, Shape, Steps, parts
from vedit.models.sites import Select
from vedit.models.tensors import Frames, Part, Stage, Tensors

DRAW = 9  # the substream of frames and orders


@dataclass(frozen=True)
class Merging:
    """How tokens are merged.

    share: of the tokens of all frames but the drawn one. across: of the tokens that meet those of other
    calls; 0 leaves calls alone. together: frames of a call. anchor: chance that the tokens of other calls
    are merged into this call's, instead of this call's into them.
    """

    share: float
    across: float = 0.0
    together: int = 4
    anchor: float = 0.5
    seed: int = 0
    first_frame: int = 0

    def groups(self, step: int, total: int) -> list[list[int]]:
        """The frames of each call: the first has fewer, as drawn in each step, so that seams move."""
        generator = substream(self.seed, DRAW, step, self.first_frame)
        first = int(torch.randint(1, min(self.together, total) + 1, (), generator=generator))
        starts = [0, *range(first, total, self.together)]
        runs = [list(range(begin, end)) for begin, end in zip(starts, [*starts[1:], total], strict=True)]
        is_backwards = bool(torch.rand((), generator=generator) > 0.5)
        return runs[::-1] if is_backwards else runs

    def drawn(self, call: Call) -> tuple[int, bool]:
        """Which frame of a call the others go into, and whether its tokens go into those of other calls."""
        generator = substream(self.seed, DRAW, call.step, self.first_frame + call.numbers[0], 1)
        frame = int(torch.randint(len(call.numbers), (), generator=generator))
        return frame, bool(torch.rand((), generator=generator) > self.anchor)

    def rules(self, select: Select, branches: tuple[str, ...], steps: Steps) -> tuple[Rule, ...]:
        """What merges, and what hands back."""
        return (Merge(self, select, branches, steps), Unmerge(select, branches, steps))


@dataclass(frozen=True)
class Merge(Rule):
    """Give self-attention the merged tokens of the call's frames as those of one frame."""

    merging: Merging
    select: Select
    branches: tuple[str, ...]
    steps: Steps
    name: str = "token merging"
    stage: Stage = field(default="enter", init=False)
    frames: Frames = field(default="call", init=False)
    kin: str = field(default="merge", init=False)

    @property
    def writes(self) -> frozenset[Part]:
        return parts("x", self.branches)

    def groups(self, step: int, total: int) -> Sequence[Sequence[int]]:
        return self.merging.groups(step, total)

    def bytes(self, shape: Shape) -> int:
        """What is left of a call's tokens, for those after it."""
        if not self.merging.across:
            return 0
        frames = min(self.merging.together, shape.frames)
        return len(self.branches) * frames * shape.queries * shape.width * shape.sites * 4

    def apply(self, tensors: Tensors, call: Call) -> None:
        x_BFTC = torch.stack([tensors["x", branch] for branch in self.branches])
        frame, is_guest = self.merging.drawn(call)
        merged_BMC, back = merged_frames(x_BFTC, frame, self.merging.share)
        before = call.memory.get("tokens")
        if before is not None:
            merged_BMC, place = met(merged_BMC, before, self.merging.across, is_guest)
            back = place[back]
            call.memory["tokens"] = merged_BMC[:, place]
        elif self.merging.across:
            call.memory["tokens"] = merged_BMC
        call.memory["back"] = back
        for branch, merged_MC in zip(self.branches, merged_BMC, strict=True):
            tensors["x", branch] = merged_MC[None]


@dataclass(frozen=True)
class Unmerge(Rule):
    """Give each token of each frame the output of the token that it was merged into."""

    select: Select
    branches: tuple[str, ...]
    steps: Steps
    name: str = "handing back of merged tokens"
    stage: Stage = field(default="output", init=False)
    kin: str = field(default="merge", init=False)
    order: int = field(default=-LAST, init=False)

    @property
    def writes(self) -> frozenset[Part]:
        return parts(("out",), self.branches)

    def apply(self, tensors: Tensors, call: Call) -> None:
        for branch in self.branches:
            out_NTD = tensors["out", branch][0][:, call.memory["back"]]
            tensors["out", branch] = out_NTD.unflatten(1, (len(call.numbers), -1)).transpose(0, 1)


def merged_frames(x_BFTC: Tensor, frame: int, share: float) -> tuple[Tensor, Tensor]:
    """Merge the tokens of frames into those of one of them, the same for all branches.

    Returns what is left (B, M, C), and the place there of each token of all frames (F T).
    """
    frames, length = x_BFTC.shape[1:3]
    numbers = torch.arange(frames * length, device=x_BFTC.device).view(frames, length)
    kept = numbers[frame]
    moving = torch.cat([numbers[:frame], numbers[frame + 1 :]]).flatten()
    joined_BTC = x_BFTC.flatten(1, 2)
    left_BMC, of_moving, of_kept = matched(joined_BTC[:, moving], joined_BTC[:, kept], share)
    back = torch.empty_like(numbers).flatten()
    back[moving], back[kept] = of_moving, of_kept
    return left_BMC, back


def met(local_BMC: Tensor, before_BSC: Tensor, share: float, is_guest: bool) -> tuple[Tensor, Tensor]:
    """Merge a call's tokens with those of calls before; what attention sees, and where its own are there."""
    if is_guest:
        left, own, _ = matched(local_BMC, before_BSC, share)
    else:
        left, _, own = matched(before_BSC, local_BMC, share)
    return left, own


def matched(source_BSC: Tensor, target_BTC: Tensor, share: float) -> tuple[Tensor, Tensor, Tensor]:
    """Put the target's tokens in the place of those of the source's that are most alike.

    Likeness is the largest cosine over all branches, so that one matching serves them all. Returns the
    source's other tokens and the target's (B, M, C), and the places there of source and target tokens.
    """
    count, targets = source_BSC.shape[1], target_BTC.shape[1]
    unit_BSC, unit_BTC = (
        torch.nn.functional.normalize(part.to(torch.promote_types(part.dtype, torch.float32)), dim=-1)
        for part in (source_BSC, target_BTC)
    )
    best_BS, nearest_BS = (unit_BSC @ unit_BTC.transpose(-1, -2)).max(-1)
    likeness_S, branch_S = best_BS.max(0)
    nearest_S = nearest_BS.gather(0, branch_S[None])[0]
    merging = likeness_S.argsort(descending=True, stable=True)
    gone, left = merging[: int(count * share)], merging[int(count * share) :]
    place_S = torch.empty_like(nearest_S)
    place_S[left] = torch.arange(len(left), device=left.device)
    place_S[gone] = len(left) + nearest_S[gone]
    place_T = len(left) + torch.arange(targets, device=left.device)
    return torch.cat([source_BSC[:, left], target_BTC], 1), place_S, place_T
