"""Lay an overlay over index frames: new palette entries, and no other pixel touched.

Each image is blended in its own rectangle, as what lies under it was blended before. That holds
while the canvas under the overlay stays as images left it. Where it does not (nothing there yet,
disposal 2, the first and last frame of a range) a rectangle is `stale`: what is shown there may
differ from what should be, and the next image redraws it, growing if it must. Only then is the
source composed (`Backdrop`), which otherwise just remembers the images that it would take.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from operator import mul
from typing import Any, NamedTuple

from PIL import Image, ImageChops

from vedit.media.frames import Clip, Frame, Frames, Palette, Rect
from vedit.media.gif.compose import CLEAR, RESTORE
from vedit.media.gif.container import GREYS
from vedit.media.gif.palettes import CELL, SQUARES, split
from vedit.media.overlay import Overlay

NOWHERE = Rect(0, 0, 0, 0)
GOOD = 2.0  # root mean square error in the overlay that needs no new colours
GAIN = 0.8  # new colours must reach this part of the error, or they are not worth a palette of their own
DRIFT = 1.5  # a palette serves, and is the best there is, until its error has grown by this factor
FEW, NEAR = 8, 4.0  # with fewer free slots new colours gain little: then this error is near enough
KMEANS = 1  # rounds that improve on median cut; more gain nothing
PATIENCE = 32  # images without disposal 2 after which none is expected
POOR = [0] * 3 + [255] * 253  # a pixel this far from its palette colour wants a better one
SAME = list(range(256))
SHIFTED = bytes(max(0, level - CELL) for level in range(256))


class Drawn(NamedTuple):
    """Pixels to put into an image: their place, colours "RGB", and mask "L" of 0 and 255.

    exact: those of them that show the source itself, which no palette may change.
    """

    rect: Rect
    colours: Image.Image
    mask: Image.Image
    exact: Image.Image | None = None


class Fit(NamedTuple):
    """Pixels in the colours of a palette: indices "L", what they look like "RGB", and how far off.

    error: root mean square difference per channel within the mask.
    """

    indices: Image.Image
    seen: Image.Image
    error: float


class Colours:
    """A palette of the source, perhaps with new entries in slots that some image did not use.

    hidden: the transparent index, never mapped to. stolen: the slots with new entries: an image
    that uses one of them in the source cannot have this palette. tolerated: the error up to which
    it is not worth looking for better colours.
    """

    def __init__(
        self,
        source: Palette,
        hidden: int | None,
        palette: Palette | None = None,
        stolen: tuple[int, ...] = (),
        tolerated: float = GOOD,
    ) -> None:
        self.source = source
        self.hidden = hidden
        self.palette = palette or source
        self.stolen = stolen
        self.tolerated = tolerated
        self._shifted: Any = None

    def map(self, drawn: Drawn) -> Fit:
        """The nearest entries; through Pillow's table of cells, as in `vedit.media.gif.palettes`."""
        pixels = drawn.colours
        if self._shifted is None:
            self.rgb = self._visible()
            image = Image.new("P", (1, 1))
            image.putpalette(self.rgb.translate(SHIFTED))
            image.load()  # hands the palette to the core image
            self._shifted = image.im
        mapped = pixels.im.convert("P", 0, self._shifted)
        indices = pixels._new(mapped.point(self._lookup, "L"))
        mapped.putpalette("RGB", "RGB", self.rgb)
        seen = pixels._new(mapped.convert("RGB", 0))
        counts = ImageChops.difference(pixels, seen).histogram(drawn.mask)
        return Fit(indices, seen, (sum(map(mul, counts, SQUARES)) / max(1, sum(counts))) ** 0.5)

    def _visible(self) -> bytes:
        """The colours, with that of the transparent index hidden behind another one."""
        rgb, hidden, self._lookup = self.palette.rgb, self.hidden, SAME
        if hidden is None or len(rgb) < 6:
            return rgb
        other = 1 if hidden == 0 else 0
        self._lookup = [*SAME[:hidden], other, *SAME[hidden + 1 :]]
        return rgb[: 3 * hidden] + rgb[3 * other : 3 * other + 3] + rgb[3 * hidden + 3 :]

    def visible(self) -> set[bytes]:
        """The colours that can be drawn."""
        return {entry for slot, entry in enumerate(split(self.palette.rgb)) if slot != self.hidden}

    def suits(self, used: list[int], hidden: int | None) -> bool:
        """Whether an image that uses these indices looks the same with this palette."""
        return hidden not in self.stolen and not any(used[slot] for slot in self.stolen)

    def hiding(self, hidden: int | None) -> Colours:
        """The same palette for images with another transparent index."""
        return (
            self
            if hidden == self.hidden
            else Colours(self.source, hidden, self.palette, self.stolen, self.tolerated)
        )


