"""Structural similarity of the edited clip to the ideal edit at five sizes at once.

Source: Wang, Simoncelli and Bovik 2003: contrast and structure at each scale, luminance at the coarsest,
each to the power of its weight; the window, constants and border of `ssim`, per colour channel. Between
scales 2x2 pixels become one; an odd last row or column is repeated. A negative mean of contrast and structure
counts as 0. Frames that the window does not fit at all five scales (shorter side below 176) are measured at
those where it fits, with the weights divided by their sum; `extra["scales"]` says at how many.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedit.metrics.base import Clip, Score, Value, mean_score
from vedit.metrics.psnr import truth_like_edit
from vedit.metrics.ssim import C1, C2, REACH, is_too_small, moments
from vedit.metrics.types import Options, Pixels

SUMMARY = "How alike the structure of each frame and the ideal edit is, at five sizes."
VERSION = 1
VALUES = (
    Value(
        "ms_ssim",
        "",
        True,
        "0..1",
        "Likeness of structure to the ideal edit from fine to coarse; 1 means equal.",
        ("MS-SSIM",),
    ),
)
NEEDS = frozenset({"truth"})
GROUPS = frozenset({"reference"})
TOWERS = ()

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    truth = truth_like_edit(clip)
    if is_too_small(clip.edited_TYX3):
        return {"ms_ssim": Score(float("nan"), extra={"why": "frames smaller than the 11x11 window"})}
    scales = scales_that_fit(min(clip.edited.size))
    extra: dict[str, Any] = {"scales": scales}
    if scales < len(WEIGHTS):
        extra["note"] = f"the frames are so small that {scales} of the {len(WEIGHTS)} scales fit"
    return {"ms_ssim": mean_score(map(ms_ssim, clip.edited_TYX3, truth), **extra)}


def scales_that_fit(side: int) -> int:
    """At how many scales the window fits into frames whose shorter side is so long."""
    count = 0
    while count < len(WEIGHTS) and side >= 2 * REACH + 1:
        count, side = count + 1, (side + 1) // 2
    return count


def ms_ssim(a_YX3: Pixels, b_YX3: Pixels) -> float:
    """Of two frames into which the window fits."""
    a, b = a_YX3.astype(np.float64), b_YX3.astype(np.float64)
    scales = scales_that_fit(min(a.shape[:2]))
    weights = np.array(WEIGHTS[:scales])
    if scales < len(WEIGHTS):
        weights /= weights.sum()  # all five sum to 1.0001, as published
    product = np.ones(3)
    for scale, weight in enumerate(weights):
        if scale:
            a, b = halved(a), halved(b)
        product *= np.maximum(likeness_at(a, b, with_luminance=scale == scales - 1), 0) ** weight
    return float(product.mean())


def likeness_at(
    a: NDArray[np.float64], b: NDArray[np.float64], *, with_luminance: bool
) -> NDArray[np.float64]:
    """The mean by channel of contrast and structure, (3,), at the last scale times luminance."""
    mean_a, mean_b, variance_a, variance_b, covariance = moments(a, b)
    found = (2 * covariance + C2) / (variance_a + variance_b + C2)
    if with_luminance:
        found = found * (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    by_channel: NDArray[np.float64] = found.mean(axis=(0, 1))
    return by_channel


def halved(image_YXC: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of 2x2 pixels; an odd last row or column is repeated."""
    rows, columns = image_YXC.shape[:2]
    even = np.pad(image_YXC, ((0, rows % 2), (0, columns % 2), (0, 0)), mode="edge")
    found: NDArray[np.float64] = (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
    return found
