"""Share of frames that show the target prompt rather than the source prompt.

Source: EditBoard "success rate", FateZero "frame accuracy"; both use CLIP ViT-B/32 (`--success-model
clip_b32`).
Deviation: a frame of one colour or of noise (`looks`) is nearer to one of two prompts too, and is no success
here.
"""

from __future__ import annotations

from vedit.metrics._looks import unclear_frames, unsure
from vedit.metrics.base import Clip, Score, Value, cosines, mean_score
from vedit.metrics.towers import Towers
from vedit.metrics.types import Options

SUMMARY = "share of frames closer to the target than to the source prompt"
VERSION = 2
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
OPTIONS = ("success_model",)
GROUPS = frozenset({"alignment"})
TOWERS = ("clip_l",)


def towers(options: Options) -> tuple[str, ...]:
    return (options.success_model,)


def score(clip: Clip, towers: Towers, options: Options) -> dict[str, Score]:
    tower = towers.get(options.success_model)
    frames_TE = tower.images(clip.edited)["projected"]
    target, source = (
        cosines(frames_TE, tower.text(text)["projected"]) for text in (clip.prompt, clip.source_prompt)
    )
    is_clear = ~unclear_frames(clip.edited_TYX3)
    return {
        "edit_success": mean_score(
            (target > source) & is_clear, tower=options.success_model, **unsure(~is_clear)
        )
    }
