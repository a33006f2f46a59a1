"""The same pictures and delays in fewer bytes: what is redundant in a GIF is left out.

Three steps, of which the first needs a pass of its own:

    survey     looks at the palettes, and at the colours in use, for one table that all images share
    Optimiser  knows what every picture shows, draws only what changed, and merges equal pictures
    Coder      finds the palette and the codes of one image that take the fewest bytes
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from PIL import Image

from vedit.errors import silent
from vedit.media.frames import Block, Clip, Frame, Frames, Palette, Rect
from vedit.media.gif import lzw, lzw_deferred
from vedit.media.gif.colour_ids import NOTHING, NOWHERE, ColourIds, Picture, Screen, part
from vedit.media.gif.compose import CLEAR, RESTORE
from vedit.media.gif.container import GREYS, palette_bits
from vedit.media.memory import threads_for
from vedit.media.timing import LONGEST_CS, SHORTEST_CS
from vedit.media.window import ordered_map

KEEP = 1
FEW_PIXELS = 8_000_000  # of a clip: so many are decoded twice, to leave unused colours out
CHEAPER = 0.9  # share of the pixels with which another disposal must do
FULL_TABLE = 4800  # bytes of an image that may have filled a table
SMALL = 1 << 14  # pixels of an image for which a palette of its own is tried, where the shared one would do
REMEMBERED = 64  # images whose codes are kept, for clips that show them again
WORTH = 0.002  # what trying another way must save to be tried again at once


# --- the colours that are in use -----------------------------------------------------------------


class Survey(NamedTuple):
    """What is known before the first image is written.

    shared: the global table; None where there is nothing to share. is_wild: whether images must be disposed
    of just as the source does, since no palette could draw what that brings back.
    """

    shared: Palette | None
    is_wild: bool = False


def again(first: Frame, frames: Frames) -> Frames:
    """The frames with one that was taken from them."""
    yield first
    yield from frames


def survey(clip: Clip, frames: Frames) -> Survey:
    """Look at packed frames once, and at their pixels where that is worth it."""
    counts: Counter[frozenset[bytes]] = Counter()
    palettes: set[bytes] = set()
    unpacker = lzw.Unpacker(clip, clip.limits, silent)
    pixels, is_restored = 0, False
    for frame in frames:
        palette = frame.palette or clip.palette or GREYS
        palettes.add(palette.rgb)
        pixels += frame.rect.area
        is_restored |= frame.disposal == RESTORE
        if len(palettes) > 1 or pixels <= FEW_PIXELS:
            counts[_colours_used(unpacker(unpacker.admit(frame)), clip)] += 1
        else:
            counts[frozenset(_split(palette.rgb))] += 1
    is_wild = is_restored and (len(palettes) > 1 or max(map(len, palettes)) >= 3 * 256)
    return Survey(_shared(counts, clip.palette), is_wild)


def _split(rgb: bytes) -> list[bytes]:
    return [rgb[i : i + 3] for i in range(0, min(len(rgb), 768), 3)]


def _colours_used(frame: Frame, clip: Clip) -> frozenset[bytes]:
    """The colours that an index frame shows."""
    colours = _split((frame.palette or clip.palette or GREYS).rgb)
    used = frame.pixels.histogram()
    if frame.transparent is not None and frame.transparent < len(colours):
        used[frame.transparent] = 0
    found = {colour for colour, count in zip(colours, used, strict=False) if count}
    return frozenset(found | {b"\0\0\0"} if any(used[len(colours) :]) else found)


def _shared(counts: Counter[frozenset[bytes]], source: Palette | None) -> Palette | None:
    """A table for as many images as it can serve, with the colours of most images first; the source's where
    that is no larger.
    """
    table: set[bytes] = set()
    for colours, _ in counts.most_common():
        if len(table | colours) <= 256:
            table |= colours
    served = {colours: count for colours, count in counts.items() if colours <= table}
    uses: Counter[bytes] = Counter()
    for colours, count in served.items():
        for colour in colours:
            uses[colour] += count
    ordered = sorted(table, key=lambda colour: (-uses[colour], colour))
    has_full = sum(counts.values()) > 1 and any(len(colours) == len(ordered) for colours in served)
    if has_full and len(ordered) < 256:
        ordered.append(b"\0\0\0")  # room for a transparent index in images that use all of them
    if source is not None and table <= set(_split(source.rgb)):
        as_it_is = Palette(b"".join(ordered) or b"\0\0\0")
        if palette_bits(source) <= palette_bits(as_it_is):  # images may then stay as they are stored
            return source
    return Palette(b"".join(ordered)) if ordered else None


# --- which pixels of which images ----------------------------------------------------------------


class Drawing(NamedTuple):
    """One image to be drawn: its time and disposal, and what is to be seen in its rectangle.

    numbers: of the colours. must: where they have to be drawn; elsewhere the canvas shows them already.
    stored: the source's image where drawing it here gives the same picture.
    """

    frame: Frame
    rect: Rect
    numbers: np.ndarray
    must: np.ndarray
    stored: Frame | None = None


class _Pending:
    """The picture that waits for the next one, on which its disposal depends."""

    def __init__(self, picture: Picture, rect: Rect, base: np.ndarray) -> None:
        self.frame, self.picture, self.rect = picture.frame, picture, rect
        self.base = base  # what stands in `rect` before it is drawn
        self.blocks: tuple[Block, ...] = ()


class Optimiser:
    """Draw pictures with as few pixels as they take.

    merges: whether equal pictures in a row become one. Every picture and its time stay as they are.
    """

    def __init__(self, clip: Clip, colours: ColourIds, *, merges: bool = True, is_wild: bool = False) -> None:
        self.clip, self.colours, self.merges, self.is_wild = clip, colours, merges, is_wild
        self.shown = np.zeros((clip.height, clip.width), np.uint32)  # the picture that is pending
        self.base = self.shown.copy()  # the canvas that it is drawn on
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
        part(self.shown, picture.rect)[...] = picture.numbers
        changed = part(self.shown, where) != part(self.base, where)
        return _Pending(picture, _bounds(changed).moved(where.x, where.y), self.base)

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
            and bool(np.array_equal(part(self.shown, picture.rect), picture.numbers))
        )

    def _disposal(self, pending: _Pending, after: Picture) -> tuple[int, Rect]:
        """What becomes of the pending image before the next one, and the rectangle that it then needs."""
        own, rect = pending.frame.disposal, pending.rect
        if self.is_wild:
            if own == CLEAR:
                return CLEAR, pending.frame.rect.clipped(self.clip.canvas)
            return (own if own == RESTORE else KEEP), rect
        here = part(self.shown, after.rect)
        changed = here != after.numbers
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
        if (changed & (target == NOTHING)).any():
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
        return Drawing(frame.but(disposal=disposal, pixels=None), rect, numbers, must, stored)

    def _stored(self, pending: _Pending, disposal: int) -> Frame | None:
        """The source's image, if drawing it shows the picture here as well."""
        stored, own = pending.picture.stored, pending.picture.own
        if stored is None or stored.rect.joined(pending.rect) != stored.rect:
            return None
        differs = part(self.shown, stored.rect) != part(self.base, stored.rect)
        return None if (differs & (own == NOTHING)).any() else stored.but(disposal=disposal)

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


