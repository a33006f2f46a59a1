"""Texts that are shown for a time: each is drawn when its time comes and forgotten when that is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from vedit.media.captions import Caption
from vedit.media.frames import Rect
from vedit.media.overlay import Drawing, Overlay

Place = Callable[[int, int], tuple[int, int]]


class TimedTexts:
    """Captions on a canvas, at the moments that are asked for, which never run backwards.

    place: where the left top corner of a drawing of some width and height goes. step: -1 where a text that is
    shown while another is goes above it, 1 below, 0 where all stay in their place.
    """

    def __init__(
        self,
        captions: Sequence[Caption],
        draw: Callable[[str], Drawing],
        place: Place,
        canvas: Rect,
        opacity: int,
        step: int = 0,
    ) -> None:
        self.captions, self.draw, self.place = captions, draw, place
        self.canvas, self.opacity, self.step = canvas, opacity, step
        self.next = 0
        self.active: list[tuple[Caption, Overlay]] = []

    def at(self, moment_s: Fraction) -> list[Overlay]:
        """What is shown then; a text is the same object for as long as it is."""
        self.active = [pair for pair in self.active if _is_on(pair[0], moment_s)]
        while self.next < len(self.captions) and self.captions[self.next].start_s <= moment_s:
            caption = self.captions[self.next]
            self.next += 1
            if _is_on(caption, moment_s):
                self.active.append((caption, self._overlay(caption)))
        return [overlay for _, overlay in self.active]

    def _overlay(self, caption: Caption) -> Overlay:
        drawing = self.draw(caption.text)
        width, height = drawing.coverage.size
        x, y = self.place(width, height)
        if self.step:
            y = self._beside(Rect(x, y, width, height))
        return Overlay(drawing, self.canvas, x, y, self.opacity)

    def _beside(self, rect: Rect) -> int:
        """The top of a text that covers none of those shown already, as far as there is room."""
        rects = sorted((overlay.rect for _, overlay in self.active), key=lambda r: self.step * r.y)
        for other in rects:
            if rect.clipped(other).is_empty:
                continue
            gap = max(1, other.h // 8)
            y = other.bottom + gap if self.step > 0 else other.y - gap - rect.h
            rect = rect._replace(y=max(0, min(y, self.canvas.h - rect.h)))
        return rect.y


def _is_on(caption: Caption, moment_s: Fraction) -> bool:
    return caption.start_s <= moment_s and (caption.end_s is None or moment_s < caption.end_s)
