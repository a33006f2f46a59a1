"""Whether the file is what was asked for, before anybody looks at it.

The share of these checks that it passes: as many frames, the rate and the size that the run record, or else
the source, says; nothing in it that could not be read; and a picture that is not the source unchanged. What
is not known (a folder has no rate) is not checked. `extra["failed"]` has each miss in words.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vedit.metrics.base import Clip, Score, Value
from vedit.metrics.types import Options

SUMMARY = "Whether frames, rate and size are as asked, all can be read, and something changed."
VERSION = 1
VALUES = (
    Value(
        "compliance",
        "share of checks",
        True,
        "1",
        "Whether the file is what was asked for: frames, rate, size, readable, changed. 1 means all.",
        ("compliance check",),
    ),
)
NEEDS: frozenset[str] = frozenset()
GROUPS = frozenset({"quality"})
TOWERS = ()


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    passed = {name: asked == found for name, (asked, found) in clip.asked.items()}
    failed = [
        f"{name} {found} instead of {asked}" for name, (asked, found) in clip.asked.items() if asked != found
    ]
    passed["readable"] = not clip.damage
    failed += [f"not readable as a whole: {clip.damage}"] if clip.damage else []
    if clip.source is not None and clip.source.frames_TYX3.shape == clip.edited_TYX3.shape:
        passed["changed"] = not np.array_equal(clip.edited_TYX3, clip.source.frames_TYX3)
        failed += [] if passed["changed"] else ["the source, unchanged"]
    extra: dict[str, Any] = {"checks": passed, "failed": failed}
    if failed:
        extra["warning"] = "; ".join(failed)
    return {"compliance": Score(sum(passed.values()) / len(passed), (), extra)}
