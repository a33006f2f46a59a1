"""Whether each edited frame shows what its source frame shows: 0.7 cos(DINO) + 0.3 SSIM.

One of the six cheap measures of V2V-Bench (2606.05665), with the backbone of `dino_consistency`.
"""

from __future__ import annotations

from vedit.metrics.base import Clip, Score, Value, cosines, mean_score, source_like_edit
from vedit.metrics.ssim import is_too_small, ssim_map
from vedit.metrics.towers import Towers
from vedit.metrics.types import Options

SUMMARY = "whether each edited frame shows what its source frame shows (DINO and SSIM, V2V-Bench)"
VERSION = 1
VALUES = (
    Value(
        "core_correspondence",
        "",
        True,
        "0.4..1",
        "Likeness of meaning and layout of each frame and its source; 1 means that they are equal.",
        rounding=1e-5,
    ),
)
NEEDS = frozenset({"source"})
OPTIONS = ("dino",)
GROUPS = frozenset({"core"})
TOWERS = ("dinov2",)
OF_DINO, OF_SSIM = 0.7, 0.3


def towers(options: Options) -> tuple[str, ...]:
    return (options.dino or "dinov2",)


def score(clip: Clip, towers: Towers, options: Options) -> dict[str, Score]:
    source = source_like_edit(clip)
    if is_too_small(clip.edited_TYX3):
        why = "frames smaller than the 11x11 window"
        return {"core_correspondence": Score(float("nan"), extra={"why": why})}
    tower = towers.get(options.dino or "dinov2")
    alike = cosines(tower.cropped(clip.edited)["cls"], tower.cropped(source)["cls"])
    layout = [float(ssim_map(a, b).mean()) for a, b in zip(clip.edited_TYX3, source.frames_TYX3, strict=True)]
    return {
        "core_correspondence": mean_score(
            OF_DINO * cosine + OF_SSIM * ssim for cosine, ssim in zip(alike, layout, strict=True)
        )
    }
