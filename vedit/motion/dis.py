"""Optical flow by OpenCV's dense inverse search, where OpenCV is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vedit.errors import InputError, ModelError, option

if TYPE_CHECKING:
    from vedit.motion.places import Floats, Pixels


def opencv() -> Any:
    """OpenCV. Raises ModelError where it is not installed."""
    try:
        import cv2
    except ImportError:
        raise ModelError(
            f"{option('flow', 'dis')} needs OpenCV, not installed here.",
            "",
            f"Install with: pip install opencv-python-headless, or use {option('flow', 'tvl1')}",
        ) from None
    return cv2


def dis_pairs(a_PYX3: Pixels, b_PYX3: Pixels) -> Floats:
    """Flow from each frame of one clip to that of another, (P, 2, Y, X) in pixels."""
    return np.stack([dis_pair(a, b) for a, b in zip(a_PYX3, b_PYX3, strict=True)])


def dis_pair(a_YX3: Pixels, b_YX3: Pixels) -> Floats:
    """OpenCV's dense inverse search, preset medium, on grey levels. Raises ModelError without OpenCV."""
    cv2 = opencv()
    if min(a_YX3.shape[:2]) < 16:
        raise InputError(
            f"{option('flow', 'dis')} needs 16 pixels in each direction; the clip has"
            f" {a_YX3.shape[1]}x{a_YX3.shape[0]}.",
            "",
            f"Use {option('flow', 'tvl1')}",
        )
    grey = [cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY) for image in (a_YX3, b_YX3)]
    flow_YX2 = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*grey, None)
    return np.ascontiguousarray(flow_YX2.transpose(2, 0, 1), np.float32)
