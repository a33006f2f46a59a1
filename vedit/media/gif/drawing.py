"""Which pixels of which images show a clip: only what changed is drawn, and equal pictures are one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from vedit.media.frames import Block, Clip, Frame, Rect
from vedit.media.gif.alike import Alike
from vedit.media.gif.colour_ids import NOTHING, NOWHERE, Picture, occurring, part
from vedit.media.gif.compose import CLEAR, RESTORE
from vedit.media.timing import LONGEST_CS, SHORTEST_CS

KEEP = 1
CHEAPER = 0.5  # share of the pixels with which another disposal must do
MOST_COLOURS = 255  # of one image, beside the transparent index


class Drawing(NamedTuple):
    """One image to be drawn: its time and disposal, and what is to be seen in its rectangle.

    numbers: of the colours. must: where they have to be drawn; elsewhere the canvas shows them already.
    stored: the source's image where drawing it here gives the same picture; own: the numbers that it draws.
    """

    frame: Frame
    rect: Rect
    numbers: np.ndarray
    must: np.ndarray
    stored: Frame | None = None
    own: np.ndarray | None = None


class _Pending:
    """The picture that waits for the next one, on which its disposal depends."""

    def __init__(self, picture: Picture, rect: Rect, base: np.ndarray) -> None:
        self.frame, self.picture, self.rect = picture.frame, picture, rect
        self.base = base  # what stands in `rect` before it is drawn
        self.blocks: tuple[Block, ...] = ()


class Optimiser:
    """Draw pictures with as few pixels as they take.

    merges: whether equal pictures in a row become one. Every picture and its time stay as they are, but for
    pixels that may keep a colour that is `alike`.
    """

    def __init__(
        self,
        clip: Clip,
        kind: type,
        *,
        merges: bool = True,
        is_wild: bool = False,
        alike: Alike | None = None,
    ) -> None:
        self.clip, self.merges, self.is_wild, self.alike = clip, merges, is_wild, alike
        self.shown: np.ndarray = np.zeros((clip.height, clip.width), kind)  # the picture that is pending
        self.base = self.shown.copy()  # the canvas that it is drawn on
        self.source = self.shown if alike is None else self.shown.copy()  # the same picture in the source
        self.number = 0

    def run(self, pictures: Iterator[Picture]) -> Iterator[Drawing]:
        """Yield what is to be drawn, one image behind the input."""
        pending: _Pending | None = None
        blocks: tuple[Block, ...] = ()
        for picture in pictures:
            if pending is None:
                pending = self._begin(picture, picture.rect)
                continue
            if self._may_merge(pending.frame, picture):
                pending.frame = pending.frame.but(duration=pending.frame.duration + picture.frame.duration)
                blocks += picture.frame.before
                continue
            disposal, rect = self._disposal(pending, picture)
            yield self._drawing(pending, rect, disposal)
            self._leave(rect, disposal)
            frame = picture.frame
            picture = picture._replace(frame=frame.but(before=blocks + frame.before))
            blocks = ()
            pending = self._begin(picture, picture.rect if disposal == KEEP else picture.rect.joined(rect))
        if pending is not None:
            yield self._drawing(pending, pending.rect, KEEP)
        self.clip.tail[:0] = blocks

    def _begin(self, picture: Picture, where: Rect) -> _Pending:
        if self.alike is None:
            part(self.shown, picture.rect)[...] = picture.numbers
        else:
            self._begin_similar(picture, where, self.alike)
        changed = part(self.shown, where) != part(self.base, where)
        return _Pending(picture, _bounds(changed).moved(where.x, where.y), self.base)

    def _begin_similar(self, picture: Picture, where: Rect, alike: Alike) -> None:
        """Take in a picture of which what does not change in the source need not change here either."""
        before, seen = part(self.source, picture.rect), part(self.shown, picture.rect)
        np.copyto(seen, picture.numbers, where=before != picture.numbers)
        before[...] = picture.numbers
        here, base = part(self.shown, where), part(self.base, where)
        np.copyto(here, part(self.source, where), where=here != base)  # errors do not add up
        if self.number:
            stays = alike.may_stay(here, base)
            here[stays] = base[stays]

    def _may_merge(self, before: Frame, picture: Picture) -> bool:
        """Whether a picture is one with that before. A time that players change is not added up."""
        frame = picture.frame
        times = before.duration, frame.duration
        return (
            self.merges
            and min(times) >= SHORTEST_CS
            and sum(times) <= LONGEST_CS
            and not before.user_input
            and not frame.user_input
            and bool(np.array_equal(part(self.source, picture.rect), picture.numbers))
        )

    def _disposal(self, pending: _Pending, after: Picture) -> tuple[int, Rect]:
        """What becomes of the pending image before the next one, and the rectangle that it then needs."""
        own, rect = pending.frame.disposal, pending.rect
        if self.is_wild:
            if own == CLEAR:
                return CLEAR, pending.frame.rect.clipped(self.clip.canvas)
            return (own if own == RESTORE else KEEP), rect
        changed = part(self.source, after.rect) != after.numbers
        vanishing = changed & (after.numbers == NOTHING)
        kept = None if vanishing.any() else int(np.count_nonzero(changed))
        is_first = not self.number
        restored = None if is_first or kept == 0 else self._restored(pending, after)
        if restored is not None and (kept is None or restored < CHEAPER * kept):
            return RESTORE, rect
        if kept is not None:
            return KEEP, rect
        gone = _bounds(vanishing).moved(after.rect.x, after.rect.y)
        return CLEAR, rect.joined(gone)

    def _restored(self, pending: _Pending, after: Picture) -> int | None:
        """How many pixels the next image has to draw where the pending one is taken away; None for no way."""
        where = after.rect.joined(pending.rect)
        base = part(self.base, where)
        target = part(self.shown, where).copy()
        part(target, after.rect.moved(-where.x, -where.y))[...] = after.numbers
        changed = target != base
        if (changed & (target == NOTHING)).any() or len(occurring(target[changed])) > MOST_COLOURS:
            return None
        return int(np.count_nonzero(changed))

    def _drawing(self, pending: _Pending, rect: Rect, disposal: int) -> Drawing:
        self.number += 1
        if rect.is_empty:
            rect, disposal = Rect(0, 0, 1, 1), KEEP
        frame, numbers = pending.frame, part(self.shown, rect).copy()
        if disposal == KEEP and frame.disposal in (0, KEEP):
            disposal = frame.disposal
        must = numbers != part(self.base, rect)
        stored = self._stored(pending, disposal) if disposal != CLEAR else None
        own = pending.picture.own
        if self.alike is not None:  # where nothing must be drawn, something nearer may be
            numbers = np.where(must, numbers, part(self.source, rect))
        return Drawing(frame.but(disposal=disposal, pixels=None), rect, numbers, must, stored, own)

    def _stored(self, pending: _Pending, disposal: int) -> Frame | None:
        """The source's image, if drawing it shows the picture here as well."""
        stored, own = pending.picture.stored, pending.picture.own
        if stored is None or stored.rect.joined(pending.rect) != stored.rect:
            return None
        differs = part(self.shown, stored.rect) != part(self.base, stored.rect)
        return None if (differs & (own == NOTHING)).any() else stored.but(disposal=disposal)

    def redraw(self, rect: Rect, numbers: np.ndarray) -> None:
        """Take what an image really shows, where it has been drawn with similar pixels."""
        drawn = numbers != NOTHING
        part(self.shown, rect)[drawn] = numbers[drawn]

    def _leave(self, rect: Rect, disposal: int) -> None:
        """Make the canvas what the next image is drawn on."""
        if disposal == CLEAR:
            part(self.base, rect)[...] = NOTHING
        elif disposal != RESTORE:
            part(self.base, rect)[...] = part(self.shown, rect)


def _bounds(mask: np.ndarray) -> Rect:
    """The smallest rectangle around what is set."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not rows.size:
        return NOWHERE
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[top:bottom].any(axis=0))
    left, right = int(columns[0]), int(columns[-1]) + 1
    return Rect(left, top, right - left, bottom - top)
