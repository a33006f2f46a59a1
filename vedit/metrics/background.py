"""What an edit did where it should have done nothing: edit against source outside the mask.

`bg_psnr` averages over background pixels; with `bg_norm` "full" it divides by the whole frame, as
FiVE-Bench does, which is higher by 10 log10(area / background). `bg_maxabs` is EditBoard's
"semantic score": the largest channel difference of each background pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from vedit.metrics.base import Clip, Score, Value, source_like_edit
from vedit.metrics.psnr import decibels, squared_error
from vedit.metrics.ssim import REACH, is_too_small, ssim_map
from vedit.metrics.types import Options, Pixels

SUMMARY = "How well the part outside the mask was left alone."
VERSION = 1
VALUES = (
    Value(
        "bg_psnr",
        "dB",
        True,
        "15..50",
        "Closeness to the source outside the mask; 100 means untouched.",
        order=15,
    ),
    Value(
        "bg_ssim",
        "",
        True,
        "0..1",
        "Likeness of structure to the source outside the mask; 1 means untouched.",
        order=16,
    ),
    Value(
        "bg_mae",
        "grey levels",
        False,
        "0..30",
        "Mean change of a colour value outside the mask; 0 means untouched.",
        order=18,
    ),
    Value(
        "bg_maxabs",
        "grey levels",
        False,
        "0..40",
        "Mean over background pixels of the largest change among their colours.",
        ("semantic score",),
        order=19,
    ),
)
NEEDS = frozenset({"source", "mask"})
OPTIONS = ("mask_dilate", "bg_norm")
GROUPS = frozenset({"background"})
TOWERS = ()

Mask = NDArray[np.bool_]
NO_BACKGROUND = "no background pixel in any frame"


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    source = source_like_edit(clip).frames_TYX3
    assert clip.mask_TYX is not None, "asked for by NEEDS"
    masks = [background_of(mask, options.mask_dilate) for mask in clip.mask_TYX]
    frames = list(zip(clip.edited_TYX3, source, masks, strict=True))
    return {
        "bg_psnr": mean_where_any(
            (background_psnr(a, b, mask, options.bg_norm) for a, b, mask in frames), norm=options.bg_norm
        ),
        "bg_ssim": mean_where_any(
            (background_ssim(a, b, mask) for a, b, mask in frames), why_no_ssim(clip.edited_TYX3, masks)
        ),
        "bg_mae": mean_where_any(mean_over(difference(a, b).mean(axis=2), mask) for a, b, mask in frames),
        "bg_maxabs": mean_where_any(mean_over(difference(a, b).max(axis=2), mask) for a, b, mask in frames),
    }


def background_of(mask_YX: Pixels, dilate: int = 0) -> Mask:
    """Where nothing should change: outside the edit region (> 127) grown by `dilate` pixels, in a square."""
    if dilate:
        mask_YX = np.asarray(Image.fromarray(mask_YX).filter(ImageFilter.MaxFilter(2 * dilate + 1)))
    return mask_YX <= 127


def difference(a: Pixels, b: Pixels) -> NDArray[np.float64]:
    return np.abs(a.astype(np.float64) - b)


def mean_over(values_YX: NDArray[np.float64], mask_YX: Mask) -> float:
    """The mean over the pixels of a mask; NaN when it has none."""
    return float(values_YX[mask_YX].mean()) if mask_YX.any() else float("nan")


def background_psnr(a: Pixels, b: Pixels, mask_YX: Mask, norm: str) -> float:
    error = mean_over(squared_error(a, b).mean(axis=2), mask_YX)
    if np.isnan(error):
        return error
    return decibels(error * mask_YX.mean() if norm == "full" else error)


def background_ssim(a: Pixels, b: Pixels, mask_YX: Mask) -> float:
    """The mean of the SSIM map over background pixels inside its border."""
    if is_too_small(a[None]):
        return float("nan")
    return mean_over(ssim_map(a, b).mean(axis=2), mask_YX[REACH:-REACH, REACH:-REACH])


def why_no_ssim(frames_TYX3: Pixels, masks: list[Mask]) -> str:
    """Why no frame has an SSIM of its background, where none has."""
    if is_too_small(frames_TYX3):
        rows, columns = frames_TYX3.shape[1:3]
        return f"frames of {columns}x{rows} pixels are smaller than the 11x11 window of SSIM"
    if any(mask.any() for mask in masks):
        return (
            f"all background pixels lie within {REACH} pixels of the border, where the window of SSIM does"
            " not fit"
        )
    return NO_BACKGROUND


def mean_where_any(per_frame: Any, why: str = NO_BACKGROUND, **extra: Any) -> Score:
    """The mean over frames that have a background; those without one are counted in `empty_frames`. why: said
    where none has.
    """
    values = tuple(map(float, per_frame))
    there = [value for value in values if not np.isnan(value)]
    extra["empty_frames"] = len(values) - len(there)
    if not there:
        return Score(float("nan"), values, {**extra, "why": why})
    return Score(float(np.mean(there)), values, extra)
