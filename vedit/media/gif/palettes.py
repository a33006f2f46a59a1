"""Palettes: map pixels to one, measure how well that goes, and find the colours for one.

Pillow maps through a table of 64x64x64 cells that stays with a palette image, so a palette is mapped to many
frames for the price of one; and it looks a cell up by its lowest corner, so palettes are shifted by half a
cell to make that its centre (measured on photographic clips: 10 to 20 % less error at no cost).
"""

from __future__ import annotations

from operator import mul
from typing import Any, NamedTuple

from PIL import Image, ImageChops

from vedit.media.frames import Palette

SAMPLE = 64  # a region is judged by at most this many pixels squared
CELL = 2  # half the side of a cell of Pillow's mapping table
SQUARES = [level * level for level in range(256)] * 3
IS_ZERO = [255] + [0] * 255
GREYS = frozenset((level, level, level) for level in range(256))
SUM = (1.0, 1.0, 1.0, 0.0)  # red + green + blue, as a conversion matrix


class Table:
    """A palette to map to: its colours, perhaps a transparent entry behind them, and its error.

    error: root mean square per channel on the sample it was chosen for.
    """

    __slots__ = (
        "_ambiguous",
        "_greys",
        "_index",
        "_shifted",
        "_true",
        "colours",
        "error",
        "palette",
        "source",
        "transparent",
    )

    def __init__(self, colours: bytes, *, slot: bool = True, source: Palette | None = None) -> None:
        count = len(colours) // 3
        self.colours = colours
        self.transparent = count if slot else None
        self.palette = Palette(colours + b"\0\0\0" if slot else colours)
        self.error = -1.0
        self.source = source
        self._shifted = _palette_image(bytes(max(0, level - CELL) for level in colours))
        self._true: Image.Image | None = None
        self._ambiguous: bool | None = None
        self._index: dict[Any, int] | None = None
        self._greys: list[int] | None = None

    def map(self, rgb: Image.Image, *, diffuse: bool = False) -> Image.Image:
        """The indices of the nearest colours ("P" with this palette); error-diffused on request."""
        if diffuse:
            if self._true is None:  # diffusion measures against the palette itself, so no shift
                self._true = _palette_image(self.colours)
            indices = rgb._new(rgb.im.convert("P", 1, self._true.im))
        elif not self.is_ambiguous or (few := rgb.getcolors(256)) is None:
            indices = self._map_cells(rgb)
        else:
            indices = self._map_few(rgb, {colour for _, colour in few})
        indices.putpalette(self.colours)
        return indices

    def _map_cells(self, rgb: Image.Image) -> Image.Image:
        return rgb._new(rgb.im.convert("P", 0, self._shifted.im))

    @property
    def index(self) -> dict[Any, int]:
        """Where each colour, a tuple of three, is."""
        if self._index is None:
            self._index = {tuple(colour): i for i, colour in reversed(list(enumerate(split(self.colours))))}
        return self._index

    @property
    def is_ambiguous(self) -> bool:
        """Whether two colours share a cell of the mapping table, so that mapping may confuse them."""
        if self._ambiguous is None:
            own = Image.frombytes("RGB", (len(self.colours) // 3, 1), self.colours)
            indices = own.im.convert("P", 0, self._shifted.im)
            indices.putpalette("RGB", "RGB", self.colours)
            self._ambiguous = (
                ImageChops.difference(own._new(indices).convert("RGB"), own).getbbox() is not None
            )
        return self._ambiguous

    def _map_few(self, rgb: Image.Image, few: set[Any]) -> Image.Image:
        """Map an image of at most 256 colours, exactly where the palette has them or all are greys."""
        if few <= GREYS:
            if self._greys is None:
                greys = [(level,) * 3 for level in range(256)]
                mapped = self._map_cells(
                    Image.frombytes("RGB", (256, 1), bytes(v for grey in greys for v in grey))
                ).im
                near = [
                    mapped.getpixel((level, 0)) for level in range(256)
                ]  # `tobytes` would import what opens files: 8 ms
                self._greys = [self.index.get(grey, near[level]) for level, grey in enumerate(greys)]
            return lookup(rgb.getchannel(0), self._greys)
        if not few <= self.index.keys():
            return self._map_cells(rgb)
        indices = rgb.quantize(256, Image.Quantize.MEDIANCUT)  # gives each colour its own entry
        found = [self.index.get(tuple(colour), 0) for colour in split(_colours_of(indices))]
        return lookup(indices, found + [0] * (256 - len(found)))


def split(colours: bytes) -> list[bytes]:
    """The colours of a palette, one by one."""
    return [colours[i : i + 3] for i in range(0, len(colours), 3)]


def _colours_of(indices: Image.Image) -> bytes:
    return bytes(indices.getpalette() or ())


def _palette_image(colours: bytes) -> Image.Image:
    image = Image.new("P", (1, 1))
    image.putpalette(colours)
    image.load()  # hands the palette to the core image
    return image


class Sample(NamedTuple):
    """Some pixels of a region; `drawn` masks the opaque ones, None when all are."""

    rgb: Image.Image
    drawn: Image.Image | None

    def error(self, table: Table) -> float:
        """Root mean square difference per channel between the sample and its mapping."""
        counts = ImageChops.difference(self.rgb, table.map(self.rgb).convert("RGB")).histogram(self.drawn)
        return float((sum(map(mul, counts, SQUARES)) / max(1, sum(counts))) ** 0.5)

    def opaque(self) -> Image.Image:
        """The pixels, with transparent ones hidden behind the mean of the others."""
        if self.drawn is None:
            return self.rgb
        counts = self.rgb.histogram(self.drawn)
        pixels = max(1, sum(counts[:256]))
        mean = tuple(sum(map(mul, counts[i : i + 256], range(256))) // pixels for i in (0, 256, 512))
        rgb = self.rgb.copy()
        rgb.paste(mean, (0, 0, *rgb.size), lookup(self.drawn, IS_ZERO))
        return rgb

    def best_colours(self, count: int) -> bytes:
        """Colours that lie close to all of the sample.

        Farthest-point choice ("maximum coverage") reaches the error of a median cut followed by
        k-means here, in less time and with fewer bytes; measured in benchmarks/quantise_strategies.py.
        """
        rgb = self.opaque()
        few: Any = rgb.getcolors(count)
        if few is not None:
            return b"".join(bytes(colour) for _, colour in sorted(few, reverse=True))
        indices = rgb.quantize(count, Image.Quantize.MAXCOVERAGE)
        return _colours_of(indices)[: 3 * count]


def sample(rgb: Image.Image, drawn: Image.Image | None = None) -> Sample:
    """At most SAMPLE x SAMPLE pixels on a regular grid."""
    shrink = (rgb.width * rgb.height) ** 0.5 / SAMPLE
    if shrink <= 1:
        return Sample(rgb, drawn)
    size = max(1, round(rgb.width / shrink)), max(1, round(rgb.height / shrink))
    nearest = Image.Resampling.NEAREST
    return Sample(rgb.resize(size, nearest), drawn and drawn.resize(size, nearest))


def distinct(colours: bytes) -> bytes:
    """Each colour once, in order."""
    return b"".join(dict.fromkeys(split(colours)))


def with_blends(colours: bytes, limit: int) -> bytes:
    """Fill a palette up with blends of its colours: what resizing and smoothing make of them.

    That serves frames still to come, where colours picked from the frame at hand may not: on a
    terminal recording with 69 colours it takes the error of later frames from 12 to 3.
    """
    count = len(colours) // 3
    shares = max(1, min(63, 2 * SAMPLE * SAMPLE // (count * count)))
    row = Image.frombytes("RGB", (count, 1), colours).resize((count, count), Image.Resampling.NEAREST)
    column = row.transpose(Image.Transpose.TRANSPOSE)
    blends = Image.new("RGB", (count, count * shares))
    for i in range(shares):
        blends.paste(Image.blend(row, column, (i + 1) / (shares + 1)), (0, i * count))
    some = sample(blends)
    missed = distance(some.rgb, Table(colours).map(some.rgb).convert("RGB"))
    free = limit - count
    for near in (48, 32, 24, 16, 8):
        new = lookup(missed, [0] * near + [255] * (256 - near))
        if new.histogram()[255] > 2 * free:
            break
    return distinct(colours + Sample(some.rgb, new).best_colours(free))


def most_used(colours: bytes, count: int, some: Sample) -> bytes:
    """The `count` of these distinct colours that most pixels of the sample are nearest to, in order."""
    used = some.rgb.im.convert("P", 0, _palette_image(colours).im).histogram()
    kept = sorted(sorted(range(len(colours) // 3), key=used.__getitem__, reverse=True)[:count])
    return b"".join(colours[3 * i : 3 * i + 3] for i in kept)


def lookup(image: Image.Image, levels: list[int], mode: str = "L") -> Image.Image:
    """Each pixel replaced by its entry; without the rounding of all 256 that `Image.point` does first."""
    return image._new(image.im.point(levels, mode))


def distance(a: Image.Image, b: Image.Image) -> Image.Image:
    """Sum of the absolute differences of the three channels, at most 255."""
    return ImageChops.difference(a, b).convert("L", SUM)
