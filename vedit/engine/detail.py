"""What a codec loses of a clip, given back to an edit wherever the edit left the clip as it was.

    out = edit + w (source - decoded),   w = exp(-d^2 / tau^2)

decoded is the clip as its latents decode, d the local difference between edit and decoded. No mask is
needed. Where the edit equals the decoded clip the result is the source itself, to a rounding; where it
changed something the detail of what was there before stays away.
Shape letters: F frames, Y X rows and columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vedit.engine.fit import box_mean

TAU = 0.15  # difference in [-1, 1] at which a third of the detail comes back
RADIUS = 1  # pixels around that the difference is taken over, so that single alike pixels do not count


def with_detail(
    edit_F3YX: Tensor,
    decoded_F3YX: Tensor,
    source_F3YX: Tensor,
    tau: float = TAU,
    radius: int = RADIUS,
) -> Tensor:
    """The edit with the source's detail where it may have it; all in [-1, 1]."""
    weight = kept_weight(edit_F3YX - decoded_F3YX, tau, radius)
    return (edit_F3YX + weight * (source_F3YX - decoded_F3YX)).clamp(-1, 1)


def kept_weight(difference_F3YX: Tensor, tau: float = TAU, radius: int = RADIUS) -> Tensor:
    """The share of the detail that comes back, (F, 1, Y, X): 1 where nothing differs.

    The local difference is the root mean square over colours and the square of 2 radius + 1 pixels.
    """
    squares = difference_F3YX.square().mean(1, keepdim=True)
    return torch.exp(-box_mean(squares, radius) / tau**2)
