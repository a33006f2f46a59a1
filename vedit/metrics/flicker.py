"""How much neighbouring frames of the edited clip differ; motion counts too.

Source: VBench's temporal flickering, (255 - mean absolute difference) / 255.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from vedit.metrics.base import Clip, Score, Value, mean_score
from vedit.metrics.types import Options

SUMMARY = "How much each frame differs from the next one."
VERSION = 1
VALUES = (
    Value(
        "flicker_mae",
        "grey levels",
        False,
        "0..20",
        "Mean change of a colour value from frame to frame; 0 is a still picture. Motion counts too.",
        order=20,
    ),
    Value(
        "temporal_flickering",
        "",
        True,
        "0.9..1",
        "The same as VBench prints it: 1 is a still picture.",
        ("temporal flickering",),
        order=21,
    ),
)
NEEDS = frozenset({"pairs"})
GROUPS = frozenset({"temporal"})
TOWERS = ()


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    frames = clip.edited_TYX3
    flicker = [float(np.abs(now.astype(np.int16) - before).mean()) for before, now in pairwise(frames)]
    return {
        "flicker_mae": mean_score(flicker),
        "temporal_flickering": mean_score((255 - value) / 255 for value in flicker),
    }
