"""Share of frames that show the target prompt rather than the source prompt.

Source: EditBoard "success rate", FateZero "frame accuracy"; both use CLIP ViT-B/32 (`--success-model clip_b32`).
"""

from __future__ import annotations

from vedit.metrics.base import Clip, Options, Score, Value, cosines, mean_score
from vedit.metrics.towers import Towers

SUMMARY = "share of frames closer to the target than to the source prompt"
VERSION = 1
VALUES = (
    Value(
        "edit_success",
        "share",
        True,
        "0..1",
        "How many of the frames show the target prompt rather than the source prompt.",
        ("Success Rate (EditBoard)", "Frame Accuracy (FateZero)"),
    ),
)
NEEDS = frozenset({"prompt", "source_prompt"})
GROUPS = frozenset({"alignment"})
TOWERS = ("clip_l",)


def towers(options: Options) -> tuple[str, ...]:
    return (options.success_model,)


def score(clip: Clip, towers: Towers, options: Options) -> dict[str, Score]:
    tower = towers.get(options.success_model)
    frames_TE = tower.images(clip.edited)["projected"]
    target, source = (cosines(frames_TE, tower.text(text)["projected"]) for text in (clip.prompt, clip.source_prompt))
    return {"edit_success": mean_score(target > source, tower=options.success_model)}
