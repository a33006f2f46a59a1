"""How much fine detail frames have: the variance of the Laplacian of their brightness.

Source: Pech-Pacheco et al. 2000, with the Laplacian of four neighbours on Rec. 601 luma in grey levels;
outside the frame its border pixel goes on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedit.metrics.base import Clip, Score, Value, mean_score, source_like_edit
from vedit.metrics.types import Options, Pixels

SUMMARY = "How sharp frames are, and beside their source."
VERSION = 1
VALUES = (
    Value(
        "sharpness",
        "squared grey levels",
        True,
        "50..3000",
        "Variance of what differs from its neighbours; a blurred picture has little, noise has most.",
    ),
    Value(
        "sharpness_ratio",
        "",
        True,
        "0.5..1.5",
        "The same divided by that of the source; below 1 detail was lost, far above 1 grain was added.",
    ),
)
NEEDS: frozenset[str] = frozenset()
GROUPS = frozenset({"quality"})
TOWERS = ()
LUMA = (0.299, 0.587, 0.114)


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    found = {"sharpness": mean_score(map(laplacian_variance, clip.edited_TYX3))}
    if clip.source is not None:
        own = float(np.mean([*map(laplacian_variance, source_like_edit(clip).frames_TYX3)]))
        if own:  # a source of one colour has nothing to compare with
            found["sharpness_ratio"] = Score(found["sharpness"].value / own)
    return found


def laplacian_variance(frame_YX3: Pixels) -> float:
    luma: NDArray[np.float64] = frame_YX3 @ np.array(LUMA)
    wide = np.pad(luma, 1, mode="edge")
    around = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
    return float((around - 4 * luma).var())