class Recolourer:
    """Lay an overlay over the frames from `first` to `last` (counted from 0) of a stream of index frames.

    clip: its palette is replaced before the first frame is given, when that one gets new entries.
    """

    def __init__(self, clip: Clip, overlay: Overlay, first: int = 0, last: int | None = None) -> None:
        self.clip = clip
        self.overlay = overlay
        self.first, self.last = first, last
        self.source = clip.palette or GREYS  # what frames without a palette of their own are drawn with
        self.written = Colours(self.source, None)  # the result's global palette
        self.recent: dict[tuple[bytes, int | None], Colours] = {}
        self.backdrop = Backdrop(clip.canvas, PATIENCE if first == 0 and last is None else None)
        self.stale = NOWHERE
        self.has_turned = False  # the overlay has come or gone, and no image that stays shows it yet
        self.was_active = False
        self.count = 0

    def run(self, frames: Frames) -> Frames:
        """The frames with the overlay.

        The first is drawn at once, so that who asks the clip finds its new palette.
        """
        start = next(frames, None)
        return iter(()) if start is None else chain((self.draw(start),), map(self.draw, frames))

    def draw(self, frame: Frame) -> Frame:
        """One frame with the overlay; called once for each, in order."""
        number = self.count
        self.count += 1
        active = number >= self.first and (self.last is None or number <= self.last)
        if active != self.was_active:
            self.was_active, self.has_turned = active, True
        is_settled = self.stale.is_empty and not self.has_turned
        palette = frame.palette or self.source
        hidden = (
            frame.transparent if frame.transparent is not None and frame.transparent < len(palette) else None
        )
        part = frame.rect.clipped(self.overlay.rect) if active else NOWHERE
        if is_settled and part.is_empty and number != self.last:
            self.backdrop.add(frame, palette, hidden)
            return self._kept(frame)
        counts = frame.pixels.histogram()
        if hidden is not None and not counts[hidden]:
            hidden = None
        drawn = (
            self._blended(frame, palette, hidden, part)
            if is_settled
            else self._restored(frame, palette, hidden, part)
        )
        needed = frame.rect if drawn is None or is_settled else frame.rect.joined(_bounds(drawn))
        disposal = frame.disposal
        if disposal == CLEAR and needed != frame.rect and self.backdrop.is_lost:
            self.clip.warn(
                f"image {frame.index + 1} clears for the first time: where nothing is, the watermark is drawn"
                " only on this image"
            )
            needed = frame.rect
        if number == self.last and self.backdrop.is_bare_after(frame, palette, hidden, self.overlay):
            # letters over nothing are still there after this image, and only clearing takes them away
            needed, disposal = needed.joined(self.overlay.solid), CLEAR
        result = self._painted(frame, palette, hidden, needed, drawn, counts)
        self.backdrop.add(frame, palette, hidden)
        self._dispose(result.rect, disposal, result.rect != frame.rect or disposal != frame.disposal)
        return result if disposal == result.disposal else result.but(disposal=disposal, has_control=True)

    def _dispose(self, rect: Rect, disposal: int, is_more: bool) -> None:
        """Note what is stale once an image shown in `rect` is disposed of; is_more: unlike the source's."""
        if disposal == RESTORE:
            return
        self.has_turned = False
        self.stale = NOWHERE
        if disposal == CLEAR:
            self.stale = rect.clipped(self.overlay.rect) if self.was_active else NOWHERE
            if is_more and not self.backdrop.painted.clipped(rect).is_empty:
                self.stale = rect  # the source keeps there what the result has cleared

    def _blended(self, frame: Frame, palette: Palette, hidden: int | None, part: Rect) -> Drawn | None:
        """The image's own pixels under the overlay, blended."""
        if part.is_empty:
            return None
        colours, mask = _coloured(frame, palette, hidden, part)
        piece = self.overlay.piece(part)
        colours.paste(piece.colours, (0, 0), piece.alpha)
        mask = piece.visible if mask is None else ImageChops.multiply(mask, piece.visible)
        return Drawn(part, colours, mask) if mask.getbbox() else None

    def _restored(self, frame: Frame, palette: Palette, hidden: int | None, part: Rect) -> Drawn | None:
        """The image's own pixels blended, and what is stale beside them as it should be."""
        rect = part.joined(self.stale).joined(self.overlay.rect if self.has_turned else NOWHERE)
        piece = self.overlay.piece(rect)
        colours, under = self.backdrop.crop(rect)
        own = Image.new("L", (rect.w, rect.h))
        here = frame.rect.clipped(rect)
        if not here.is_empty:
            pixels, mask = _coloured(frame, palette, hidden, here)
            box = here.moved(-rect.x, -rect.y).box
            colours.paste(pixels, box, mask)
            own.paste(255, box, mask)
        stale = piece.visible.copy() if self.has_turned else Image.new("L", (rect.w, rect.h))
        if not self.stale.is_empty:
            stale.paste(255, self.stale.moved(-rect.x, -rect.y).box)
        beside = ImageChops.subtract(stale, own)
        below = ImageChops.darker(beside, under)  # the source's, to be drawn once more
        exact = below
        mask = below
        if self.was_active:
            bare = ImageChops.darker(ImageChops.subtract(beside, under), piece.solid)
            colours.paste(piece.colours, (0, 0), piece.alpha)
            colours.paste(piece.colours, (0, 0), bare)
            exact = ImageChops.subtract(below, piece.visible)
            mask = ImageChops.lighter(ImageChops.lighter(ImageChops.darker(own, piece.visible), below), bare)
        return Drawn(rect, colours, mask, exact if exact.getbbox() else None) if mask.getbbox() else None

    def _painted(
        self,
        frame: Frame,
        palette: Palette,
        hidden: int | None,
        needed: Rect,
        drawn: Drawn | None,
        counts: list[int],
    ) -> Frame:
        """The image grown to the rectangle needed, its pixels in the best colours there are."""
        if drawn is None and needed == frame.rect:
            return self._kept(frame)
        used = counts if drawn is None else _left(counts, frame, drawn)
        if needed != frame.rect and hidden is None:
            hidden = next(
                (i for i in chain(range(len(palette), 256), range(len(palette))) if not used[i]), None
            )
            if hidden is None:
                self.clip.warn(
                    f"image {frame.index + 1} uses all 256 colours: the watermark is drawn only where this"
                    " image is"
                )
                needed = frame.rect
        if hidden is not None:
            used[hidden] += 1
        plane = _plane(frame.pixels)
        if needed != frame.rect:
            grown = Image.new("L", (needed.w, needed.h), hidden or 0)
            grown.paste(plane, (frame.rect.x - needed.x, frame.rect.y - needed.y))
            plane = grown
        colours = self._base(palette, hidden, used)
        if drawn is not None:
            colours, indices = self._fitted(frame, colours, used, drawn)
            plane.paste(indices, (drawn.rect.x - needed.x, drawn.rect.y - needed.y), drawn.mask)
        if self.count == 1 and frame.palette is None:
            self.written = colours
            if colours.palette is not self.source:
                self.clip.palette = colours.palette
        own = None if colours.palette is self.written.palette else colours.palette
        return frame.but(
            rect=needed,
            pixels=plane,
            palette=own,
            transparent=hidden,
            has_control=frame.has_control or hidden is not None,
        )

    def _kept(self, frame: Frame) -> Frame:
        """A frame without a pixel changed, for the global palette that the result has."""
        if frame.palette is not None or self.written.palette is self.source:
            return frame
        hidden = frame.transparent
        if hidden is not None and hidden >= len(self.source):  # nothing was hidden by it, and nothing must be
            frame = frame.but(transparent=None)
        if all(slot >> frame.code_size for slot in self.written.stolen):  # beyond what its pixels can say
            return frame
        return (
            frame
            if self.written.suits(frame.pixels.histogram(), frame.transparent)
            else frame.but(palette=self.source)
        )

    def _base(self, palette: Palette, hidden: int | None, used: list[int]) -> Colours:
        """The palette there is: the result's global one, the last made from this one, or itself."""
        known = self.recent.get((palette.rgb, hidden))
        for colours in (self.written, known):
            if (
                colours is not None
                and colours.source.rgb == palette.rgb
                and colours.suits(used, hidden)
                and (hidden is None or hidden < len(colours.palette))
            ):
                return colours.hiding(hidden)
        entries = (
            palette
            if hidden is None or hidden < len(palette)
            else Palette(palette.rgb.ljust(3 * hidden + 3, b"\0"))
        )
        return Colours(palette, hidden, entries)

    def _fitted(
        self, frame: Frame, colours: Colours, used: list[int], drawn: Drawn
    ) -> tuple[Colours, Image.Image]:
        """A palette for the pixels to be drawn, and their indices: as it is, or with new colours where that
        pays.
        """
        fit = colours.map(drawn)
        exact = _colours_in(drawn) if drawn.exact else set()
        is_free = frame.palette is not None or self.count == 1  # a palette is written anyway
        needed = fit.error if is_free else GAIN * fit.error
        if fit.error <= colours.tolerated and exact <= colours.visible():
            pass
        elif known := self._known(colours, used, drawn, exact, needed):
            colours, fit = known
        else:
            better, better_fit = self._enriched(frame, colours, fit, used, drawn, exact)
            if exact or better_fit.error < needed:
                colours, fit = better, better_fit
                self.recent[better.source.rgb, better.hidden] = better
                if len(self.recent) > 16:
                    self.recent.pop(next(iter(self.recent)))
            colours.tolerated = max(GOOD, DRIFT * fit.error)
        indices = fit.indices
        if drawn.exact:
            indices.paste(_exact_indices(colours, drawn, indices), (0, 0), drawn.exact)
        return colours, indices

    def _known(
        self, base: Colours, used: list[int], drawn: Drawn, exact: set[bytes], needed: float
    ) -> tuple[Colours, Fit] | None:
        """The palette that was made last from the same one, and its fit, where that serves."""
        colours = self.recent.get((base.source.rgb, base.hidden))
        if colours is None or colours is base or not colours.suits(used, base.hidden):
            return None
        if not exact <= colours.visible():
            return None
        fit = colours.map(drawn)
        serves = fit.error <= colours.tolerated and (bool(exact) or fit.error < needed)
        return (colours, fit) if serves else None

    def _enriched(
        self, frame: Frame, base: Colours, fit: Fit, used: list[int], drawn: Drawn, exact: set[bytes]
    ) -> tuple[Colours, Fit]:
        """The source's palette with new colours in slots that this image leaves free, and its pixels."""
        source, hidden = base.source, base.hidden
        size = max(len(source), 0 if hidden is None else hidden + 1)
        if len(used) - used.count(0) == size == 256 and not exact:
            return base, fit
        entries = split(source.rgb.ljust(3 * size, b"\0"))
        plain = base
        if base.stolen:
            plain = Colours(source, hidden, Palette(b"".join(entries)))
            fit = plain.map(drawn)
        used = [
            count + seen for count, seen in zip(used, fit.indices.histogram(drawn.mask), strict=True)
        ]  # they serve well already
        if source is self.source and self.clip.container.background < len(source):
            used[self.clip.container.background] += 1  # some viewers paint it
        missing = []
        for colour in exact:
            slot = next(
                (i for i, entry in enumerate(entries) if entry == colour and i != hidden and i < len(source)),
                None,
            )
            if slot is None:
                missing.append(colour)
            else:
                used[slot] += 1
        free = _free_slots(entries, used)
        if len(missing) > len(free):
            self.clip.warn(
                f"image {frame.index + 1} has no room for {len(missing) - len(free)} colours around the"
                " watermark: the nearest are taken"
            )
        if len(free) < FEW and fit.error <= NEAR and not exact:
            return plain, fit
        new = _with_new(
            plain, entries, free, [*missing, *_better_colours(_poor(drawn, fit), len(free) - len(missing))]
        )
        return new, fit if new is plain else new.map(drawn)


