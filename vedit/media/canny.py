"""Edges of pictures as ControlNets for edges were trained on them.

Source: Canny 1986 as OpenCV's `Canny` computes it: Sobel over 3x3 pixels with the border repeated,
|dx| + |dy| of the colour where that is largest, thinned along one of four directions, then followed from
strong pixels to weak ones. Checked against OpenCV 5.0, pixel by pixel. LOW and HIGH are those that
diffusers shows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LOW, HIGH = 100, 200
TAN = 13573  # of 22.5 degrees in 15 binary places
Ints = NDArray[np.int32]


def edges(frame_YX3: NDArray[np.uint8], low: int = LOW, high: int = HIGH) -> NDArray[np.uint8]:
    """White edges on black, (Y, X, 3) uint8.

    low, high: sums of differences above which a pixel goes on an edge, and above which it begins one.
    """
    dx, dy = gradients(frame_YX3.astype(np.int32))
    size_YX = np.abs(dx) + np.abs(dy)
    thin_YX = is_ridge(size_YX, dx, dy) & (size_YX > low)
    found_YX = followed(thin_YX, thin_YX & (size_YX > high))
    return np.repeat((found_YX * np.uint8(255))[..., None], 3, axis=2)


def gradients(frame_YX3: Ints) -> tuple[Ints, Ints]:
    """Sobel's differences along x and along y, (Y, X) each, of the colour whose are largest."""
    wide = np.pad(frame_YX3, ((1, 1), (1, 1), (0, 0)), mode="edge")
    across, down = wide[:, 2:] - wide[:, :-2], wide[2:] - wide[:-2]
    dx = across[:-2] + 2 * across[1:-1] + across[2:]
    dy = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    colour = (np.abs(dx) + np.abs(dy)).argmax(2)[..., None]
    return np.take_along_axis(dx, colour, 2)[..., 0], np.take_along_axis(dy, colour, 2)[..., 0]


def is_ridge(size_YX: Ints, dx: Ints, dy: Ints) -> NDArray[np.bool_]:
    """Where a gradient is the largest along its own direction, to the nearest eighth of a turn."""
    wide = np.pad(size_YX, 1)

    def beside(rows: int, columns: int) -> Ints:
        return wide[1 + rows : wide.shape[0] - 1 + rows, 1 + columns : wide.shape[1] - 1 + columns]

    x, y = np.abs(dx).astype(np.int64), np.abs(dy).astype(np.int64) << 15
    is_flat, is_steep = y < x * TAN, y > x * TAN + (x << 16)
    # of two equal neighbours along a row or a column the first is taken; across, neither
    flat = (size_YX > beside(0, -1)) & (size_YX >= beside(0, 1))
    steep = (size_YX > beside(-1, 0)) & (size_YX >= beside(1, 0))
    falling = (size_YX > beside(-1, -1)) & (size_YX > beside(1, 1))
    rising = (size_YX > beside(-1, 1)) & (size_YX > beside(1, -1))
    across = np.where((dx ^ dy) < 0, rising, falling)
    found: NDArray[np.bool_] = np.where(is_flat, flat, np.where(is_steep, steep, across))
    return found


def followed(thin_YX: NDArray[np.bool_], strong_YX: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The thin pixels that touch a strong one, by way of other thin ones, corners included."""
    rows, columns = thin_YX.shape
    open_ = np.pad(thin_YX, 1).ravel()
    width = columns + 2
    found: NDArray[Any] = np.pad(strong_YX, 1).ravel()
    around = np.array([-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1])
    front = np.flatnonzero(found)
    while len(front):
        reached = np.unique((front[:, None] + around).ravel())
        front = reached[open_[reached] & ~found[reached]]
        found[front] = True
    return found.reshape(rows + 2, width)[1:-1, 1:-1]
