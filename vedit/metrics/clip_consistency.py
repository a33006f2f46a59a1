"""Likeness of neighbouring frames in meaning.

Source: V2VBench "Semantic Consistency": pooled CLIP ViT-L/14 states before the projection, negative cosines
as 0.
"""

from __future__ import annotations

from vedit.metrics.base import Clip, Score, Value, adjacent_cosines, mean_score
from vedit.metrics.towers import Towers
from vedit.metrics.types import Options

SUMMARY = "likeness of neighbouring frames in meaning (CLIP ViT-L/14)"
VERSION = 1
VALUES = (
    Value(
        "clip_consistency",
        "cosine",
        True,
        "0.86..0.99",
        "How alike neighbouring frames are in meaning; a video that stands still has 1.",
        ("Semantic Consistency", "CLIP Consistency"),
        rounding=1e-5,
        order=2,
    ),
)
NEEDS = frozenset({"pairs"})
GROUPS = frozenset({"v2vbench", "temporal"})
TOWERS = ("clip_l",)


def score(clip: Clip, towers: Towers, options: Options) -> dict[str, Score]:
    return {
        "clip_consistency": mean_score(adjacent_cosines(towers.get("clip_l").images(clip.edited)["pooled"]))
    }
