"""A flag for clips in which nothing was edited.

An unchanged copy of the source scores best in consistency and motion, so a table without this flag rewards
doing nothing. Raised when the frames did not move in the prompts' direction (`clip_direction` below 0.02) and
hardly changed at all (mean absolute difference below 2 grey levels, over the whole frame: inside a mask as
well).
"""

from __future__ import annotations

import numpy as np

from vedit.metrics.base import Clip, Score, Value, source_like_edit
from vedit.metrics.clip_direction import directions
from vedit.metrics.towers import Towers
from vedit.metrics.types import Options

SUMMARY = "1 when nothing seems to have been edited"
VERSION = 1
VALUES = (
    Value(
        "no_edit_guard",
        "flag",
        False,
        "0 or 1",
        "1 marks a clip that is hardly different from its source: its consistency and motion say nothing"
        " about editing.",
    ),
)
NEEDS = frozenset({"source", "prompt", "source_prompt"})
GROUPS = frozenset({"alignment"})
TOWERS = ("clip_l",)
LEAST_DIRECTION, LEAST_CHANGE = 0.02, 2.0  # a cosine, and grey levels


def score(clip: Clip, towers: Towers, options: Options) -> dict[str, Score]:
    direction = float(directions(clip, towers).mean())
    source = source_like_edit(clip)
    change = float(
        np.mean(
            [
                np.abs(e.astype(np.int16) - s).mean()
                for e, s in zip(clip.edited.frames_TYX3, source.frames_TYX3)
            ]
        )
    )
    is_unedited = direction < LEAST_DIRECTION and change < LEAST_CHANGE
    return {"no_edit_guard": Score(float(is_unedited), (), {"clip_direction": direction, "change": change})}
