"""How alike the motions of edit and source are, by optical flow.

Source: V2VBench "Motion Alignment"; GMFlow. In pixels of the evaluated size, not divided by it: only clips of
equal size compare. The published padder is built for 512 x 512; here every size is padded and cropped back.
"""

from __future__ import annotations

import numpy as np

from vedit.metrics.base import Clip, Score, Value, mean_score, source_like_edit
from vedit.metrics.towers import Towers
from vedit.metrics.types import Options

SUMMARY = "how alike the motions of edit and source are (GMFlow)"
VERSION = 1
VALUES = (
    Value(
        "motion_alignment",
        "-pixels",
        True,
        "-17..0",
        "Minus the mean distance between the optical flows of edit and source, in pixels per frame step; 0 is"
        " the same motion.",
        ("Motion Alignment",),
        rounding=1e-3,
        order=8,
    ),
)
NEEDS = frozenset({"source", "pairs"})
GROUPS = frozenset({"v2vbench", "temporal"})
TOWERS = ("gmflow",)


def score(clip: Clip, towers: Towers, options: Options) -> dict[str, Score]:
    like = source_like_edit(clip)
    source, edited = (towers.get("gmflow").flow(video) for video in (like, clip.edited))
    distance = np.linalg.norm(edited - source, axis=1).mean((1, 2), np.float64)
    return {"motion_alignment": mean_score(-distance, width=clip.edited.size[1], height=clip.edited.size[0])}
