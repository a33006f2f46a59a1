"""Let each token attend to itself in the other frames, along the clip's motion.

Source: Cong et al. 2024 (FLATTEN), eq. 4-5, and Yang et al. 2024 (FRESCO), eq. 7; docs/methods.md 7.8, 7.9.
What attention gave is attended to once more, without weights of its own: the keys and values of a token are
those of its track, itself among them. Nothing of the size of an attention map is made.
Shape letters: F frames, N heads, T tokens, D head width, G frames that a track passes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from vedit.engine.rules.rule import Call, Rule, Shape, Steps, parts
from vedit.engine.tracks import Tracks
from vedit.models.sites import Select
from vedit.models.tensors import Frames, Part, Stage, Tensors

BEFORE = -2  # queries and keys are a frame's own before frames are given those of others


@dataclass(frozen=True)
class AlongTracks(Rule):
    """Attend along tracks.

    tracks: by the module's grid, of all frames of the window. likeness: what tells how much each place of a
    track counts, the outputs themselves or the queries and keys that `KeepKeys` kept. scale: of the
    logits, over 1 / sqrt(D).
    """

    select: Select
    branches: tuple[str, ...]
    tracks: Callable[[tuple[int, int]], Tracks] = field(compare=False)
    steps: Steps
    likeness: Literal["output", "keys"] = "output"
    scale: float = 1.0
    name: str = "attention along tracks"
    order: int | None = None
    stage: Stage = field(default="output", init=False)
    frames: Frames = field(default="all", init=False)
    kin: str = field(default="tracks", init=False)

    @property
    def writes(self) -> frozenset[Part]:
        return parts(("out",), self.branches)

    def apply(self, tensors: Tensors, call: Call) -> None:
        tracks = self.tracks(call.grid)
        for branch in self.branches:
            out_FNTD = tensors["out", branch]
            query, key = call.memory[branch] if self.likeness == "keys" else (out_FNTD, out_FNTD)
            tensors["out", branch] = along(query, key, out_FNTD, tracks, self.scale)


@dataclass(frozen=True)
class KeepKeys(Rule):
    """Keep the queries and keys of each frame for `AlongTracks`, before others take their place."""

    select: Select
    branches: tuple[str, ...]
    steps: Steps
    name: str = "queries and keys for tracks"
    order: int = BEFORE
    stage: Stage = field(default="qkv", init=False)
    kin: str = field(default="tracks", init=False)

    @property
    def reads(self) -> frozenset[Part]:
        return parts("qk", self.branches)

    def bytes(self, shape: Shape) -> int:
        """Both, of all frames, until the step ends."""
        return 2 * len(self.branches) * shape.frames * shape.queries * shape.width * shape.sites * 4

    def apply(self, tensors: Tensors, call: Call) -> None:
        for branch in self.branches:
            call.memory[branch] = tensors["q", branch], tensors["k", branch]


def along(q_FNTD: Tensor, k_FNTD: Tensor, v_FNTD: Tensor, tracks: Tracks, scale: float = 1.0) -> Tensor:
    """The attention of each token to its track, (F, N, T, D)."""
    frames, _, tokens, width = v_FNTD.shape
    if frames == 1:
        return v_FNTD
    out = torch.empty_like(v_FNTD)
    k_STD, v_STD = (part.transpose(1, 2).flatten(0, 1) for part in (k_FNTD, v_FNTD))  # (F T, N, D)
    first_G = torch.arange(frames) * tokens
    for frame in range(frames):
        place_TG = tracks.of(frame)
        is_there_TG = (place_TG >= 0).to(out.device)
        index_TG = (place_TG.clamp(min=0) + first_G).to(out.device)
        # a frame at a time: gathered keys of all would be F times what attention gave
        logits_NTG = torch.einsum("ntd,tgnd->ntg", q_FNTD[frame], k_STD[index_TG]) * (scale * width**-0.5)
        share_NTG = _precise(logits_NTG).masked_fill(~is_there_TG, float("-inf")).softmax(-1).to(out.dtype)
        out[frame] = torch.einsum("ntg,tgnd->ntd", share_NTG, v_STD[index_TG])
    return out


def _precise(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
