"""Edit-A-Video: FateZero's attention on a network tuned on the clip, its mask carried from the first frame.

    m_f <- (1 - lambda) m_f + lambda A_(f->1) m_1       A: how frame f looks at the first, of self-attention

Source: Shin et al. 2023; docs/methods.md 7.4. The paper has no public code: the formula is read
from its text. The network is inflated with sparse-causal attention (the first frame and the one
before) and tuned as in `video_p2p`; sparse-causal maps hold the columns of the first frame already.
They are taken at the size that masks are made of, averaged over heads and modules, and each row is
divided by its sum, so that a mask of ones stays one. The source is read from the inversion, which
is exact, where the paper optimises null embeddings to sample it again.
Shape letters: F frames, N heads, Q query tokens, K key tokens, D head width, Y X latent rows and columns.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from vedit.engine.controller import Controller
from vedit.engine.inflation import Inflation, inflated
from vedit.engine.rules import Call, Override, Rule, Tensors
from vedit.methods import fatezero
from vedit.methods.base import Prepared, Request
from vedit.methods.params import Share
from vedit.methods.video_p2p import TuneFields
from vedit.models.family import Family
from vedit.models.sites import Select

SUMMARY = "FateZero on a network tuned on the clip; its mask is carried over from the first frame."
NEEDS = frozenset({"inversion", "source prompt", "pictures"})


class Params(TuneFields, fatezero.Params):
    carry: Share = Field(
        0.5,
        description="share of each frame's mask that comes from the first frame's, along"
        " self-attention; 0 is FateZero's mask",
    )
    frame_attention: Literal["sparse-causal"] = Field(
        "sparse-causal", description="frames see the first and the one before"
    )

    @property
    def inflation(self) -> Inflation:
        return "sparse-causal"


def prepare(model: Family, request: Request, params: Params) -> Prepared:
    """The method bound to a model and a clip.

    Raises UsageError for words that do not occur and prompts that do not fit, ModelError for a family
    that cannot be inflated.
    """
    model = inflated(model)
    return fatezero.edited(model, request, params, CarriedMasks(model, request, params))


class CarriedMasks(fatezero.SourceMasks):
    """Masks of which a share is the first frame's, moved to where each frame looks at it."""

    params: Params

    def __init__(self, model: Family, request: Request, params: Params) -> None:
        super().__init__(model, request, params)
        self.scale = params.blend_scales[-1]
        self.looked: list[Tensor] = []

    def rules(self) -> tuple[Rule, ...]:
        if not self.params.carry:
            return ()
        always = (True,) * len(self.request.timesteps)
        return (
            Override(
                Select("self", scales=(self.scale,)),
                "src",
                self._see,
                always,
                reach="all",
                name="looks at the first frame",
            ),
        )

    def _see(self, tensors: Tensors, call: Call) -> Tensor:
        """Keep how much each token looks at those of the first frame; what attention gives stays."""
        self.looked.append(first_columns(tensors["q", "src"], tensors["k", "src"]))
        return tensors["out", "src"]

    def made(self, controller: Controller) -> Tensor:
        own_F1YX = super().made(controller)
        if not self.looked:
            return own_F1YX
        maps_FQK = torch.stack(self.looked).mean(0)
        self.looked.clear()
        grid: Any = controller.grids[
            next(
                path
                for path, site in controller.sites.items()
                if site.kind == "self" and site.scale == self.scale
            )
        ]
        return carried(own_F1YX, maps_FQK, grid, self.params.carry)


def first_columns(q_FNQD: Tensor, k_FNKD: Tensor) -> Tensor:
    """How much each token looks at each of the first frame, the mean over heads (F, Q, Q).

    The first frame's keys stand first.
    """
    tokens = q_FNQD.shape[2]
    logits = q_FNQD.float() @ k_FNKD.float().transpose(-1, -2) * q_FNQD.shape[-1] ** -0.5
    return logits.softmax(-1)[..., :tokens].mean(1)


def carried(mask_F1YX: Tensor, maps_FQK: Tensor, grid: tuple[int, int], share: float) -> Tensor:
    """Masks in proportion with the first one, seen along maps at a grid.

    share: 0 gives the masks themselves.
    """
    if not share:
        return mask_F1YX
    first_K = F.interpolate(mask_F1YX[:1], grid, mode="nearest").flatten()
    moved_FQ = maps_FQK @ first_K.to(maps_FQK) / maps_FQK.sum(-1).clamp(min=torch.finfo(maps_FQK.dtype).tiny)
    moved_F1YX = F.interpolate(moved_FQ.unflatten(1, grid).unsqueeze(1), mask_F1YX.shape[-2:], mode="nearest")
    return (1 - share) * mask_F1YX + share * moved_F1YX.to(mask_F1YX)
