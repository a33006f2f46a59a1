"""Quality of the video by DOVER: a technical and an aesthetic branch, fused.

Source: V2VBench "Video Quality"; Wu et al. 2023. The profile "v2vbench" keeps the published frame indices,
which wrap around (the aesthetic branch sees only the first frame of clips below 32), and, below 224 pixels,
the published places of the fragments (`towers.dover.fragments`); "strict" spreads 32 frames and fragments
over the whole.
"""

from __future__ import annotations

import math

from vedit.metrics.base import Clip, Score, Value
from vedit.metrics.towers import Towers
from vedit.metrics.types import Options

SUMMARY = "technical and aesthetic quality of the video (DOVER)"
VERSION = 2
VALUES = (
    Value(
        "dover_score",
        "0..1",
        True,
        "0.3..0.9",
        "How good the video is technically (noise, blur, compression) and to look at, as people rate user"
        " videos.",
        ("Video Quality", "Dover Score", "DOVER"),
        order=4,
    ),
)
NEEDS: frozenset[str] = frozenset()
OPTIONS = ("dover_antialias",)
GROUPS = frozenset({"v2vbench", "quality"})
TOWERS = ("dover",)


def fuse(technical: float, aesthetic: float) -> float:
    """The published fusion of the raw branches, into 0..1."""
    x = 0.6104 * (technical - 0.1107) / 0.07355 + 0.3896 * (aesthetic + 0.08285) / 0.03774
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def score(clip: Clip, towers: Towers, options: Options) -> dict[str, Score]:
    raw = towers.get("dover").scores(clip.edited)
    technical, aesthetic = float(raw["technical"].mean()), float(raw["aesthetic"].mean())
    extra = {"technical": technical, "aesthetic": aesthetic, "antialias": options.dover_antialias}
    return {"dover_score": Score(fuse(technical, aesthetic), (), extra)}
