"""How far the edit's motion is from the source's, as vectors.

The mean over pixels and pairs of |F_edit - F_source|, in pixels: the end-point error of the edit's flow,
with the source's as the truth.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vedit.metrics._flow import flows, own_flow_only, towers_of_flow
from vedit.metrics.base import Clip, Score, Value, mean_score, source_like_edit
from vedit.metrics.motion_smoothness import length
from vedit.metrics.types import Options

SUMMARY = "How far the edit's motion is from the source's."
VERSION = 1
VALUES = (
    Value(
        "flow_difference",
        "pixels",
        False,
        "0..3",
        "Mean distance of the edit's motion from the source's at each pixel; 0 means the same motion.",
    ),
)
NEEDS = frozenset({"source", "pairs"})
OPTIONS = ("flow",)
GROUPS = frozenset({"temporal"})
TOWERS = ("gmflow",)

towers = towers_of_flow


def unfit(clip: Clip, options: Options) -> str:
    return own_flow_only(options)


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    of_source = flows(source_like_edit(clip), towers, options).backward_P2YX
    of_edit = flows(clip.edited, towers, options, of_source=False).backward_P2YX
    pairs = zip(of_edit, of_source, strict=True)
    return {
        "flow_difference": mean_score(
            (float(np.mean(length(a.astype(np.float64) - b))) for a, b in pairs), flow=options.flow_engine
        )
    }
