"""Likeness of each frame with the one before and with the first.

Source: VBench "subject consistency": DINO ViT-B/16, shorter side 224, no crop, negative cosines as 0.
`--dino dinov2` uses the tower of `dino_consistency` instead.
"""

from __future__ import annotations

import numpy as np

from vedit.metrics.base import Clip, Score, Value, cosines, mean_score
from vedit.metrics.towers import Towers
from vedit.metrics.types import Options

SUMMARY = "likeness of each frame with the one before and the first (DINO, VBench)"
VERSION = 1
VALUES = (
    Value(
        "subject_consistency",
        "cosine",
        True,
        "0.85..0.99",
        "How well the subject stays itself: each frame compared with the one before and with the first.",
        ("Subject Consistency (VBench)",),
        rounding=1e-5,
    ),
)
NEEDS = frozenset({"pairs"})
OPTIONS = ("dino",)
GROUPS = frozenset({"temporal"})
TOWERS = ("dino-vitb16",)


def towers(options: Options) -> tuple[str, ...]:
    return (options.dino or "dino-vitb16",)


def score(clip: Clip, towers: Towers, options: Options) -> dict[str, Score]:
    tower = options.dino or "dino-vitb16"
    cls_TE = towers.get(tower).whole(clip.edited)["cls"]
    before, first = (np.maximum(cosines(cls_TE[1:], other), 0) for other in (cls_TE[:-1], cls_TE[:1]))
    return {"subject_consistency": mean_score((before + first) / 2, tower=tower)}
