"""How different the edit's background looks from the source's: the mask's region is black in both."""

from __future__ import annotations

import numpy as np

from vedit.metrics.background import background_of
from vedit.metrics.base import Clip, Score, Value, source_like_edit
from vedit.metrics.lpips import distance
from vedit.metrics.towers import Towers
from vedit.metrics.types import Options, Video

SUMMARY = "how different the background looks from the source's (LPIPS)"
VERSION = 1
VALUES = (
    Value(
        "bg_lpips",
        "distance",
        False,
        "0..0.3",
        "How different edit and source look to people where nothing should have changed; 0 is the same.",
        order=17,
    ),
)
NEEDS = frozenset({"source", "mask"})
OPTIONS = ("lpips_net", "mask_dilate")
GROUPS = frozenset({"background"})
TOWERS = ("lpips_alex",)


def towers(options: Options) -> tuple[str, ...]:
    return (f"lpips_{options.lpips_net}",)


def score(clip: Clip, towers: Towers, options: Options) -> dict[str, Score]:
    assert clip.mask_TYX is not None
    is_background_TYX1 = np.stack([background_of(mask, options.mask_dilate) for mask in clip.mask_TYX])[
        ..., None
    ]
    edited, source = (
        Video(np.where(is_background_TYX1, video.frames_TYX3, 0).astype(np.uint8))
        for video in (clip.edited, source_like_edit(clip))
    )
    return {"bg_lpips": distance(edited, source, towers, options)}
