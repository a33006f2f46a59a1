"""Whether things in the edited clip move on as they moved before.

At each pixel of a frame between two others the flow to the next frame and the flow to the one before point
opposite ways where motion is steady. motion_smoothness is the mean over pixels and such frames of
1 - |f + b| / (|f| + |b| + 1), f and b in pixels: 1 where nothing changes its speed, and 0.5 or less for what
starts, stops or jumps by a pixel and more. VBench asks the same by a network that interpolates every second
frame; ours needs no weights, and its numbers are others.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vedit.metrics._flow import flows, own_flow_only, towers_of_flow
from vedit.metrics.base import Clip, Score, Value, mean_score
from vedit.metrics.types import Floats, Options

SUMMARY = "How evenly things move from frame to frame."
VERSION = 1
VALUES = (
    Value(
        "motion_smoothness",
        "",
        True,
        "0.6..1",
        "How little motion changes from one frame to the next; 1 is steady motion, or none.",
    ),
)
NEEDS = frozenset({"pairs"})
OPTIONS = ("flow",)
GROUPS = frozenset({"temporal"})
TOWERS = ("gmflow",)

towers = towers_of_flow


def unfit(clip: Clip, options: Options) -> str:
    """A clip needs a frame between two others."""
    return own_flow_only(options) or ("needs three frames or more" if len(clip.edited) < 3 else "")


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    found = flows(clip.edited, towers, options)
    assert found.forward_P2YX is not None, "a file is unfit"
    pairs = zip(found.forward_P2YX[1:], found.backward_P2YX[:-1], strict=True)
    return {"motion_smoothness": mean_score((smoothness(f, b) for f, b in pairs), flow=options.flow_engine)}


def smoothness(forward_2YX: Floats, backward_2YX: Floats) -> float:
    f, b = forward_2YX.astype(np.float64), backward_2YX.astype(np.float64)
    return float(np.mean(1 - length(f + b) / (length(f) + length(b) + 1)))


def length(flow_2YX: Floats) -> Floats:
    """Of each vector, (Y, X)."""
    found: Floats = np.hypot(flow_2YX[0], flow_2YX[1])
    return found
