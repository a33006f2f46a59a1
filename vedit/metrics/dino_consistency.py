"""Likeness of neighbouring frames in what they show.

Source: V2VBench "Object Consistency": DINOv2-base, adjacent frames, negative cosines as 0. Its paper says
DINO: `--dino dino-vitb16` is that.
"""

from __future__ import annotations

from vedit.metrics.base import Clip, Score, Value, adjacent_cosines, mean_score
from vedit.metrics.towers import Towers
from vedit.metrics.types import Options

SUMMARY = "likeness of neighbouring frames in what they show (DINOv2)"
VERSION = 1
VALUES = (
    Value(
        "dino_consistency",
        "cosine",
        True,
        "0.86..0.95",
        "How alike neighbouring frames are in the objects they show; a video that stands still has 1.",
        ("Object Consistency", "DINO Consistency"),
        rounding=1e-5,
        order=3,
    ),
)
NEEDS = frozenset({"pairs"})
OPTIONS = ("dino",)
GROUPS = frozenset({"v2vbench", "temporal"})
TOWERS = ("dinov2",)


def towers(options: Options) -> tuple[str, ...]:
    return (options.dino or "dinov2",)


def score(clip: Clip, towers: Towers, options: Options) -> dict[str, Score]:
    tower = options.dino or "dinov2"
    return {
        "dino_consistency": mean_score(
            adjacent_cosines(towers.get(tower).cropped(clip.edited)["cls"]), tower=tower
        )
    }