def _with_new(plain: Colours, entries: list[bytes], free: list[int], new: list[bytes]) -> Colours:
    """A palette with new colours in free slots."""
    stolen = tuple(free[: len(new)])
    if not stolen:
        return plain
    entries = entries + [b"\0\0\0"] * (max(stolen) + 1 - len(entries))
    for slot, colour in zip(stolen, new, strict=False):
        entries[slot] = colour
    return Colours(plain.source, plain.hidden, Palette(b"".join(entries)), stolen)


class Backdrop:
    """What the source shows under its next image; composed only when somebody asks.

    It is asked for where images clear what others have painted. A clip that has not cleared
    anything for `patience` images (None: forever) seldom begins to, and remembering costs up to
    half as much as all the rest: from then on the backdrop `is_lost`, and taken for transparent.
    painted: a rectangle that holds every pixel that may be opaque.
    """

    def __init__(self, canvas: Rect, patience: int | None = None) -> None:
        self.canvas = canvas
        self.patience = patience
        self.is_lost = False
        self.painted = NOWHERE
        self.waiting: list[tuple[Frame, Palette, int | None]] = []
        self.area = 0
        self.colours: Image.Image | None = None
        self.opaque: Image.Image | None = None

    def add(self, frame: Frame, palette: Palette, hidden: int | None) -> None:
        """Take one image, after its disposal."""
        if self.is_lost or frame.disposal == RESTORE:
            return
        if self.patience is not None and frame.disposal != CLEAR:
            self.patience -= 1
            if not self.patience:
                self._forget()
                self.is_lost, self.painted = True, NOWHERE
                return
        if frame.disposal == CLEAR:
            self.patience = None
            if self.painted.clipped(frame.rect) == self.painted:
                self._forget()
                self.painted = NOWHERE
                return
        else:
            self.painted = self.painted.joined(frame.rect)
            if frame.rect == self.canvas and hidden is None:  # covers everything before
                self._forget()
        self.waiting.append((frame, palette, hidden))
        self.area += frame.rect.w * frame.rect.h
        if self.area > 2 * self.canvas.w * self.canvas.h:
            self._compose()

    def _forget(self) -> None:
        self.waiting.clear()
        self.area = 0
        self.colours = self.opaque = None

    def _compose(self) -> tuple[Image.Image, Image.Image]:
        if self.colours is None or self.opaque is None:
            size = self.canvas.w, self.canvas.h
            self.colours, self.opaque = Image.new("RGB", size), Image.new("L", size)
        for frame, palette, hidden in self.waiting:
            if frame.disposal == CLEAR:
                self.opaque.paste(0, frame.rect.box)
                continue
            colours, mask = _coloured(frame, palette, hidden, frame.rect)
            self.colours.paste(colours, frame.rect.box, mask)
            self.opaque.paste(255, frame.rect.box, mask)
        self.waiting.clear()
        self.area = 0
        return self.colours, self.opaque

    def crop(self, rect: Rect) -> tuple[Image.Image, Image.Image]:
        """Colours, and a mask of what is opaque, as fresh images."""
        if self.painted.clipped(rect).is_empty:
            return Image.new("RGB", (rect.w, rect.h)), Image.new("L", (rect.w, rect.h))
        colours, opaque = self._compose()
        return colours.crop(rect.box), opaque.crop(rect.box)

    def is_bare_after(self, frame: Frame, palette: Palette, hidden: int | None, overlay: Overlay) -> bool:
        """Whether the overlay shows over nothing once this image is disposed of."""
        rect = overlay.solid
        if rect.is_empty:
            return False
        _, opaque = self.crop(rect)
        here = frame.rect.clipped(rect)
        if not here.is_empty and frame.disposal != RESTORE:
            box = here.moved(-rect.x, -rect.y).box
            is_cleared = frame.disposal == CLEAR
            opaque.paste(
                0 if is_cleared else 255,
                box,
                None if is_cleared else _coloured(frame, palette, hidden, here)[1],
            )
        return ImageChops.subtract(overlay.piece(rect).solid, opaque).getbbox() is not None


