"""EditBoard's fidelity of flow: how the edit follows the source's flow, and how alike the two flows are.

ff_alpha: the largest error among the colours of each pixel against the moved frame before, in grey
levels, mean over the pixels where the source itself differs by at most 5 levels of grey; a mean over
pairs. The video has such a number when those pixels are 70 % of it, mean over pairs (EditBoard's
`calculate_ff_alpha` and `ff_alpha_for_video`). Deviations: a video with fewer has no number, where
the published code gives 0, its best; flow leads from each frame to the one before it, theirs the
other way; colours are interpolated without rounding; a pixel whose flow leaves the frame is not
steady. ff_beta: mean over pixels of 1 - cosine of the two flows; two zero flows count as alike, where
the plain formula would call them unlike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vedit.metrics._flow import flows, towers_of_flow
from vedit.metrics.base import Clip, Score, Value, mean_score, source_like_edit
from vedit.metrics.types import Floats, Options, Pixels
from vedit.motion import look_up

SUMMARY = "EditBoard's two measures of how the edit keeps the source's motion."
VERSION = 2
VALUES = (
    Value(
        "ff_alpha",
        "grey levels",
        False,
        "0..20",
        "Change along the source's motion where the source itself is steady; 0 means none.",
        order=24,
    ),
    Value(
        "ff_beta",
        "",
        False,
        "0..1",
        "How far the edit's motion points elsewhere than the source's; 0 means the same way.",
        order=25,
    ),
)
NEEDS = frozenset({"source", "pairs"})
OPTIONS = ("flow",)
GROUPS = frozenset({"temporal"})
TOWERS = ("gmflow",)

STEADY = 5  # levels of grey
LEAST_SHARE = 0.7
GREY = (0.299, 0.587, 0.114)


def towers(options: Options) -> tuple[str, ...]:
    return towers_of_flow(options)


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    source = source_like_edit(clip)
    of_source = flows(source, towers, options)
    pairs = range(len(source) - 1)
    pair_scores = [
        alpha_of(clip.edited_TYX3, source.frames_TYX3, pair, of_source.backward_P2YX[pair]) for pair in pairs
    ]
    found = {"ff_alpha": alpha_score(pair_scores, options.flow_engine)}
    if options.flow_engine.startswith("file:"):
        return found  # the edit's own flow is not in the file
    of_edit = flows(clip.edited, towers, options, of_source=False)
    return {
        **found,
        "ff_beta": mean_score(
            one_minus_cosine(of_edit.backward_P2YX[pair], of_source.backward_P2YX[pair]) for pair in pairs
        ),
    }


def alpha_score(pairs: Sequence[tuple[float, float]], flow: str) -> Score:
    """The mean over pairs of (error, share of steady pixels); NaN where the video's share is too small."""
    share = float(np.mean([share for _, share in pairs]))
    there = [value for value, _ in pairs if not np.isnan(value)]
    extra: dict[str, Any] = {
        "flow": flow,
        "steady_share": share,
        "pairs_without_steady_pixels": len(pairs) - len(there),
    }
    per_pair = tuple(value for value, _ in pairs)
    if share < LEAST_SHARE or not there:
        why = (
            f"the source is steady along its flow at {100 * share:.0f} % of the pixels only, and"
            f" {100 * LEAST_SHARE:.0f} % are needed"
        )
        return Score(float("nan"), per_pair, {**extra, "why": why})
    return Score(float(np.mean(there)), per_pair, extra)


def alpha_of(
    edited_TYX3: Pixels, source_TYX3: Pixels, pair: int, backward_2YX: Floats
) -> tuple[float, float]:
    """The error of one pair over the source's steady pixels (NaN without any), and their share."""
    errors = []
    for frames in (source_TYX3, edited_TYX3):
        moved, is_inside = look_up(frames[pair].astype(np.float64), backward_2YX)
        errors.append(np.abs(moved - frames[pair + 1]))
    is_steady = (np.rint(errors[0] @ GREY) <= STEADY) & is_inside
    return (float(errors[1].max(axis=2)[is_steady].mean()) if is_steady.any() else float("nan")), float(
        is_steady.mean()
    )


def one_minus_cosine(a_2YX: Floats, b_2YX: Floats) -> float:
    a, b = a_2YX.astype(np.float64), b_2YX.astype(np.float64)
    lengths = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    cosine = (a * b).sum(0) / np.maximum(lengths, 1e-8)
    is_still = ((a == 0) & (b == 0)).all(axis=0)
    return float(np.where(is_still, 0.0, 1 - cosine).mean())
