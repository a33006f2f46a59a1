"""Which share of the change lies where the edit was to act.

Sum of |edit - source| inside the mask over the sum in the whole frame, a mean over frames; our definition,
after the dimension of the same name of VEFX-Bench (2604.16272), which a reward model judges. A frame that did
not change at all has none, and is counted; a clip of which none did is left out.
"""

from __future__ import annotations

from typing import Any

from vedit.metrics.background import background_of, difference, mean_where_any
from vedit.metrics.base import Clip, Score, Value, source_like_edit
from vedit.metrics.types import Options, Pixels

SUMMARY = "Which share of the change lies inside the mask."
VERSION = 1
VALUES = (
    Value(
        "edit_exclusivity",
        "share of change",
        True,
        "0.3..1",
        "1 means that nothing outside the mask changed; the mask's share of the frame means no aim at all.",
        ("edit exclusivity",),
    ),
)
NEEDS = frozenset({"source", "mask"})
OPTIONS = ("mask_dilate",)
GROUPS = frozenset({"background"})
TOWERS = ()


def unfit(clip: Clip, options: Options) -> str:
    """A copy of the source has no change to have a share of."""
    is_copy = clip.source is not None and clip.source.digest == clip.edited.digest
    return "needs a clip that is not its source unchanged" if is_copy else ""


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    source = source_like_edit(clip).frames_TYX3
    assert clip.mask_TYX is not None, "asked for by NEEDS"
    frames = zip(clip.edited_TYX3, source, clip.mask_TYX, strict=True)
    return {
        "edit_exclusivity": mean_where_any(
            (share_inside(a, b, mask, options.mask_dilate) for a, b, mask in frames),
            "no frame changed at all",
        )
    }


def share_inside(a_YX3: Pixels, b_YX3: Pixels, mask_YX: Pixels, dilate: int) -> float:
    """Of one frame; NaN where nothing changed."""
    change_YX = difference(a_YX3, b_YX3).sum(axis=2)
    whole = change_YX.sum()
    return float(change_YX[~background_of(mask_YX, dilate)].sum() / whole) if whole else float("nan")
