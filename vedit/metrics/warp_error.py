"""Temporal consistency along the source's motion: each edited frame against the one before, moved by the
flow.

Flow goes from each source frame to the one before it; the edited frame before is looked up along
it (bilinear, pixel centres) and compared with the edited frame, colours in 0..1, mean square over
the pixels that both frames show (`flow.visible`). Source: Lai et al. 2018, section 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedit.metrics._flow import Flows, flows, towers_of_flow
from vedit.metrics.base import Clip, Score, Value, source_like_edit
from vedit.metrics.types import Options, Pixels
from vedit.motion import look_up, visible

SUMMARY = "How well the edit's pixels follow the motion of the source."
VERSION = 1
VALUES = (
    Value(
        "warp_error",
        "squared colour, 0..1",
        False,
        "0..0.02",
        "Change that the source's motion does not explain; 0 means that everything moves with it.",
        rounding=1e-6,
        order=22,
    ),
    Value(
        "warp_error_ratio",
        "",
        False,
        "0.5..5",
        "The same divided by the source's own, which takes out mistakes of the flow; 1 means as steady as the"
        " source.",
        order=23,
    ),
)
NEEDS = frozenset({"source", "pairs"})
OPTIONS = ("flow",)
GROUPS = frozenset({"temporal"})
TOWERS = ("gmflow",)
FEW = 0.5  # share of pixels that can be followed below which a reader is told


def towers(options: Options) -> tuple[str, ...]:
    return towers_of_flow(options)


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    source = source_like_edit(clip)
    found = flows(source, towers, options)
    seen = [
        visible(found.backward_P2YX[pair], None if found.forward_P2YX is None else found.forward_P2YX[pair])
        for pair in range(len(source) - 1)
    ]
    edited_error, source_error = (
        pair_errors(frames, found, seen) for frames in (clip.edited_TYX3, source.frames_TYX3)
    )
    there = ~np.isnan(edited_error)
    followed = float(np.mean([mask.mean() for mask in seen]))
    extra = {
        "flow": options.flow_engine,
        "occluded_share": 1 - followed,
        "excluded_pairs": int((~there).sum()),
        "consistency_test": found.forward_P2YX is not None,
    }
    if followed < FEW:
        extra["warning"] = (
            f"only {share_text(followed)} of the pixels can be followed from frame to frame, the others say"
            " nothing"
        )
    elif extra["excluded_pairs"]:
        extra["note"] = (
            f"{extra['excluded_pairs']} of {len(there)} pairs have no pixel that can be followed, and are"
            " left out"
        )
    if not there.any():
        extra.pop("warning", None)
        nothing = Score(float("nan"), extra={**extra, "why": "no pixel of the source can be followed"})
        return {"warp_error": nothing, "warp_error_ratio": nothing}
    mean, own = float(edited_error[there].mean()), float(source_error[there].mean())
    return {
        "warp_error": Score(mean, tuple(map(float, edited_error)), {**extra, "source": own}),
        "warp_error_ratio": ratio(mean, own),
    }


def share_text(share: float) -> str:
    """A share as people write it: 38 %, 0.7 %."""
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.2g} %"


def ratio(mean: float, own: float) -> Score:
    if own > 0:
        return Score(mean / own)
    return (
        Score(1.0)
        if mean == 0
        else Score(float("nan"), extra={"why": "the source follows its flow without any error"})
    )


def pair_errors(frames_TYX3: Pixels, found: Flows, seen: list[NDArray[np.bool_]]) -> NDArray[np.float64]:
    """Mean squared error of each pair over the pixels seen in both, (P,); NaN where there are none."""
    maps = (
        squared_map(frames_TYX3[pair], frames_TYX3[pair + 1], found.backward_P2YX[pair])
        for pair in range(len(seen))
    )
    return np.array(
        [error[mask].mean() if mask.any() else np.nan for error, mask in zip(maps, seen, strict=True)]
    )


def squared_map(before_YX3: Pixels, now_YX3: Pixels, backward_2YX: Any) -> NDArray[np.float64]:
    """Squared difference of a frame and the moved frame before it, mean over colours in 0..1, (Y, X)."""
    moved, _ = look_up(before_YX3.astype(np.float64) / 255, backward_2YX)
    found: NDArray[np.float64] = np.square(moved - now_YX3 / 255.0).mean(axis=2)
    return found


def error_maps(clip: Clip, towers: Any, options: Options) -> NDArray[np.float64]:
    """The error at each pixel of each pair, (P, Y, X), root of the squared one; NaN where nothing can be
    followed.
    """
    source = source_like_edit(clip)
    found = flows(source, towers, options)
    maps = []
    for pair in range(len(source) - 1):
        error = np.sqrt(
            squared_map(clip.edited_TYX3[pair], clip.edited_TYX3[pair + 1], found.backward_P2YX[pair])
        )
        forward = None if found.forward_P2YX is None else found.forward_P2YX[pair]
        maps.append(np.where(visible(found.backward_P2YX[pair], forward), error, np.nan))
    return np.stack(maps)
