"""What of the source each edited frame keeps, frame by frame: edges, layout, colours.

Three of the six cheap measures of V2V-Bench (2606.05665), whose mean agrees with people better than its
judges that read: structure is the F1 of Canny edges with a tolerance, layout is SSIM, content the correlation
of colour histograms. The paper's tolerance, thresholds and bins were not published. Ours: Canny at 100 and
200, a tolerance of 2 pixels, and Pearson's correlation of histograms of 8 x 8 x 8 bins of RGB.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vedit.metrics._edges import edges_of, f1
from vedit.metrics.base import Clip, Score, Value, mean_score, source_like_edit
from vedit.metrics.ssim import is_too_small, ssim_map
from vedit.metrics.types import Floats, Options, Pixels

SUMMARY = "What each edited frame keeps of its source: edges, layout and colours (V2V-Bench)."
VERSION = 1
VALUES = (
    Value("core_structure", "F1", True, "0.3..1", "Edges that edit and source share; 1 means all."),
    Value("core_layout", "", True, "0.3..1", "SSIM of edit and source; 1 means that they are equal."),
    Value("core_content", "correlation", True, "0..1", "Likeness of the colours used; 1 means the same."),
)
NEEDS = frozenset({"source"})
GROUPS = frozenset({"core"})
TOWERS = ()
TOLERANCE = 2  # pixels
BINS = 8  # per colour


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    pairs = list(zip(clip.edited_TYX3, source_like_edit(clip).frames_TYX3, strict=True))
    layout = (
        Score(float("nan"), extra={"why": "frames smaller than the 11x11 window"})
        if is_too_small(clip.edited_TYX3)
        else mean_score(ssim_map(a, b).mean() for a, b in pairs)
    )
    return {
        "core_structure": mean_score(f1(edges_of(a), edges_of(b), TOLERANCE) for a, b in pairs),
        "core_layout": layout,
        "core_content": mean_score(correlation(histogram(a), histogram(b)) for a, b in pairs),
    }


def histogram(frame_YX3: Pixels) -> Floats:
    """Counts of colours in BINS x BINS x BINS bins, flat."""
    r, g, b = (frame_YX3.reshape(-1, 3).astype(int) * BINS // 256).T
    return np.bincount((r * BINS + g) * BINS + b, minlength=BINS**3).astype(np.float64)


def correlation(a: Floats, b: Floats) -> float:
    """Pearson's; 0 where one does not vary."""
    a, b = a - a.mean(), b - b.mean()
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else 0.0
