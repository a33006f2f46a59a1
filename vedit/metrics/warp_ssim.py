"""Structural likeness of each edited frame and the one before it, moved by the source's motion.

SSIM as in `ssim`, mean over the pixels that can be followed (`visible`) inside its border. Source: the
WarpSSIM of text-guided video editing (first in Pix2Video's and TokenFlow's evaluations), which takes all
pixels; those that appear from behind others or from outside the frame say nothing, and are left out here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vedit.metrics._flow import flows, towers_of_flow
from vedit.metrics.background import mean_over, mean_where_any
from vedit.metrics.base import Clip, Score, Value, source_like_edit
from vedit.metrics.ssim import REACH, is_too_small, ssim_map
from vedit.metrics.types import Options
from vedit.motion import look_up, visible

SUMMARY = "How alike neighbouring frames are along the source's motion."
VERSION = 1
VALUES = (
    Value(
        "warp_ssim",
        "",
        True,
        "0.6..1",
        "Likeness of structure along the source's motion; 1 means that everything moves with it.",
        ("WarpSSIM",),
    ),
)
NEEDS = frozenset({"source", "pairs"})
OPTIONS = ("flow",)
GROUPS = frozenset({"temporal"})
TOWERS = ("gmflow",)

towers = towers_of_flow


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    if is_too_small(clip.edited_TYX3):
        return {"warp_ssim": Score(float("nan"), extra={"why": "frames smaller than the 11x11 window"})}
    found = flows(source_like_edit(clip), towers, options)
    frames = clip.edited_TYX3

    def likeness(pair: int) -> float:
        backward = found.backward_P2YX[pair]
        forward = None if found.forward_P2YX is None else found.forward_P2YX[pair]
        moved, _ = look_up(frames[pair].astype(np.float64), backward)
        seen = visible(backward, forward)[REACH:-REACH, REACH:-REACH]
        return mean_over(ssim_map(moved, frames[pair + 1]).mean(axis=2), seen)

    return {
        "warp_ssim": mean_where_any(
            map(likeness, range(len(frames) - 1)),
            "no pixel of the source can be followed",
            flow=options.flow_engine,
        )
    }
