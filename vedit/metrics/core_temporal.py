"""Whether the edit moves as its source: exp(-mean(|F_edit - F_source| / (|F_source| + 1))), flow in pixels.

One of the six cheap measures of V2V-Bench (2606.05665). The mean is over pixels and pairs of the clip.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vedit.metrics._flow import flows, own_flow_only, towers_of_flow
from vedit.metrics.base import Clip, Score, Value, source_like_edit
from vedit.metrics.motion_smoothness import length
from vedit.metrics.types import Options

SUMMARY = "Whether the edit moves as its source does (V2V-Bench)."
VERSION = 1
VALUES = (
    Value(
        "core_temporal", "", True, "0.3..1", "Likeness of the motion of edit and source; 1 means the same."
    ),
)
NEEDS = frozenset({"source", "pairs"})
OPTIONS = ("flow",)
GROUPS = frozenset({"core"})
TOWERS = ("gmflow",)

towers = towers_of_flow


def unfit(clip: Clip, options: Options) -> str:
    return own_flow_only(options)


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    of_source = flows(source_like_edit(clip), towers, options).backward_P2YX.astype(np.float64)
    of_edit = flows(clip.edited, towers, options, of_source=False).backward_P2YX
    apart = [
        float(np.mean(length(edit - source) / (length(source) + 1)))
        for edit, source in zip(of_edit, of_source, strict=True)
    ]
    return {"core_temporal": Score(float(np.exp(-np.mean(apart))), (), {"flow": options.flow_engine})}
