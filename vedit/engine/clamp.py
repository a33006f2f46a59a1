"""Where the clean pixels that a step foresees may lie: `clip_x_start` of a generator."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vedit.errors import UsageError, option

Clamp = Callable[[Tensor], Tensor]  # of clips, one per row
LARGEST_QUANTILE = 16_000_000  # values that torch.quantile takes at once; of more, the nearest value is taken
QUANTILE = 0.9  # of "dynamic" without a number, as in seed 004; Imagen takes 0.995


def read_clip(text: str) -> Clamp | None:
    """`clip_x_start` as typed: none, static, dynamic or dynamic:QUANTILE; None for none."""
    name, colon, number = text.partition(":")
    if name in ("none", "static") and not colon:
        return (lambda x0: x0.clamp(-1, 1)) if name == "static" else None
    try:
        quantile = float(number) if colon else QUANTILE
    except ValueError:
        quantile = -1.0
    if name != "dynamic" or not 0 < quantile <= 1:
        raise UsageError(
            f"{option('clip', text)} is not known.",
            "It is none, static, dynamic, or dynamic:QUANTILE with a quantile in 0 to 1, such as"
            " dynamic:0.995.",
        )
    return lambda x0: dynamic_threshold(x0, quantile)


def dynamic_threshold(x0: Tensor, quantile: float) -> Tensor:
    """Clamp each clip to the `quantile` s of its absolute values, at least 1, and divide by s.

    Source: Saharia et al. 2022 (Imagen), section 2.3. Seed 004 takes the quantile "of the training
    data"; that data lies in [-1, 1], which would make s always 1, so the clip's own is meant here.
    """
    flat = x0.flatten(1).abs()
    if flat.numel() <= LARGEST_QUANTILE:
        s = torch.quantile(flat, quantile, dim=1)
    else:
        s = flat.kthvalue(max(1, math.ceil(quantile * flat.shape[1])), dim=1).values
    s = s.clamp(min=1)
    s = s.reshape(-1, *[1] * (x0.ndim - 1))
    return x0.clamp(-s, s) / s
