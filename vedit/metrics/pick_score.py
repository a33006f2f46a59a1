"""How much people would prefer the frames for this prompt, by PickScore.

Source: V2VBench "Frames Pick Score"; Kirstain et al. 2023. A CLIP ViT-H/14 fine-tuned on choices of users.
"""

from __future__ import annotations

from vedit.metrics.base import Clip, Score, Value
from vedit.metrics.clip_text_alignment import alignment
from vedit.metrics.towers import Towers
from vedit.metrics.types import Options

SUMMARY = "how much people would prefer the frames for this prompt (PickScore)"
VERSION = 1
VALUES = (
    Value(
        "pick_score",
        "~100 x cosine",
        True,
        "19..23",
        "How much people would prefer each frame for this prompt, averaged over frames.",
        ("Frames Pick Score", "Pick Score"),
        rounding=1e-3,
        order=6,
    ),
)
NEEDS = frozenset({"prompt"})
GROUPS = frozenset({"v2vbench", "alignment"})
TOWERS = ("clip_h",)


def score(clip: Clip, towers: Towers, options: Options) -> dict[str, Score]:
    return {"pick_score": alignment(clip, towers.get("clip_h"))}
