"""What a GIF shows, as numbers of colours: each colour of the clip has one, and 0 is transparent.

Palettes differ from image to image, so equal indices say nothing; equal numbers say that pixels look the
same.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vedit.media.frames import Frame, Palette, Rect
from vedit.media.gif.compose import CLEAR, RESTORE

NOTHING = 0  # the number of what is transparent
NOWHERE = Rect(0, 0, 0, 0)


class ColourIds:
    """The colours of a clip in the order in which they are met; number 1 is the first."""

    def __init__(self) -> None:
        self.colours: list[bytes] = [b"\0\0\0"]
        self.number: dict[bytes, int] = {}
        self._tables: dict[tuple[bytes, int | None], np.ndarray] = {}

    def of(self, colour: bytes) -> int:
        """The number of a colour."""
        found = self.number.get(colour)
        if found is None:
            found = self.number[colour] = len(self.colours)
            self.colours.append(colour)
        return found

    def table(self, palette: Palette, hidden: int | None) -> np.ndarray:
        """The number for every index of a palette; black beyond it, NOTHING for the hidden one."""
        key = palette.rgb, hidden
        if key not in self._tables:
            rgb = palette.rgb[:768].ljust(768, b"\0")
            if hidden is not None and hidden >= len(palette):
                hidden = None
            found = [NOTHING if i == hidden else self.of(rgb[3 * i : 3 * i + 3]) for i in range(256)]
            if len(self._tables) >= 64:
                self._tables.pop(next(iter(self._tables)))
            self._tables[key] = np.array(found, np.uint32)
        return self._tables[key]

    def rgb(self) -> np.ndarray:
        """The colours as rows of three 8-bit values, in the order of their numbers."""
        return np.frombuffer(b"".join(self.colours), np.uint8).reshape(-1, 3)


class Picture(NamedTuple):
    """One frame as it is shown.

    frame: the stored image. rect: where the picture may differ from the one before. numbers: of the colours
    shown there, rect.h x rect.w. own: those that the image itself draws, within its part of the canvas.
    stored: the compressed image, where it holds just these pixels.
    """

    frame: Frame
    rect: Rect
    numbers: np.ndarray
    own: np.ndarray
    stored: Frame | None = None


def part(canvas: np.ndarray, rect: Rect) -> np.ndarray:
    """The view of a rectangle of a canvas."""
    return canvas[rect.y : rect.bottom, rect.x : rect.right]


class Screen:
    """The logical screen of a GIF, in numbers of colours; it begins transparent."""

    def __init__(self, canvas: Rect, colours: ColourIds, kind: type) -> None:
        self.canvas, self.colours = canvas, colours
        self.shown: np.ndarray = np.zeros((canvas.h, canvas.w), kind)
        self.cleared = canvas  # where the picture may differ before anything is drawn
        self.leaving: tuple[Rect, np.ndarray | None] | None = None  # where, and what stood there

    def show(self, frame: Frame, palette: Palette) -> Picture:
        """Draw an index frame, after disposing of the one before."""
        rect = frame.rect.clipped(self.canvas)
        changed = self._dispose().joined(rect)
        here = part(self.shown, rect)
        before = here.copy() if frame.disposal == RESTORE else None
        indices = np.asarray(frame.pixels)
        if rect != frame.rect:
            indices = part(indices, rect.moved(-frame.rect.x, -frame.rect.y))
        drawn = self.colours.table(palette, frame.transparent).astype(self.shown.dtype)[indices]
        if frame.transparent is None:
            here[...] = drawn
        else:
            np.copyto(here, drawn, where=drawn != NOTHING)
        if frame.disposal in (CLEAR, RESTORE):
            self.leaving = rect, before
        return Picture(frame, changed, part(self.shown, changed).copy(), drawn)

    def _dispose(self) -> Rect:
        changed, self.cleared = self.cleared, NOWHERE
        if self.leaving is not None:
            rect, before = self.leaving
            part(self.shown, rect)[...] = NOTHING if before is None else before
            changed, self.leaving = changed.joined(rect), None
        return changed


def occurring(numbers: np.ndarray) -> np.ndarray:
    """The numbers that occur, in order."""
    return np.flatnonzero(np.bincount(numbers.ravel()))
