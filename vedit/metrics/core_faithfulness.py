"""Whether frames show the prompt, in 0..1: (cos(frame, prompt) + 1) / 2 by OpenAI's CLIP ViT-L/14.

One of the six cheap measures of V2V-Bench (2606.05665).
"""

from __future__ import annotations

from vedit.metrics.base import Clip, Score, Value, cosines, mean_score
from vedit.metrics.towers import Towers
from vedit.metrics.types import Options

SUMMARY = "whether frames show the prompt, in 0..1 (CLIP ViT-L/14, V2V-Bench)"
VERSION = 1
VALUES = (
    Value(
        "core_faithfulness",
        "",
        True,
        "0.58..0.68",
        "How well frames show what the prompt says; the cosine brought to 0..1.",
        rounding=1e-5,
    ),
)
NEEDS = frozenset({"prompt"})
GROUPS = frozenset({"core"})
TOWERS = ("clip_l",)


def score(clip: Clip, towers: Towers, options: Options) -> dict[str, Score]:
    tower = towers.get("clip_l")
    by_frame = cosines(tower.images(clip.edited)["projected"], tower.text(clip.prompt)["projected"])
    return {"core_faithfulness": mean_score((by_frame + 1) / 2)}
