"""Aesthetic quality of the frames by the LAION predictor V2.

Source: V2VBench "Frames Quality"; christophschuhmann/improved-aesthetic-predictor. The ViT-L/14 pass is
shared with `clip_consistency` and `clip_text_alignment`.
"""

from __future__ import annotations

from vedit.metrics.base import Clip, Score, Value, mean_score
from vedit.metrics.towers import Towers
from vedit.metrics.types import Options

SUMMARY = "aesthetic quality of each frame (LAION predictor V2)"
VERSION = 1
VALUES = (
    Value(
        "aesthetic_score",
        "0..10",
        True,
        "4.3..5.9",
        "How pleasing people find such frames: a linear predictor of ratings on CLIP ViT-L/14 embeddings,"
        " averaged over frames.",
        ("Frames Quality", "Aesthetic Score"),
        order=1,
    ),
)
NEEDS: frozenset[str] = frozenset()
GROUPS = frozenset({"v2vbench", "quality"})
TOWERS = ("clip_l", "aesthetic")


def score(clip: Clip, towers: Towers, options: Options) -> dict[str, Score]:
    embeddings_TE = towers.get("clip_l").images(clip.edited)["projected"]
    return {"aesthetic_score": mean_score(towers.get("aesthetic").scores(embeddings_TE))}
