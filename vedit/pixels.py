"""Pixels as bytes and as numbers, and how far two pictures are apart.

Networks see pixels in [-1, 1] with the channels before rows and columns, files and screens see uint8 with
the channels last. Leading axes (frames F, or clips and frames) stay as they are.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor


def from_bytes(frames_FYX3: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 frames (..., Y, X, 3) as float32 (..., 3, Y, X) in [-1, 1]."""
    import torch

    return torch.from_numpy(frames_FYX3).to(device).movedim(-1, -3).float() / 127.5 - 1


def to_bytes(pixels_F3YX: Tensor) -> np.ndarray:
    """Pixels (..., 3, Y, X) in [-1, 1] as uint8 frames (..., Y, X, 3); what lies outside is clipped."""
    shown = ((pixels_F3YX.detach().clamp(-1, 1) + 1) * 127.5).round().byte()
    array: np.ndarray = shown.movedim(-3, -1).cpu().numpy()
    return array


def psnr(mean_square: float, *, ceiling: float, peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error: 10 log10(peak^2 / error).

    ceiling: what equal pictures get, and the most that others get; may be infinite.
    peak: the largest value a pixel can have, 255 for bytes.
    """
    # in this order an error that is not a number stays one
    return ceiling if mean_square == 0 else min(10 * math.log10(peak**2 / mean_square), ceiling)


def psnr_each(a: Tensor, b: Tensor, *, ceiling: float) -> Tensor:
    """The same for each picture or clip along the first axis, pixels in [0, 1]; float32, one per item."""
    least = 10 ** (-ceiling / 10)
    return -10 * (a - b).square().flatten(1).mean(dim=1).clamp_min(least).log10()


def mean_square(a: Tensor, b: Tensor, mask: Tensor | None = None) -> float:
    """Mean squared error of pixels in [-1, 1], as a share of their range squared, hence in [0, 1].

    mask: (F, 1, Y, X), the weight of each pixel; one that is 0 everywhere gives 0.
    """
    error = ((a - b) / 2).double() ** 2
    if mask is None:
        return float(error.mean())
    share = mask.double().expand_as(error)
    return float((error * share).sum() / share.sum().clamp(min=1))


def padded(pixels_FCYX: Tensor, multiple: int) -> Tensor:
    """Pixels whose sides are multiples: the last row and column are repeated."""
    import torch

    below, right = -pixels_FCYX.shape[-2] % multiple, -pixels_FCYX.shape[-1] % multiple
    return (
        torch.nn.functional.pad(pixels_FCYX, (0, right, 0, below), mode="replicate")
        if below or right
        else pixels_FCYX
    )
