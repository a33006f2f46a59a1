"""Likeness of all frames with one another.

Source: LOVEU-TGVE 2023, "frame consistency": mean cosine of projected CLIP ViT-L/14 embeddings over all
pairs.
"""

from __future__ import annotations

import numpy as np

from vedit.metrics.base import Clip, Score, Value
from vedit.metrics.towers import Towers
from vedit.metrics.types import Options, unit

SUMMARY = "likeness of all pairs of frames (CLIP ViT-L/14, TGVE)"
VERSION = 1
VALUES = (
    Value(
        "clip_frame_consistency",
        "cosine",
        True,
        "0.85..0.98",
        "How alike any two frames are in meaning, far ones too; a video that stands still has 1.",
        ("Frame Consistency (TGVE)",),
        rounding=1e-5,
    ),
)
NEEDS = frozenset({"pairs"})
GROUPS = frozenset({"temporal"})
TOWERS = ("clip_l",)


def score(clip: Clip, towers: Towers, options: Options) -> dict[str, Score]:
    vectors_TE = unit(towers.get("clip_l").images(clip.edited)["projected"])
    pairs = np.triu_indices(len(vectors_TE), 1)
    return {"clip_frame_consistency": Score(float((vectors_TE @ vectors_TE.T)[pairs].mean()))}