def _plane(pixels: Image.Image) -> Image.Image:
    """Palette indices as a fresh "L" image."""
    return pixels.point(SAME, "L") if pixels.mode == "P" else pixels.copy()


def _coloured(
    frame: Frame, palette: Palette, hidden: int | None, rect: Rect
) -> tuple[Image.Image, Image.Image | None]:
    """Part of an image as "RGB", and the mask of what is drawn ("L"), None when all of it is."""
    part = frame.pixels.crop(rect.moved(-frame.rect.x, -frame.rect.y).box)
    mask = None if hidden is None else part._new(part.im.point(_all_but(hidden), "L"))
    part.putpalette(palette.rgb[:768].ljust(768, b"\0"))  # an index outside the palette is black
    return part.convert("RGB"), mask


@lru_cache
def _all_but(index: int) -> list[int]:
    return [255] * index + [0] + [255] * (255 - index)


def _bounds(drawn: Drawn) -> Rect:
    """The smallest rectangle on the canvas that holds the pixels to be drawn."""
    left, top, right, bottom = drawn.mask.getbbox() or (0, 0, 0, 0)
    return Rect(left + drawn.rect.x, top + drawn.rect.y, right - left, bottom - top)


def _left(counts: list[int], frame: Frame, drawn: Drawn) -> list[int]:
    """How often an image uses each index outside the pixels to be drawn."""
    here = frame.rect.clipped(drawn.rect)
    if here.is_empty:
        return counts
    part = frame.pixels.crop(here.moved(-frame.rect.x, -frame.rect.y).box)
    mask = drawn.mask if here == drawn.rect else drawn.mask.crop(here.moved(-drawn.rect.x, -drawn.rect.y).box)
    return [count - gone for count, gone in zip(counts, part.histogram(mask), strict=True)]


