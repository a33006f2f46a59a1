"""EditBoard's fidelity of flow: how the edit follows the source's flow, and how alike the two flows are.

ff_alpha: mean absolute error in grey levels of the moved frame before, over pixels where the source
itself differs by at most 5 grey levels; a pair with fewer than 70 % such pixels counts 0 (EditBoard's
rule, which flatters; the report counts those pairs). ff_beta: mean over pixels of 1 - cosine of the
two flows; two zero flows count as alike, where the plain formula would call them unlike.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vedit.metrics.base import Clip, Floats, Options, Pixels, Score, Value, mean_score, source_like_edit
from vedit.metrics.flow import flows, look_up, towers_of_flow

SUMMARY = "EditBoard's two measures of how the edit keeps the source's motion."
VERSION = 1
VALUES = (
    Value("ff_alpha", "grey levels", False, "0..20", "Change along the source's motion where the source itself is steady; 0 means none."),
    Value("ff_beta", "", False, "0..1", "How far the edit's motion points elsewhere than the source's; 0 means the same way."),
)
NEEDS = frozenset({"source", "pairs"})
GROUPS = frozenset({"temporal"})
TOWERS = ("gmflow",)

STEADY = 5.0  # grey levels
LEAST_SHARE = 0.7


def towers(options: Options) -> tuple[str, ...]:
    return towers_of_flow(options)


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    source = source_like_edit(clip)
    of_source = flows(source, towers, options)
    pairs = range(len(source) - 1)
    alpha = [alpha_of(clip.edited_TYX3, source.frames_TYX3, pair, of_source.backward_P2YX[pair]) for pair in pairs]
    too_few = int(sum(share < LEAST_SHARE for _, share in alpha))
    extra: dict[str, Any] = {"flow": options.flow_engine, "pairs_counted_0": too_few}
    if too_few:
        extra["note"] = f"{too_few} of {len(alpha)} pairs count 0 by EditBoard's rule, since the source is steady at fewer than 70% of the pixels"
    found = {"ff_alpha": mean_score((value for value, _ in alpha), **extra)}
    if options.flow_engine.startswith("file:"):
        return found  # the edit's own flow is not in the file
    of_edit = flows(clip.edited, towers, options, of_source=False)
    return {**found, "ff_beta": mean_score(one_minus_cosine(of_edit.backward_P2YX[pair], of_source.backward_P2YX[pair]) for pair in pairs)}


def alpha_of(edited_TYX3: Pixels, source_TYX3: Pixels, pair: int, backward_2YX: Floats) -> tuple[float, float]:
    """The error of one pair, and the share of pixels that the source is steady at."""
    errors = []
    for frames in (source_TYX3, edited_TYX3):
        moved, is_inside = look_up(frames[pair].astype(np.float64), backward_2YX)
        errors.append(np.abs(moved - frames[pair + 1]))
    is_steady = (errors[0].max(axis=2) <= STEADY) & is_inside
    share = float(is_steady.mean())
    return (float(errors[1][is_steady].mean()) if share >= LEAST_SHARE else 0.0), share


def one_minus_cosine(a_2YX: Floats, b_2YX: Floats) -> float:
    a, b = a_2YX.astype(np.float64), b_2YX.astype(np.float64)
    lengths = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    cosine = (a * b).sum(0) / np.maximum(lengths, 1e-8)
    is_still = ((a == 0) & (b == 0)).all(axis=0)
    return float(np.where(is_still, 0.0, 1 - cosine).mean())
