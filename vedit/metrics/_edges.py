"""Edges of a grey picture: Canny's detector, bit for bit as OpenCV computes it.

Source: Canny 1986; `cv2.Canny(grey, low, high)` with its defaults: a 3x3 Sobel whose border repeats, sums of
absolute gradients, a suppression in four directions divided at tan 22.5 and 67.5 degrees in fixed point, and
edges grown over eight neighbours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vedit.metrics.types import Pixels

LOW, HIGH = 100, 200
TANGENT = round(0.4142135623730950488 * 2**15)  # of 22.5 degrees
Edges = NDArray[np.bool_]
Whole = NDArray[np.int64]


def edges_of(frame_YX3: Pixels) -> Edges:
    """Of an RGB frame, on Pillow's grey levels."""
    return canny(np.asarray(Image.fromarray(frame_YX3).convert("L")))


def canny(grey_YX: Pixels, low: int = LOW, high: int = HIGH) -> Edges:
    """Where the edges of a grey picture are."""
    dx, dy = sobel(grey_YX.astype(np.int64))
    size = np.abs(dx) + np.abs(dy)
    is_ridge = (size > low) & is_largest(size, dx, dy)
    return grown(is_ridge & (size > high), is_ridge)


def sobel(grey_YX: Whole) -> tuple[Whole, Whole]:
    """Gradients to the right and downwards."""
    wide = np.pad(grey_YX, 1, mode="edge")
    across, down = wide[:, 2:] - wide[:, :-2], wide[2:] - wide[:-2]
    return across[:-2] + 2 * across[1:-1] + across[2:], down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]


def is_largest(size: Whole, dx: Whole, dy: Whole) -> Edges:
    """Whether a gradient is larger than both along its direction; the first of two equal ones is."""
    wide = np.pad(size, 1)
    rows, columns = size.shape

    def beside(down: int, right: int) -> Whole:
        return wide[1 + down : 1 + down + rows, 1 + right : 1 + right + columns]

    x, y = np.abs(dx), np.abs(dy) << 15
    low = x * TANGENT
    level = (size > beside(0, -1)) & (size >= beside(0, 1))
    upright = (size > beside(-1, 0)) & (size >= beside(1, 0))
    falling = (size > beside(-1, -1)) & (size > beside(1, 1))
    rising = (size > beside(-1, 1)) & (size > beside(1, -1))
    slanted = np.where((dx ^ dy) < 0, rising, falling)
    found: Edges = np.where(y < low, level, np.where(y > low + (x << 16), upright, slanted))
    return found


def grown(seeds: Edges, allowed: Edges) -> Edges:
    """The seeds, and what of the allowed is joined to them over eight neighbours."""
    before, now = -1, int(seeds.sum())
    while now != before:
        seeds = within(seeds, 1) & allowed
        before, now = now, int(seeds.sum())
    return seeds


def within(marked: Edges, reach: int) -> Edges:
    """Pixels that a marked one is at most `reach` rows and columns away from."""
    for axis in (0, 1):
        found = marked.copy()
        for by in range(1, reach + 1):
            here, there = (
                tuple(part if axis == place else slice(None) for place in (0, 1))
                for part in (slice(by, None), slice(None, -by))
            )
            found[here] |= marked[there]
            found[there] |= marked[here]
        marked = found
    return marked


def f1(a: Edges, b: Edges, tolerance: int) -> float:
    """F1 of the edges of a against those of b, each matched by any of the other within `tolerance` pixels.

    1 where neither has any, 0 where one has none.
    """
    if not (a.any() and b.any()):
        return float(not a.any() and not b.any())
    precision = float(within(b, tolerance)[a].mean())
    recall = float(within(a, tolerance)[b].mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
