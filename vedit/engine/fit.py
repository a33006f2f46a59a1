"""Masks that fit: a word's coarse map takes the extent of what it looks at, and the edges of the picture.

First the map is spread along the clip's own self-attention, which groups the places of one thing; then a
guided filter puts its edge where the picture has one.

    spread:  m <- A m, `POWER` times;  A: rows of self-attention, one query each
    guided:  a_k = (Sigma_k + eps U)^-1 (mean(I p) - mu_k mean(p)),   b_k = mean(p) - a_k mu_k
             q_i = mean(a) I_i + mean(b)

Source: He, Sun and Tang 2010, eq. 14 to 16 and 19, for pictures of any number of channels. Windows that
reach over the frame's edge are cut to what lies inside. a and b are smooth, so they are found on a smaller
picture where windows are wide, as He and Sun 2015 do; edges come from I, which stays whole.
Shape letters: F frames, C channels of the guide, Q tokens of a map (rows x columns), y x its rows and
columns, Y X rows and columns of pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

POWER = 4  # from the third on the masks of 18 drawn clips no longer change
REACH = 2  # radius of the guided filter in cells of the map, whose error is a cell or so
EPS = 1e-3  # variance of colours in [-1, 1] below which a window counts as flat
WIDE = 4  # radius that is enough: the picture that a and b are found on is smaller by what is above it
FLAT = 1e-5  # differences within a map, against what is in it, that may be rounding in single precision
GAIN = 4.0  # steepness of the mask about the threshold, per unit of the stretched map


def stretched(map_F1YX: Tensor) -> Tensor:
    """A map from 0 at its least to 1 at its most, frame by frame; one that is flat but for rounding is 0."""
    low, high = map_F1YX.amin((1, 2, 3), keepdim=True), map_F1YX.amax((1, 2, 3), keepdim=True)
    reach = high - low
    is_flat = reach <= FLAT * torch.maximum(low.abs(), high.abs())
    tiny = torch.finfo(map_F1YX.dtype).tiny
    return torch.where(is_flat, torch.zeros_like(map_F1YX), (map_F1YX - low) / reach.clamp(min=tiny))


def spread(map_F1YX: Tensor, attention_FQQ: Tensor, power: int = POWER) -> Tensor:
    """A map carried to where its places look. attention_FQQ: not negative; each row is brought to sum 1."""
    rows = attention_FQQ / attention_FQQ.sum(-1, keepdim=True)
    values = map_F1YX.flatten(2).transpose(1, 2)
    for _ in range(power):
        values = rows @ values
    return values.transpose(1, 2).unflatten(2, map_F1YX.shape[-2:])


def fitted(
    map_F1YX: Tensor, attention_FQQ: Tensor, guide: Tensor | tuple[int, int], threshold: float
) -> Tensor:
    """The soft mask (F, 1, Y, X) in [0, 1] of what a map looks at.

    guide: pixels (F, C, Y, X) in [-1, 1]; where none are known rows and columns of the mask, which then has
    the edges of the map. threshold: share of the spread map's range that counts as looking.
    """
    size = guide if isinstance(guide, tuple) else tuple(guide.shape[-2:])
    whole = stretched(spread(map_F1YX, attention_FQQ))
    fine = F.interpolate(whole, size, mode="bilinear", align_corners=False)
    rough = (GAIN * (fine - threshold) + 0.5).clamp(0, 1)
    if isinstance(guide, tuple):
        return rough
    radius = REACH * max(1, size[0] // map_F1YX.shape[-2])
    frames = zip(rough.split(1), guide.split(1), strict=True)  # one by one, for memory's sake
    step = max(1, radius // WIDE)
    return torch.cat([guided_filter(*frame, radius, EPS, step) for frame in frames]).clamp(0, 1)


def box_mean(values_FCYX: Tensor, radius: int) -> Tensor:
    """The mean over a square of 2 radius + 1 pixels, of those that lie inside the frame."""
    width = 2 * radius + 1
    # rows and columns apart: the window of a coarse map is wide
    rows = F.avg_pool2d(values_FCYX, (width, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, width), 1, (0, radius), count_include_pad=False)


def guided_filter(mask_F1YX: Tensor, guide_FCYX: Tensor, radius: int, eps: float, step: int = 1) -> Tensor:
    """The mask with the guide's edges, (F, 1, Y, X); it may leave [0, 1] a little.

    radius: of the windows, in pixels. eps: variance of the guide that counts as flat. step: pixels of a
    side that are averaged to one before a and b are sought; 1 for none.
    """
    size = (guide_FCYX.shape[-2], guide_FCYX.shape[-1])
    small = (max(1, size[0] // step), max(1, size[1] // step))
    if step > 1:
        mask_F1YX, guide = (F.interpolate(of, small, mode="area") for of in (mask_F1YX, guide_FCYX))
        slope, offset = _lines(mask_F1YX, guide, max(1, radius // step), eps)
        slope, offset = (
            F.interpolate(of, size, mode="bilinear", align_corners=False) for of in (slope, offset)
        )
    else:
        slope, offset = _lines(mask_F1YX, guide_FCYX, radius, eps)
    return (slope * guide_FCYX).sum(1, keepdim=True) + offset


def _lines(mask_F1YX: Tensor, guide_FCYX: Tensor, radius: int, eps: float) -> tuple[Tensor, Tensor]:
    """mean(a), (F, C, Y, X), and mean(b), (F, 1, Y, X)."""
    count = guide_FCYX.shape[1]
    mean_mask, mean_guide = box_mean(mask_F1YX, radius), box_mean(guide_FCYX, radius)
    cross = box_mean(guide_FCYX * mask_F1YX, radius) - mean_guide * mean_mask
    pairs = (guide_FCYX.unsqueeze(1) * guide_FCYX.unsqueeze(2)).flatten(1, 2)
    means = (mean_guide.unsqueeze(1) * mean_guide.unsqueeze(2)).flatten(1, 2)
    sigma_FYXCC = (box_mean(pairs, radius) - means).permute(0, 2, 3, 1).unflatten(-1, (count, count))
    ridge = eps * torch.eye(count, dtype=mask_F1YX.dtype, device=mask_F1YX.device)
    slope = torch.linalg.solve(sigma_FYXCC + ridge, cross.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    offset = mean_mask - (slope * mean_guide).sum(1, keepdim=True)
    return box_mean(slope, radius), box_mean(offset, radius)
