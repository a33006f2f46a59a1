"""The velocity between two prompts: FlowEdit and its relatives are one field with other settings.

    q = (1 - s) X + s N,   p = q + (1 - s kappa)(Z - X)            X the clip, Z its edit, N noise, s a level
    D = mean over noises of  v(p, target) - v(q, source)
    Z <- Z + (s' - s) D - zeta (d - phi mean over frames of d),    d = x0(p) - x0(q)

    kappa 0, fresh noise                        FlowEdit (Kulikov et al. 2024, arXiv 2412.08629)
    + guidance away from the source, zeta       FlowAlign (Kim et al. 2025, arXiv 2505.23145)
    kappa 1                                     DFVEdit (Bai et al. 2025, arXiv 2506.20967)
    + corrections `along`, zeta, `contrast`     FlowDirector (Li et al. 2025, arXiv 2506.05046)

Deviations from published code: noise and clip are mixed with the level that steps are taken between, not
with the whole timestep that the network is told (which is off by up to 1/1000); p is written with Z - X, so
that an edit that asks for nothing leaves every bit.
Shape letters: F frames, C channels, Y X latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Pair = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # from p and q to their velocities


@dataclass(frozen=True)
class Delta:
    """Settings of the field.

    kappa: share of the edit so far that the added noise forgets. zeta: weight of the pull back to the clip;
    mean_free: share phi of the pull's mean over frames that is let off. along: what becomes of the part of
    the field along the source's velocity: None keeps it; else it is dropped where it points the same way, and
    grown by this share where it points against it. contrast: above 1, leads away from the two noises whose
    fields agree least with the mean.
    """

    kappa: float = 0.0
    zeta: float = 0.0
    mean_free: float = 0.0
    along: float | None = None
    contrast: float = 1.0

    def step(
        self,
        source_FCYX: Tensor,
        edit_FCYX: Tensor,
        noises: Sequence[Tensor],
        level: float,
        after: float,
        velocities: Pair,
    ) -> tuple[Tensor, Tensor]:
        """The edit at the next level, and the field that led there."""
        fields, pulls = [], []
        for noise in noises:
            q = (1 - level) * source_FCYX + level * noise
            p = q + (1 - level * self.kappa) * (edit_FCYX - source_FCYX)
            target, source = velocities(p, q)
            field = target - source
            fields.append(field if self.along is None else redirected(field, source, self.along))
            pulls.append((p - level * target) - (q - level * source))
        field = contrasted(torch.stack(fields), self.contrast)
        moved = edit_FCYX + (after - level) * field
        if self.zeta:
            pull = torch.stack(pulls).mean(0)
            moved = moved - self.zeta * (pull - self.mean_free * pull.mean(0, keepdim=True))
        return moved, field


def redirected(field_FCYX: Tensor, source_FCYX: Tensor, alpha: float) -> Tensor:
    """A field without what goes along the source's velocity in a cell, or with more of what goes against it.

    Source: FlowDirector, direction-aware flow correction; a cell's channels are the token here.
    """
    dot = (field_FCYX * source_FCYX).sum(1, keepdim=True)
    size = source_FCYX.pow(2).sum(1, keepdim=True).clamp(min=torch.finfo(field_FCYX.dtype).tiny)
    along = dot / size * source_FCYX
    return field_FCYX - torch.where(dot >= 0, along, -alpha * along)


def contrasted(fields_NFCYX: Tensor, weight: float) -> Tensor:
    """The mean of the fields of several noises, led away from the mean of the two that fit it least.

    Source: FlowDirector, differential averaging guidance: V + (w - 1)(V - V'), V' of the worst by cosine.
    """
    mean = fields_NFCYX.mean(0)
    if weight == 1 or len(fields_NFCYX) < 3:
        return mean
    alike = torch.nn.functional.cosine_similarity(fields_NFCYX.flatten(1), mean.flatten()[None])
    worst = fields_NFCYX[alike.argsort()[:2]].mean(0)
    return mean + (weight - 1) * (mean - worst)
