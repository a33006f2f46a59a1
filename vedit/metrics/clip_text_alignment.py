"""How well frames show the prompt, by OpenAI's CLIP.

Source: V2VBench "Frames Text Alignment": cosines times the checkpoint's own factor, about 100, not clamped
at 0 (torchmetrics' CLIPScore clamps).
"""

from __future__ import annotations

from typing import Any

from vedit.metrics.base import Clip, Score, Value, cosines, mean_score
from vedit.metrics.towers import Towers
from vedit.metrics.types import Options

SUMMARY = "how well frames show the prompt (CLIP ViT-L/14)"
VERSION = 1
VALUES = (
    Value(
        "clip_text_alignment",
        "100 x cosine",
        True,
        "21..35",
        "How well each frame shows what the prompt says, averaged over frames.",
        ("Frames Text Alignment", "CLIP Text Alignment"),
        rounding=1e-3,
        order=5,
    ),
)
NEEDS = frozenset({"prompt"})
GROUPS = frozenset({"v2vbench", "alignment"})
TOWERS = ("clip_l",)


def alignment(clip: Clip, tower: Any) -> Score:
    """Cosine of each frame with the prompt, times the tower's factor."""
    text = tower.text(clip.prompt)
    by_frame = cosines(tower.images(clip.edited)["projected"], text["projected"]) * float(text["scale"][0])
    return mean_score(by_frame, truncated=bool(text["truncated"][0]))


def score(clip: Clip, towers: Towers, options: Options) -> dict[str, Score]:
    return {"clip_text_alignment": alignment(clip, towers.get("clip_l"))}
