"""How far the colours of the edited clip are from those of the ideal edit, as people see it.

Source: CIE 142-2001 in the form of Sharma, Wu and Dalal 2005, with kL = kC = kH = 1. Colours go from sRGB
(IEC 61966-2-1) to CIELAB under D65, 2 degrees; the mean is over pixels and frames.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedit.metrics.base import Clip, Score, Value, mean_score
from vedit.metrics.psnr import truth_like_edit
from vedit.metrics.types import Options, Pixels

SUMMARY = "How different the colours of each frame and the ideal edit look."
VERSION = 1
VALUES = (
    Value(
        "ciede2000",
        "delta E",
        False,
        "0..20",
        "Mean difference of colours as people see them; 1 is just visible, 0 means equal.",
        ("CIEDE2000", "delta E 2000"),
    ),
)
NEEDS = frozenset({"truth"})
GROUPS = frozenset({"reference"})
TOWERS = ()

Array = NDArray[np.float64]
TO_XYZ = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])  # D65, 2 degrees


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    pairs = zip(clip.edited_TYX3, truth_like_edit(clip), strict=True)
    return {"ciede2000": mean_score(delta_e(lab(a), lab(b)).mean() for a, b in pairs)}


def lab(rgb_YX3: Pixels) -> Array:
    """sRGB bytes as L* (0..100), a*, b*."""
    share = rgb_YX3.astype(np.float64) / 255
    linear = np.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)
    ratio = linear @ TO_XYZ.T / WHITE
    root = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def delta_e(a_3: Array, b_3: Array) -> Array:
    """CIEDE2000 of CIELAB colours in the last axis. Numbers of equations are those of Sharma et al."""
    (light_a, chroma_a, hue_a), (light_b, chroma_b, hue_b) = _primed(a_3, b_3)
    is_grey = chroma_a * chroma_b == 0
    turn = hue_b - hue_a
    turn = np.where(turn > 180, turn - 360, np.where(turn < -180, turn + 360, turn))  # 10
    d_light, d_chroma = light_b - light_a, chroma_b - chroma_a
    d_hue = 2 * np.sqrt(chroma_a * chroma_b) * np.sin(np.radians(np.where(is_grey, 0, turn) / 2))  # 11
    light, chroma = (light_a + light_b) / 2, (chroma_a + chroma_b) / 2
    total = hue_a + hue_b
    is_apart = np.abs(hue_a - hue_b) > 180
    hue = np.where(is_apart, np.where(total < 360, total + 360, total - 360), total) / 2
    hue = np.where(is_grey, total, hue)  # 14
    t = (
        1
        - 0.17 * _cos(hue - 30)
        + 0.24 * _cos(2 * hue)
        + 0.32 * _cos(3 * hue + 6)
        - 0.20 * _cos(4 * hue - 63)
    )
    scale_light = 1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2)
    scale_chroma, scale_hue = 1 + 0.045 * chroma, 1 + 0.015 * chroma * t
    angle = 60 * np.exp(-(((hue - 275) / 25) ** 2))
    rotation = -np.sin(np.radians(angle)) * 2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    parts = d_light / scale_light, d_chroma / scale_chroma, d_hue / scale_hue
    squared = parts[0] ** 2 + parts[1] ** 2 + parts[2] ** 2 + rotation * parts[1] * parts[2]
    found: Array = np.sqrt(np.maximum(squared, 0))
    return found


def _primed(a_3: Array, b_3: Array) -> list[tuple[Array, Array, Array]]:
    """L', C' and h' (degrees, 0..360) of both, equations 2 to 7."""
    mean = (np.hypot(a_3[..., 1], a_3[..., 2]) + np.hypot(b_3[..., 1], b_3[..., 2])) / 2
    stretch = 1.5 - 0.5 * np.sqrt(mean**7 / (mean**7 + 25.0**7))
    found = []
    for colour in (a_3, b_3):
        red, yellow = colour[..., 1] * stretch, colour[..., 2]
        found.append((colour[..., 0], np.hypot(red, yellow), np.degrees(np.arctan2(yellow, red)) % 360))
    return found


def _cos(degrees: Array) -> Array:
    found: Array = np.cos(np.radians(degrees))
    return found