def _free_slots(entries: list[bytes], used: list[int]) -> list[int]:
    """Slots that an image can do without, best first: beyond the table, doubles, then from its end."""
    first = {entry: i for i, entry in reversed(list(enumerate(entries)))}
    beyond = [i for i in range(len(entries), 256) if not used[i]]
    inside = [i for i in range(len(entries) - 1, -1, -1) if not used[i]]
    doubles = [i for i in inside if first[entries[i]] != i]
    return [*beyond, *doubles, *(i for i in inside if first[entries[i]] == i)]


def _poor(drawn: Drawn, fit: Fit) -> Image.Image | None:
    """The pixels that a palette serves badly, with the others hidden behind their mean."""
    red, green, blue = ImageChops.difference(drawn.colours, fit.seen).split()
    poor = ImageChops.darker(ImageChops.lighter(ImageChops.lighter(red, green), blue).point(POOR), drawn.mask)
    total = poor.histogram()[255]
    if not total:
        return None
    sums = drawn.colours.histogram(poor)
    mean = tuple(sum(map(mul, sums[i : i + 256], SAME)) // total for i in (0, 256, 512))
    sample = Image.new("RGB", drawn.colours.size, mean)
    sample.paste(drawn.colours, (0, 0), poor)
    return sample


def _better_colours(poor: Image.Image | None, count: int) -> list[bytes]:
    """At most so many new colours for pixels that are served badly."""
    if poor is None or count <= 0:
        return []
    few: Any = poor.getcolors(count)
    if few is not None:
        return [bytes(colour) for _, colour in sorted(few, reverse=True)]
    return split(
        bytes(poor.quantize(count, Image.Quantize.MEDIANCUT, KMEANS).getpalette() or ())[: 3 * count]
    )


def _colours_in(drawn: Drawn) -> set[bytes]:
    """The colours that no palette may change."""
    assert drawn.exact is not None
    shown = drawn.colours.convert("RGBA")
    shown.putalpha(drawn.exact)
    found: Any = shown.getcolors(shown.width * shown.height)
    return {bytes(colour[:3]) for _, colour in found if colour[3]}


def _exact_indices(colours: Colours, drawn: Drawn, nearest: Image.Image) -> Image.Image:
    """The index of each pixel's very colour; of the nearest one where the palette lacks it."""
    entries = split(colours.palette.rgb)
    found = {entry: slot for slot, entry in reversed(list(enumerate(entries))) if slot != colours.hidden}
    pixels, near = drawn.colours.tobytes(), nearest.tobytes()
    return Image.frombytes(
        "L", nearest.size, bytes(found.get(pixels[3 * i : 3 * i + 3], near[i]) for i in range(len(near)))
    )
