"""Which colours may stand for each other, where a GIF is made smaller at the cost of small errors."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from vedit.media.gif.colour_ids import NOTHING, ColourIds

STILL = 0.5  # share of the error that is allowed, for pixels that stay as they were
MOVING, CALM, SETTLED = (
    0.35,
    0.8,
    0.85,
)  # shares of a picture: that moves, that changes, of that: that is near


class Alike:
    """Which colours may stand for each other.

    loss: as gifsicle's `--lossy`: squared errors of up to ten times as much, summed over red, green and blue.
    """

    def __init__(self, colours: ColourIds, loss: Fraction | int) -> None:
        self.colours, self.limit = colours, int(10 * loss)
        self._rgb: np.ndarray = np.zeros((0, 3), np.int32)

    def _table(self) -> np.ndarray:
        if len(self._rgb) != len(self.colours.colours):
            self._rgb = self.colours.rgb().astype(np.int32)
        return self._rgb

    def may_stay(self, numbers: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Where a picture may show what is there already: pixels that are near, if most of the picture stays.

        Pixels that stay among others that move break strings, and take more bytes than they save. What is
        transparent is like nothing else.
        """
        rgb = self._table()
        near: np.ndarray = (numbers != others) & (numbers != NOTHING) & (others != NOTHING)
        error = rgb[numbers[near]] - rgb[others[near]]
        near[near] = np.einsum("nc,nc->n", error, error) <= STILL * self.limit
        changed = np.count_nonzero(numbers != others) / near.size
        stays = np.count_nonzero(near) / near.size
        is_calm = changed - stays <= MOVING and (changed <= CALM or stays >= SETTLED * changed)
        return near if is_calm else np.zeros_like(near)

    def nearest(self, number: int, others: np.ndarray) -> int:
        """That of other colours which is most like one."""
        rgb = self._table()
        error = rgb[others] - rgb[number]
        return int(others[np.einsum("nc,nc->n", error, error).argmin()])

    def near(self, numbers: np.ndarray, size: int, hidden: int | None) -> list[dict[int, int]]:
        """For each of `size` indices of a table those that are near, itself too, each with its squared error.

        hidden: an index that stands for no colour.
        """
        rgb = self._table()[numbers[:size]]
        found: list[dict[int, int]] = [{i: 0} for i in range(size)]
        for i, colour in enumerate(rgb):
            if i == hidden:
                continue
            error = rgb - colour
            squares = np.einsum("nc,nc->n", error, error)
            close = np.flatnonzero(squares <= self.limit)
            found[i].update((int(j), int(squares[j])) for j in close if j not in (i, hidden))
        return found
