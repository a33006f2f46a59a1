"""Peak signal-to-noise ratio of the edited clip to the ideal edit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedit import pixels
from vedit.errors import InputError
from vedit.metrics.base import Clip, Score, Value, mean_score
from vedit.metrics.types import Options, Pixels

SUMMARY = "How close each frame is to the ideal edit, in decibels."
VERSION = 1
VALUES = (
    Value(
        "psnr",
        "dB",
        True,
        "10..50",
        "Closeness of every pixel to the ideal edit; 100 means equal, below 20 plainly different.",
        order=12,
    ),
)
NEEDS = frozenset({"truth"})
GROUPS = frozenset({"reference"})
TOWERS = ()

CEILING = 100.0  # dB of equal frames


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    truth = truth_like_edit(clip)
    return {
        "psnr": mean_score(
            decibels(squared_error(a, b).mean()) for a, b in zip(clip.edited_TYX3, truth, strict=True)
        )
    }


def truth_like_edit(clip: Clip) -> Pixels:
    """The frames of the ideal edit, (T, Y, X, 3), as many and as large as those of the edit.

    Raises InputError.
    """
    truth = clip.truth_TYX3
    assert truth is not None, "asked for by NEEDS"
    if truth.shape != clip.edited_TYX3.shape:
        shapes = [
            f"{len(frames)} frames of {frames.shape[2]}x{frames.shape[1]}"
            for frames in (clip.edited_TYX3, truth)
        ]
        raise InputError(
            f"{clip.id}: the edited clip has {shapes[0]}, the ideal edit {shapes[1]}.",
            "The two are compared pixel by pixel.",
        )
    return truth


def squared_error(a: Pixels, b: Pixels) -> NDArray[np.float64]:
    """Squared difference of uint8 arrays, float64."""
    return np.square(a.astype(np.float64) - b)


def decibels(mean_squared_error: float) -> float:
    """Of bytes, at most CEILING."""
    return pixels.psnr(mean_squared_error, peak=255, ceiling=CEILING)
