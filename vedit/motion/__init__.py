"""Optical flow: how the pixels of a clip move, for methods and metrics alike.

A flow F from frame a to frame b says where each pixel of a is found in b: x + F(x), in pixels, x first.

    tvl1.py      TV-L1, without weights
    dis.py       OpenCV's dense inverse search
    places.py    pictures looked up along a flow, and which pixels can be found again
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from vedit.motion.dis import dis_pairs
from vedit.motion.places import Floats, Pixels, Warps, look_up, look_up_at, visible, warped
from vedit.motion.tvl1 import tvl1_pairs

Engine = Literal["tvl1", "dis"]

__all__ = [
    "Engine",
    "Floats",
    "Pixels",
    "Warps",
    "look_up",
    "look_up_at",
    "pairs_of",
    "tvl1_pairs",
    "visible",
    "warped",
]


def pairs_of(engine: Engine) -> Callable[[Pixels, Pixels], Floats]:
    """What gives the flow from frames to frames, (P, Y, X, 3) twice to (P, 2, Y, X)."""
    return tvl1_pairs if engine == "tvl1" else dis_pairs
