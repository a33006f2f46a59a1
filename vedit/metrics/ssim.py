"""Structural similarity of the edited clip to the ideal edit.

Source: Wang et al. 2004, with the paper's Gaussian window (sigma 1.5, cut at 11x11), K1 = 0.01,
K2 = 0.03, population variances, per colour channel. Only pixels whose window lies inside the
frame count (5 are cut off at each side), as in scikit-image with `gaussian_weights=True,
use_sample_covariance=False`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedit.metrics.base import Clip, Score, Value, mean_score
from vedit.metrics.psnr import truth_like_edit
from vedit.metrics.types import Options, Pixels

SUMMARY = "How alike the local structure of each frame and the ideal edit is."
VERSION = 1
VALUES = (
    Value(
        "ssim", "", True, "0..1", "Likeness of edges and shading to the ideal edit; 1 means equal.", order=13
    ),
)
NEEDS = frozenset({"truth"})
GROUPS = frozenset({"reference"})
TOWERS = ()

REACH = 5  # pixels that the window reaches from its centre
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    truth = truth_like_edit(clip)
    if is_too_small(clip.edited_TYX3):
        return {"ssim": Score(float("nan"), extra={"why": "frames smaller than the 11x11 window"})}
    return {"ssim": mean_score(ssim_map(a, b).mean() for a, b in zip(clip.edited_TYX3, truth, strict=True))}


def is_too_small(frames_TYX3: Pixels) -> bool:
    return min(frames_TYX3.shape[1:3]) < 2 * REACH + 1


def ssim_map(a_YX3: NDArray[Any], b_YX3: NDArray[Any]) -> NDArray[np.float64]:
    """SSIM of each pixel and channel inside the border, (Y - 10, X - 10, 3)."""
    mean_a, mean_b, variance_a, variance_b, covariance = moments(
        a_YX3.astype(np.float64), b_YX3.astype(np.float64)
    )
    top = (2 * mean_a * mean_b + C1) * (2 * covariance + C2)
    found: NDArray[np.float64] = top / ((mean_a**2 + mean_b**2 + C1) * (variance_a + variance_b + C2))
    return found


def moments(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Means, variances and the covariance of two images under the window."""
    mean_a, mean_b = blurred(a), blurred(b)
    variance_a, variance_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    return mean_a, mean_b, variance_a, variance_b, blurred(a * b) - mean_a * mean_b


def blurred(image_YX3: NDArray[np.float64]) -> NDArray[np.float64]:
    """The image under the Gaussian window, where the window fits."""
    weights = np.exp(-0.5 * (np.arange(-REACH, REACH + 1) / 1.5) ** 2)
    weights /= weights.sum()
    rows, columns = image_YX3.shape[0] - 2 * REACH, image_YX3.shape[1] - 2 * REACH
    down = sum(weight * image_YX3[k : k + rows] for k, weight in enumerate(weights))
    found: NDArray[np.float64] = sum(weight * down[:, k : k + columns] for k, weight in enumerate(weights))
    return found
