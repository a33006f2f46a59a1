"""How one image is written: the palette and the codes that take the fewest bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from PIL import Image

from vedit.media.frames import Clip, Frame, Palette
from vedit.media.gif import lzw, lzw_deferred
from vedit.media.gif.alike import Alike
from vedit.media.gif.colour_ids import NOTHING, ColourIds, occurring
from vedit.media.gif.container import GREYS, palette_bits
from vedit.media.gif.drawing import KEEP, MOST_COLOURS, Drawing
from vedit.media.gif.palettes import split

FULL_TABLE = 4800  # bytes of an image that may have filled a table
SMALL = 1 << 14  # pixels of an image for which a palette of its own is tried, where the shared one would do
REMEMBERED = 64  # images whose codes are kept, for clips that show them again
WORTH, MUCH = 0.002, 0.01  # shares of an image's bytes that are worth an effort, and much of it
SHARE = 0.1  # of all pixels, on which an effort is made that saves little
SPARE = 500_000  # pixels on which it is made anyway


class _Table(NamedTuple):
    """A palette for one image.

    numbers: of the colours, in the order of their indices. hidden: a free index for what stays as it is.
    is_own: whether the image has to bring it along.
    """

    palette: Palette
    numbers: np.ndarray
    hidden: int | None
    is_own: bool

    @property
    def cost(self) -> int:
        """Bytes of the palette in the file."""
        return 6 << palette_bits(self.palette) if self.is_own else 0


class _Way(NamedTuple):
    """One way of writing an image: planes of indices, the second as right as the first where it differs."""

    table: _Table
    plane: np.ndarray
    hides: bool
    code_size: int

    def coded(self, payload: bytes, has_control: bool) -> _Coded:
        """The way with its codes; a control block that nothing else needs counts."""
        control = 8 if self.hides and not has_control else 0
        return _Coded(self, payload, len(payload) + self.table.cost + control)


class _Coded(NamedTuple):
    way: _Way
    payload: bytes
    size: int


class _Written(NamedTuple):
    """A packed image; drawn: the numbers of its colours where they are not just those asked for."""

    frame: Frame
    drawn: np.ndarray | None = None


class _Habit:
    """Whether something slow is worth trying.

    It is where it has just saved much. Otherwise it gets its share of all pixels, and rests for longer and
    longer where it saves nothing.
    """

    def __init__(self) -> None:
        self.gain = 1.0
        self.skip = self.wait = 0
        self.budget: float = SPARE

    def is_due(self, pixels: int, canvas: int) -> bool:
        """Whether to try it on an image of so many pixels. canvas: those of the whole picture."""
        self.budget += SHARE * canvas
        if self.wait:
            self.wait -= 1
            return False
        if self.gain < MUCH and self.budget < pixels:
            return False
        self.budget -= pixels
        return True

    def learn(self, before: int, after: int) -> None:
        """Take in how many bytes an image took before and after."""
        self.gain = (before - after) / before
        self.skip = 0 if self.gain > WORTH else min(2 * self.skip + 1, 31)
        self.wait = self.skip


class Coder:
    """Write images in as few bytes as the ways that are tried take."""

    def __init__(
        self, clip: Clip, colours: ColourIds, shared: Palette | None, alike: Alike | None = None
    ) -> None:
        self.alike = alike
        self.canvas = clip.canvas.area
        self.source, self.colours, self.shared = clip.palette or GREYS, colours, shared
        entries = split(shared.rgb[:768]) if shared is not None else []
        self.entries = np.array([colours.of(colour) for colour in entries], np.int64)
        self.firsts = np.zeros(len(entries), bool)  # a colour that comes again may be hidden
        self.firsts[np.unique(self.entries, return_index=True)[1]] = True
        self.room = 2 << palette_bits(shared) if shared is not None else 0
        self.known: OrderedDict[bytes, _Written] = OrderedDict()
        self.deferring, self.choosing = _Habit(), _Habit()

    def packed(self, drawing: Drawing) -> _Written:
        """One image, compressed, and the colours that it draws where those are similar ones."""
        key = blake2b(drawing.numbers.tobytes() + drawing.must.tobytes(), digest_size=16).digest()
        key += bytes(drawing.rect) if max(drawing.rect) < 256 else repr(drawing.rect).encode()
        if key in self.known:
            self.known.move_to_end(key)
        else:
            self.known[key] = self._similar(drawing) if self.alike else _Written(self._written(drawing))
            if len(self.known) > REMEMBERED:
                self.known.popitem(last=False)
        known, drawn = self.known[key]
        frame = drawing.frame
        needs_control = bool(frame.duration or frame.user_input or known.transparent is not None)
        disposal = (
            0 if frame.disposal == KEEP and not needs_control else frame.disposal
        )  # as good, and shorter
        known = known.but(
            index=frame.index, pts=frame.pts, duration=frame.duration, before=frame.before,
            disposal=disposal, user_input=frame.user_input, has_control=needs_control,
        )  # fmt: skip
        return _Written(known, drawn)

    def _similar(self, drawing: Drawing) -> _Written:
        """The image in similar pixels, in the way that takes the fewest bytes without them."""
        assert self.alike is not None
        has_control = drawing.frame.duration > 0
        ways = list(self._ways(drawing))
        if not ways:  # similar colours of many images come together, more than a palette holds
            drawing = drawing._replace(numbers=self._fewer(drawing), stored=None)
            ways = list(self._ways(drawing))
        plain = [
            way.coded(lzw.encode(Image.fromarray(way.plane), way.code_size), has_control) for way in ways
        ]
        best = min(plain, key=lambda coded: coded.size)
        stored = drawing.stored and self._as_it_is(drawing.stored)
        coded, drawn = self._alike(drawing, best, ways, self.alike, has_control)
        if stored is not None and _size(stored) <= coded.size:
            return _Written(stored, drawing.own)
        return _Written(self._frame(drawing, coded), drawn)

    def _alike(
        self, drawing: Drawing, best: _Coded, ways: list[_Way], alike: Alike, has_control: bool
    ) -> tuple[_Coded, np.ndarray]:
        """The image in similar pixels, where that takes fewer bytes, and the colours that it draws."""
        way, second = best.way, _other_way(best.way, ways)
        code_size = max(way.code_size, second.code_size if second else 0)
        near = alike.near(way.table.numbers, 1 << code_size, way.table.hidden)
        payload, indices = lzw_deferred.encode_similar(
            way.plane.tobytes(), code_size, near, second.plane.tobytes() if second else None
        )
        similar = way._replace(hides=way.hides or second is not None, code_size=code_size)
        coded = similar.coded(payload, has_control)
        if coded.size >= best.size:
            return best, self._drawn(best.way, best.way.plane)
        shape = drawing.numbers.shape
        return coded, self._drawn(similar, np.frombuffer(indices, np.uint8).reshape(shape))

    def _drawn(self, way: _Way, indices: np.ndarray) -> np.ndarray:
        """The numbers of the colours that indices stand for."""
        numbers = np.zeros(256, np.uint32)
        numbers[: len(way.table.numbers)] = way.table.numbers
        if way.hides and way.table.hidden is not None:
            numbers[way.table.hidden] = NOTHING
        drawn: np.ndarray = numbers[indices]
        return drawn

    def _fewer(self, drawing: Drawing) -> np.ndarray:
        """The numbers to be drawn with the most frequent colours only, and the nearest of them for others."""
        assert self.alike is not None
        counts = np.bincount(drawing.numbers[drawing.must], minlength=len(self.colours.colours))
        kept = np.argsort(-counts, kind="stable")[:MOST_COLOURS]
        nearest = np.arange(len(counts))
        for number in np.flatnonzero(counts):
            if counts[number] and number not in kept:
                nearest[number] = self.alike.nearest(int(number), kept)
        return np.where(drawing.must, nearest[drawing.numbers], drawing.numbers).astype(drawing.numbers.dtype)

    def _written(self, drawing: Drawing) -> Frame:
        ways, has_control = list(self._ways(drawing)), drawing.frame.duration > 0
        best: _Coded | None = None
        for way in ways:
            coded = way.coded(lzw.encode(Image.fromarray(way.plane), way.code_size), has_control)
            if best is None or coded.size < best.size:
                best = coded
        if best is not None:
            best = self._better(best, ways, has_control)
        stored = drawing.stored and self._as_it_is(drawing.stored)
        if best is None or (stored is not None and _size(stored) <= best.size):
            assert stored is not None, "what no palette draws is stored so"
            return stored
        return self._frame(drawing, best)

    def _frame(self, drawing: Drawing, coded: _Coded) -> Frame:
        table = coded.way.table
        return drawing.frame.but(
            kind="packed",
            rect=drawing.rect,
            pixels=coded.payload,
            transparent=table.hidden if coded.way.hides else None,
            palette=table.palette if table.is_own else None,
            code_size=coded.way.code_size,
            interlaced=False,
        )

    def _as_it_is(self, stored: Frame) -> Frame:
        """The source's image, with a palette of its own where the shared table is another."""
        if stored.palette is None:
            if self.shared is None or self.shared.rgb != self.source.rgb:
                return stored.but(palette=self.source)
        elif self.shared is not None and self.shared.rgb == stored.palette.rgb:
            return stored.but(palette=None)
        return stored

    def _better(self, best: _Coded, ways: list[_Way], has_control: bool) -> _Coded:
        """Try the encoder that takes its time, where it has a choice and where a table fills up."""
        second = _other_way(best.way, ways)
        if second is not None and self.choosing.is_due(second.plane.size, self.canvas):
            code_size = max(second.code_size, best.way.code_size)
            way = best.way._replace(hides=True, code_size=code_size)
            coded = way.coded(
                lzw_deferred.encode(best.way.plane.tobytes(), code_size, second.plane.tobytes()), has_control
            )
            self.choosing.learn(best.size, coded.size)
            if coded.size < best.size:
                return coded
        if len(best.payload) > FULL_TABLE and self.deferring.is_due(best.way.plane.size, self.canvas):
            payload = lzw_deferred.encode(best.way.plane.tobytes(), best.way.code_size)
            coded = best.way.coded(payload, has_control)
            self.deferring.learn(best.size, coded.size)
            if coded.size < best.size:
                return coded
        return best

    # --- palettes ----------------------------------------------------------------------------

    def _ways(self, drawing: Drawing) -> Iterator[_Way]:
        """Ways of writing an image, without its codes."""
        numbers, must = drawing.numbers, drawing.must
        is_partial = not must.all()
        needed = occurring(numbers[must] if is_partial else numbers)
        free = occurring(numbers[~must]) if is_partial else needed[:0]
        has_holes = bool((free == NOTHING).any())
        for table in self._tables(needed, free, has_holes, numbers.size):
            is_hiding = is_partial and table.hidden is not None
            is_served = not has_holes and self._serves(table, free)
            if is_hiding:
                yield self._way(table, np.where(must, numbers, NOTHING), hides=True)
            if is_served:
                yield self._way(table, numbers, hides=False)
            if is_hiding and is_served:
                yield self._way(table, _varied_hidden(numbers, must), hides=True)

    def _serves(self, table: _Table, numbers: np.ndarray) -> bool:
        return len(numbers) <= len(table.numbers) and bool(np.isin(numbers, table.numbers).all())

    def _way(self, table: _Table, numbers: np.ndarray, hides: bool) -> _Way:
        lookup = np.zeros(len(self.colours.colours), np.uint8)
        lookup[table.numbers[::-1]] = np.arange(len(table.numbers) - 1, -1, -1)  # the first of equal ones
        lookup[NOTHING] = table.hidden or 0
        plane = lookup[numbers]
        return _Way(table, plane, hides, max(2, int(plane.max()).bit_length()))

    def _tables(self, needed: np.ndarray, free: np.ndarray, has_holes: bool, pixels: int) -> Iterator[_Table]:
        """Palettes that have the colours needed."""
        if self.shared is not None and np.isin(needed, self.entries).all():
            used = self.firsts & np.isin(self.entries, needed)
            unused = np.flatnonzero(~used)
            hidden = int(unused[0]) if unused.size else None
            if hidden is None and len(self.entries) < self.room:
                hidden = len(self.entries)
            is_enough = hidden is not None or (not has_holes and bool(np.isin(free, self.entries).all()))
            if is_enough:
                yield _Table(self.shared, self.entries, hidden, is_own=False)
            highest = int(np.flatnonzero(used)[-1]) if used.any() else 0
            is_short = highest < 16 or highest.bit_length() <= max(1, len(needed)).bit_length()
            if is_enough and (pixels > SMALL or is_short):
                return
        if len(free) <= 256:
            every = np.union1d(needed, free)
            every = every[every != NOTHING]
            if len(every) <= 256 and (not has_holes or len(every) < 256):
                yield self._own(every, has_slot=has_holes)
            if len(every) == len(needed):
                return
        if len(free) and len(needed) < 256:
            yield self._own(needed, has_slot=True)

    def _own(self, numbers: np.ndarray, has_slot: bool) -> _Table:
        colours = [self.colours.colours[number] for number in numbers]
        is_padded = len(colours) < 2 << palette_bits(Palette(b"".join(colours) or b"\0\0\0"))
        hidden = len(colours) if has_slot or is_padded else None
        rgb = b"".join(colours) + (b"\0\0\0" if hidden is not None else b"")
        return _Table(Palette(rgb), numbers, hidden, is_own=True)


def _varied_hidden(numbers: np.ndarray, must: np.ndarray) -> np.ndarray:
    """The picture with those runs hidden that stay and are of several colours: a run of one colour goes on
    with its neighbours where that is theirs.
    """
    flat, is_free = numbers.ravel(), ~must.ravel()
    begins = is_free.copy()
    begins[1:] &= must.ravel()[:-1]
    run = np.cumsum(begins)
    turns = is_free[1:] & is_free[:-1] & (flat[1:] != flat[:-1])
    varied = np.zeros(int(run[-1]) + 1, bool)
    varied[run[1:][turns]] = True
    return np.where(is_free & varied[run], NOTHING, flat).astype(numbers.dtype).reshape(numbers.shape)


def _other_way(way: _Way, ways: list[_Way]) -> _Way | None:
    """The way that hides what this one draws, or the other way about."""
    return next((other for other in ways if other.table is way.table and other.hides != way.hides), None)


def _size(frame: Frame) -> int:
    """Bytes of a packed image with its palette."""
    return len(frame.pixels) + (6 << palette_bits(frame.palette) if frame.palette is not None else 0)
