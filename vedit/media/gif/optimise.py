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
STILL = 0.5  # share of the error that is allowed, for pixels that stay as they were
MOVING, CALM, SETTLED = (
    0.35,
    0.8,
    0.85,
)  # shares of a picture: that moves, that changes, of that: that is near
MOST_COLOURS = 255  # of one image, beside the transparent index
FEW_PIXELS = 8_000_000  # of a clip: so many are decoded twice, to leave unused colours out
MANY_PIXELS = 16_000_000  # the same where there are several palettes to be joined
CHEAPER = 0.5  # share of the pixels with which another disposal must do
FULL_TABLE = 4800  # bytes of an image that may have filled a table
MOST_SETS = 400  # sets of colours from which a shared table is chosen
SMALL = 1 << 14  # pixels of an image for which a palette of its own is tried, where the shared one would do
REMEMBERED = 64  # images whose codes are kept, for clips that show them again
WORTH, MUCH = 0.002, 0.01  # shares of an image's bytes that are worth an effort, and much of it
SHARE = 0.1  # of all pixels, on which an effort is made that saves little
SPARE = 500_000  # pixels on which it is made anyway


# --- the colours that are in use -----------------------------------------------------------------


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
        needed = _occurring(drawing.numbers[drawing.must])
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


def _split(rgb: bytes) -> list[bytes]:
    return [rgb[i : i + 3] for i in range(0, min(len(rgb), 768), 3)]


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
        theirs = _mask(np.array([colours.of(colour) for colour in _split(source.rgb)]))
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


# --- colours that are alike ----------------------------------------------------------------------


class Alike:
    """Which colours may stand for each other.

    loss: as gifsicle's `--lossy`: squared errors of up to ten times as much, summed over red, green and blue.
    """

    def __init__(self, colours: ColourIds, loss: int) -> None:
        self.colours, self.limit = colours, 10 * loss
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


# --- which pixels of which images ----------------------------------------------------------------


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
        if (changed & (target == NOTHING)).any() or len(_occurring(target[changed])) > MOST_COLOURS:
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


class Optimisation:
    """A clip on its way through all steps: packed frames in, packed frames out.

    seen: what a survey of the same frames told; without one the source's palettes are used.
    """

    def __init__(self, clip: Clip, seen: Survey | None, *, merges: bool, loss: int = 0) -> None:
        self.source, self.loss = clip, loss
        self.seen = seen or Survey(clip.palette or GREYS)
        self.merges = merges
        self.kind = np.uint16 if self.seen.colours < 1 << 16 else np.uint32
        shared = self.seen.shared
        container = clip.container._replace(flags=clip.container.flags & 0x70)
        if shared is not clip.palette and shared is not GREYS:
            container = container._replace(background=_moved(container.background, clip.palette, shared))
        self.clip = clip.but(palette=None if shared is GREYS else shared, container=container)

    def run(self, frames: Frames) -> Frames:
        colours = ColourIds()
        alike = Alike(colours, self.loss) if self.loss else None
        coder = Coder(self.source, colours, self.seen.shared, alike)
        optimiser = Optimiser(
            self.clip, self.kind, merges=self.merges, is_wild=self.seen.is_wild, alike=alike
        )
        for drawing in optimiser.run(self._pictures(frames, colours)):
            frame, drawn = coder.packed(drawing)
            if drawn is not None:
                optimiser.redraw(frame.rect, drawn)
            yield frame

    def _pictures(self, frames: Frames, colours: ColourIds) -> Iterator[Picture]:
        """What the frames show."""
        screen = Screen(self.source.canvas, colours, self.kind)
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


def _moved(background: int, before: Palette | None, after: Palette | None) -> int:
    """The index of the background's colour in another palette; no viewer of our time paints it."""
    colours = _split(before.rgb) if before is not None else []
    others = _split(after.rgb) if after is not None else []
    is_there = background < len(colours) and colours[background] in others
    return others.index(colours[background]) if is_there else 0


# --- how an image is written ---------------------------------------------------------------------


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
        entries = _split(shared.rgb) if shared is not None else []
        self.entries = np.array([colours.of(colour) for colour in entries], np.int64)
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
        needed = _occurring(numbers[must] if is_partial else numbers)
        free = _occurring(numbers[~must]) if is_partial else needed[:0]
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
            used = np.isin(self.entries, needed)
            unused = np.flatnonzero(~used)
            hidden = int(unused[0]) if unused.size else None
            if hidden is None and len(self.entries) < self.room:
                hidden = len(self.entries)
            if not len(free) or hidden is not None or (not has_holes and np.isin(free, self.entries).all()):
                yield _Table(self.shared, self.entries, hidden, is_own=False)
            highest = int(np.flatnonzero(used)[-1]) if used.any() else 0
            if pixels > SMALL or highest < 16 or highest.bit_length() <= max(1, len(needed)).bit_length():
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


def _occurring(numbers: np.ndarray) -> np.ndarray:
    """The numbers that occur, in order."""
    return np.flatnonzero(np.bincount(numbers.ravel()))