class Optimisation:
    """A clip on its way through all steps: packed frames in, packed frames out.

    seen: what a survey of the same frames told; without one the source's palettes are used.
    """

    def __init__(self, clip: Clip, seen: Survey | None, *, merges: bool) -> None:
        self.source = clip
        self.seen = seen or Survey(clip.palette)
        self.merges = merges
        shared = self.seen.shared
        background = clip.container.background
        if shared is not clip.palette:  # its colours have other places: none of them is painted by anybody
            background = 0
        container = clip.container._replace(background=background, flags=clip.container.flags & 0x70)
        self.clip = clip.but(palette=shared, container=container)

    def run(self, frames: Frames) -> Frames:
        colours = ColourIds()
        coder = Coder(self.source.palette, colours, self.seen.shared)
        optimiser = Optimiser(self.clip, colours, merges=self.merges, is_wild=self.seen.is_wild)
        for drawing in optimiser.run(self._pictures(frames, colours)):
            yield coder.packed(drawing)

    def _pictures(self, frames: Frames, colours: ColourIds) -> Iterator[Picture]:
        """What the frames show."""
        screen = Screen(self.source.canvas, colours)
        default = self.source.palette or GREYS
        opened = ordered_map(self._opened, self._admitted(frames), self._threads())
        for frame, stored in opened:
            yield screen.show(frame, frame.palette or default)._replace(stored=stored)

    def _threads(self) -> int:
        return threads_for(self.source.canvas.area, self.source.jobs, self.source.limits)

    def _admitted(self, frames: Frames) -> Iterator[tuple[lzw.Unpacker, list[str], Frame]]:
        """Packed frames within the limits, each with its own unpacker and what that finds wrong with it."""
        limits = lzw.Unpacker(self.source, self.source.limits, silent)
        for frame in frames:
            wrong: list[str] = []
            yield lzw.Unpacker(self.source, self.source.limits, wrong.append), wrong, limits.admit(frame)

    def _opened(self, task: tuple[lzw.Unpacker, list[str], Frame]) -> tuple[Frame, Frame | None]:
        unpacker, wrong, frame = task
        opened = unpacker(frame)
        for message in wrong:
            self.source.hurt(message)
        is_plain = not wrong and opened.rect == frame.rect and 2 <= frame.code_size <= 8
        return opened, frame if is_plain else None


