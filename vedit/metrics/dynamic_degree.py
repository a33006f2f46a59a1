"""How much moves in the edited clip.

The mean over pairs of the mean length of the 5 % longest flow vectors, in percent of the frame's shorter
side. Source: VBench's dynamic degree, which asks whether enough pairs of a clip have more than
6 pixels per 256 of the shorter side (2.34 %); `extra["vbench_dynamic"]` has that answer, with its rule for
the number of pairs, 4 in 16 frames. Theirs is RAFT's flow, ours the flow of the other metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vedit.metrics._flow import flows, own_flow_only, towers_of_flow
from vedit.metrics.base import Clip, Score, Value, mean_score
from vedit.metrics.motion_smoothness import length
from vedit.metrics.types import Floats, Options

SUMMARY = "How much moves: a clip that stands still is steady in every other number."
VERSION = 1
VALUES = (
    Value(
        "dynamic_degree",
        "% of the shorter side",
        True,
        "0..10",
        "How far the fastest parts move per frame; 0 is a still picture, which scores well elsewhere.",
        ("dynamic degree",),
    ),
)
NEEDS = frozenset({"pairs"})
OPTIONS = ("flow",)
GROUPS = frozenset({"temporal"})
TOWERS = ("gmflow",)
FASTEST = 0.05  # share of the pixels
THRESHOLD = 100 * 6 / 256  # percent of the shorter side, as VBench

towers = towers_of_flow


def unfit(clip: Clip, options: Options) -> str:
    return own_flow_only(options)


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    found = flows(clip.edited, towers, options, of_source=False).backward_P2YX
    speeds = [100 * fastest(flow) / min(clip.edited.size) for flow in found]
    extra = {"flow": options.flow_engine, "vbench_dynamic": is_dynamic(speeds)}
    return {"dynamic_degree": mean_score(speeds, **extra)}


def fastest(flow_2YX: Floats) -> float:
    """The mean length of the longest vectors, in pixels; of one at least."""
    lengths = np.sort(length(flow_2YX.astype(np.float64)), axis=None)
    return float(lengths[-max(1, int(FASTEST * lengths.size)) :].mean())


def is_dynamic(speeds: Sequence[float]) -> bool:
    """VBench's answer for a clip."""
    return sum(speed > THRESHOLD for speed in speeds) >= round(4 * (len(speeds) + 1) / 16)
