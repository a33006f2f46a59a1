"""The colours that a clip draws, looked at before it is written: for one table that its images share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from vedit.errors import silent
from vedit.media.frames import Clip, Frame, Frames, Palette
from vedit.media.gif import lzw
from vedit.media.gif.colour_ids import NOTHING, ColourIds, Picture, Screen, occurring
from vedit.media.gif.compose import CLEAR, RESTORE
from vedit.media.gif.container import GREYS, palette_bits
from vedit.media.gif.drawing import MOST_COLOURS, Optimiser
from vedit.media.gif.palettes import split

FEW_PIXELS = 8_000_000  # of a clip: so many are decoded twice, to leave unused colours out
MANY_PIXELS = 16_000_000  # the same where there are several palettes to be joined
MOST_SETS = 400  # sets of colours from which a shared table is chosen


class Survey(NamedTuple):
    """What is known before the first image is written.

    shared: the global table; None where there is nothing to share. is_wild: whether images must be disposed
    of just as the source does, since no palette could draw what that brings back.
    colours: how many the palettes hold at most.
    """

    shared: Palette | None
    is_wild: bool = False
    colours: int = 1 << 24


def again(first: Frame, frames: Frames) -> Frames:
    """The frames with one that was taken from them."""
    yield first
    yield from frames


def survey(clip: Clip, frames: Frames) -> Survey:
    """Look at packed frames once, and at their pixels where that is worth it."""
    seen = _Seen(clip)
    optimiser = Optimiser(clip, np.uint32)
    is_mixed = False
    for drawing in optimiser.run(seen.pictures(frames)):
        needed = occurring(drawing.numbers[drawing.must])
        is_mixed |= len(needed) > MOST_COLOURS
        seen.needs[_mask(needed)] += 1
    for frame in frames:  # behind many pixels: what their palettes say is enough
        seen.add(frame)
        is_mixed |= frame.disposal == CLEAR and len(seen.palettes) > 1
        seen.needs[seen.mask_of(frame)] += 1
    is_wild = is_mixed or (
        seen.is_restored and (len(seen.palettes) > 1 or max(map(len, seen.palettes)) >= 3 * 256)
    )
    most = sum(map(len, seen.palettes)) // 3 + 2
    if clip.palette is None and GREYS.rgb in seen.palettes:  # images without any: it is for viewers to say
        return Survey(GREYS, is_wild, most)
    return Survey(_shared(seen.needs, seen.colours, clip.palette), is_wild, most)


class _Seen:
    """What a survey has seen of a clip: its palettes, and how many images need which colours."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self.colours = ColourIds()
        self.unpacker = lzw.Unpacker(clip, clip.limits, silent)
        self.palettes: set[bytes] = set()
        self.needs: Counter[int] = Counter()  # a bit for every colour
        self.pixels, self.is_restored = 0, False

    def add(self, frame: Frame) -> Palette:
        palette = frame.palette or self.clip.palette or GREYS
        self.palettes.add(palette.rgb)
        self.pixels += frame.rect.area
        self.is_restored |= frame.disposal == RESTORE
        return palette

    def pictures(self, frames: Frames) -> Iterator[Picture]:
        """What the frames show, until there are too many to look at them for a few unused colours."""
        screen = Screen(self.clip.canvas, self.colours, np.uint32)
        for frame in frames:
            palette = self.add(frame)
            yield screen.show(self.unpacker(self.unpacker.admit(frame)), palette)
            if self.pixels > (FEW_PIXELS if len(self.palettes) == 1 else MANY_PIXELS):
                return

    def mask_of(self, frame: Frame) -> int:
        """The colours that a frame may draw."""
        table = self.colours.table(frame.palette or self.clip.palette or GREYS, frame.transparent)
        return _mask(np.unique(table))


def _mask(numbers: np.ndarray) -> int:
    return sum(1 << number for number in {int(number) for number in numbers} if number != NOTHING)


def _shared(needs: Counter[int], colours: ColourIds, source: Palette | None) -> Palette | None:
    """A table for as many images as it can serve, with the colours of most images first; the source's where
    that is no larger.
    """
    table = _covering(dict(needs.most_common(MOST_SETS)))
    uses: Counter[int] = Counter()
    for mask, count in needs.items():
        if mask & ~table == 0:
            for number in _numbers(mask):
                uses[number] += count
    ordered = [colours.colours[n] for n in sorted(_numbers(table), key=lambda n: (-uses[n], n))]
    if needs.total() > 1 and needs[table] and len(ordered) < 256:
        ordered.append(b"\0\0\0")  # room for a transparent index in images that use all of them
    if source is not None and palette_bits(source) <= palette_bits(Palette(b"".join(ordered) or b"\0\0\0")):
        theirs = _mask(np.array([colours.of(colour) for colour in split(source.rgb[:768])]))
        if _spared(needs, table) <= _spared(needs, theirs):  # images may then stay as they are stored
            return source
    return Palette(b"".join(ordered)) if ordered else None


def _spared(needs: Counter[int], table: int) -> int:
    """Bytes of palettes that images need not bring along."""
    return sum(count << mask.bit_count().bit_length() for mask, count in needs.items() if mask & ~table == 0)


def _covering(needs: dict[int, int]) -> int:
    """At most 256 colours that spare as many images as possible a palette of their own."""
    table, left = 0, list(needs)
    while left:
        prices = [
            ((mask & ~table).bit_count() + 0.01) / (needs[mask] << mask.bit_count().bit_length())
            for mask in left
        ]
        best = left.pop(prices.index(min(prices)))
        if (table | best).bit_count() <= 256:
            table |= best
    return table


def _numbers(mask: int) -> Iterator[int]:
    """The places of the bits that are set."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