# --- how an image is written ---------------------------------------------------------------------


class _Table(NamedTuple):
    """A palette for one image: which index stands for which colour.

    hidden: a free index for what stays as it is. is_own: whether the image has to bring it along.
    """

    palette: Palette
    index: dict[int, int]
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

    def coded(self, payload: bytes) -> "_Coded":
        return _Coded(self, payload, len(payload) + self.table.cost)


class _Coded(NamedTuple):
    way: _Way
    payload: bytes
    size: int


class _Habit:
    """Whether something is worth trying: after each time that it did not pay, fewer chances."""

    def __init__(self) -> None:
        self.skip = self.wait = 0

    def is_due(self) -> bool:
        if self.wait:
            self.wait -= 1
            return False
        return True

    def learn(self, before: int, after: int) -> None:
        pays = before - after > WORTH * before
        self.skip = 0 if pays else min(2 * self.skip + 1, 31)
        self.wait = self.skip


class Coder:
    """Write images in as few bytes as the ways that are tried take."""

    def __init__(self, source: Palette | None, colours: ColourIds, shared: Palette | None) -> None:
        self.source, self.colours, self.shared = source or GREYS, colours, shared
        entries = _split(shared.rgb) if shared is not None else []
        self.shared_index = {colours.of(colour): i for i, colour in reversed(list(enumerate(entries)))}
        self.room = 2 << palette_bits(shared) if shared is not None else 0
        self.known: OrderedDict[bytes, Frame] = OrderedDict()
        self.deferring, self.choosing = _Habit(), _Habit()

    def packed(self, drawing: Drawing) -> Frame:
        """One image, compressed."""
        key = blake2b(drawing.numbers.tobytes() + drawing.must.tobytes(), digest_size=16).digest()
        key += bytes(drawing.rect) if max(drawing.rect) < 256 else repr(drawing.rect).encode()
        known = self.known.get(key)
        if known is None:
            known = self._written(drawing)
            self.known[key] = known
            if len(self.known) > REMEMBERED:
                self.known.popitem(last=False)
        else:
            self.known.move_to_end(key)
        frame = drawing.frame
        return known.but(
            index=frame.index, pts=frame.pts, duration=frame.duration, before=frame.before,
            disposal=frame.disposal, user_input=frame.user_input,
            has_control=bool(frame.duration or frame.user_input or known.transparent is not None),
        )  # fmt: skip

    def _written(self, drawing: Drawing) -> Frame:
        ways = list(self._ways(drawing))
        best: _Coded | None = None
        for way in ways:
            coded = way.coded(lzw.encode(Image.fromarray(way.plane), way.code_size))
            if best is None or coded.size < best.size:
                best = coded
        if best is not None:
            best = self._better(best, ways)
        stored = drawing.stored and self._as_it_is(drawing.stored)
        if best is None:
            assert stored is not None, "what no palette draws is stored so"
            return stored
        if stored is not None and len(stored.pixels) + _cost(stored) <= best.size:
            return stored
        table = best.way.table
        return drawing.frame.but(
            kind="packed",
            rect=drawing.rect,
            pixels=best.payload,
            transparent=table.hidden if best.way.hides else None,
            palette=table.palette if table.is_own else None,
            code_size=best.way.code_size,
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

    def _better(self, best: _Coded, ways: list[_Way]) -> _Coded:
        """Try the encoder that takes its time, where it has a choice and where a table fills up."""
        second = next(
            (way for way in ways if way.table is best.way.table and way.hides != best.way.hides), None
        )
        if second is not None and self.choosing.is_due():
            code_size = max(second.code_size, best.way.code_size)
            way = best.way._replace(hides=True, code_size=code_size)
            coded = way.coded(
                lzw_deferred.encode(best.way.plane.tobytes(), code_size, second.plane.tobytes())
            )
            self.choosing.learn(best.size, coded.size)
            if coded.size < best.size:
                return coded
        if len(best.payload) > FULL_TABLE and self.deferring.is_due():
            coded = best.way.coded(lzw_deferred.encode(best.way.plane.tobytes(), best.way.code_size))
            self.deferring.learn(best.size, coded.size)
            if coded.size < best.size:
                return coded
        return best

    # --- palettes ----------------------------------------------------------------------------

    def _ways(self, drawing: Drawing) -> Iterator[_Way]:
        """Ways of writing an image, without its codes."""
        numbers, must = drawing.numbers, drawing.must
        needed = _occurring(numbers[must])
        free = _occurring(numbers[~must]) if not must.all() else []
        for table in self._tables(needed, free, numbers.size):
            if free and table.hidden is not None:
                yield self._way(table, np.where(must, numbers, NOTHING), hides=True)
            if NOTHING not in free and all(number in table.index for number in free):
                yield self._way(table, numbers, hides=False)

    def _way(self, table: _Table, numbers: np.ndarray, hides: bool) -> _Way:
        lookup = np.zeros(len(self.colours.colours), np.uint8)
        lookup[list(table.index)] = list(table.index.values())
        lookup[NOTHING] = table.hidden or 0
        plane = lookup[numbers]
        return _Way(table, plane, hides, max(2, int(plane.max()).bit_length()))

    def _tables(self, needed: list[int], free: list[int], pixels: int) -> Iterator[_Table]:
        """Palettes that have the colours needed."""
        is_served = all(number in self.shared_index for number in needed)
        if is_served and self.shared is not None:
            used = {self.shared_index[number] for number in needed}
            hidden = next((i for i in range(self.room) if i not in used), None)
            if not free or hidden is not None or all(number in self.shared_index for number in free):
                yield _Table(self.shared, self.shared_index, hidden, is_own=False)
            highest = max(used, default=0)
            if pixels > SMALL or highest < 16 or highest.bit_length() <= (len(needed) or 1).bit_length():
                return
        rest = [number for number in free if number != NOTHING and number not in set(needed)]
        every = needed + rest
        if len(every) <= 256 and (NOTHING not in free or len(every) < 256):
            yield self._own(every, has_slot=NOTHING in free)
        if free and rest and len(needed) < 256:
            yield self._own(needed, has_slot=True)

    def _own(self, numbers: list[int], has_slot: bool) -> _Table:
        colours = [self.colours.colours[number] for number in numbers]
        hidden = len(colours) if has_slot else None
        if not has_slot and len(colours) < 2 << palette_bits(Palette(b"".join(colours) or b"\0\0\0")):
            hidden = len(colours)  # the table is filled up to a power of two anyway
        rgb = b"".join(colours) + (b"\0\0\0" if hidden is not None else b"")
        return _Table(Palette(rgb), {number: i for i, number in enumerate(numbers)}, hidden, is_own=True)


def _cost(frame: Frame) -> int:
    return 6 << palette_bits(frame.palette) if frame.palette is not None else 0


def _occurring(numbers: np.ndarray) -> list[int]:
    """The numbers that occur, the most frequent first."""
    counts = np.bincount(numbers.ravel())
    found = np.flatnonzero(counts)
    return [int(number) for number in found[np.argsort(-counts[found], kind="stable")]]
