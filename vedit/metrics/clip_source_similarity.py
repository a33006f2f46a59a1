"""How much of the source's meaning the edit keeps, by CLIP."""

from __future__ import annotations

from vedit.metrics.base import Clip, Score, Value, cosines, mean_score, source_like_edit
from vedit.metrics.towers import Towers
from vedit.metrics.types import Options

SUMMARY = "likeness of edited and source frames (CLIP ViT-L/14)"
VERSION = 1
VALUES = (
    Value(
        "clip_source_similarity",
        "cosine",
        True,
        "0.6..0.95",
        "How alike edited and source frames are in meaning; an unchanged copy has 1, so read it beside the"
        " alignment with the prompt.",
        ("CLIP Image Similarity",),
        rounding=1e-5,
    ),
)
NEEDS = frozenset({"source"})
GROUPS = frozenset({"reference"})
TOWERS = ("clip_l",)


def score(clip: Clip, towers: Towers, options: Options) -> dict[str, Score]:
    tower = towers.get("clip_l")
    edited, source = (tower.images(video)["projected"] for video in (clip.edited, source_like_edit(clip)))
    return {"clip_source_similarity": mean_score(cosines(edited, source))}
