"""How well the video as a whole shows the prompt, by ViCLIP.

Source: V2VBench "Video Text Alignment". Its loader takes every third frame and needs eight of them, so it
fails for clips that do not have 22 to 24 frames; those are sampled as EditVerseBench does, and the rule is
stored.
"""

from __future__ import annotations

from vedit.metrics.base import Clip, Score, Value, cosines
from vedit.metrics.towers import Towers
from vedit.metrics.types import Options

SUMMARY = "how well the video as a whole shows the prompt (ViCLIP)"
VERSION = 1
VALUES = (
    Value(
        "viclip_text_alignment",
        "cosine",
        True,
        "0.14..0.34",
        "How well the video as a whole, motion included, shows what the prompt says; from eight of its"
        " frames.",
        ("Video Text Alignment", "ViCLIP Text Alignment"),
        rounding=1e-5,
        order=7,
    ),
)
NEEDS = frozenset({"prompt"})
GROUPS = frozenset({"v2vbench", "alignment"})
TOWERS = ("viclip",)
FRAMES = 8


def choose_frames(total: int, is_strict: bool) -> tuple[list[int], str]:
    """The eight frames, and the rule that chose them."""
    if total == FRAMES:
        return list(range(FRAMES)), "all"
    if not is_strict and len(range(0, total, 3)) == FRAMES:
        return list(range(0, total, 3)), "every third"
    return [index * total // FRAMES for index in range(FRAMES)], "spread" if total > FRAMES else "repeated"


def score(clip: Clip, towers: Towers, options: Options) -> dict[str, Score]:
    tower = towers.get("viclip")
    indices, rule = choose_frames(len(clip.edited), options.is_strict)
    text = tower.text(clip.prompt)
    extra: dict[str, object] = {"indices": indices, "rule": rule, "truncated": bool(text["truncated"][0])}
    if rule == "repeated":
        extra["warning"] = (
            f"ViCLIP reads {FRAMES} frames, the clip has {len(clip.edited)}: some were read twice"
        )
    return {
        "viclip_text_alignment": Score(
            float(cosines(tower.video(clip.edited, indices)["projected"], text["projected"])[0]), (), extra
        )
    }
