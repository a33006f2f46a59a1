"""Make parts of the picture unreadable: faces, names, number plates."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple

from vedit.errors import UsageError
from vedit.media.frames import GIF_TIMEBASE, Clip, Frame, Frames, Palette, Rect
from vedit.media.timing import BROWSER_DELAY_CS
from vedit.stages.crop import Rectangle
from vedit.stages.options import Choice, Integer, Moments, Option, Value

SUMMARY = "Pixelate or blur rectangles, all the time or for a while."
POSITIONAL = "rect"
EXAMPLES = (
    (
        "vedit gif blur 80x40+20+10 in.gif -o out.gif",
        "80 by 40 pixels from column 20, row 10, in large squares",
    ),
    ('vedit gif blur "80x40+20+10@0.1-2 30x30+0+0" in.gif -o out.gif', "one of two for a while only"),
    ("vedit gif blur 80x40+20+10 --how blur --strength 12 in.gif -o out.gif", "soft instead of squares"),
)


class Region(NamedTuple):
    """A rectangle, and the moments in seconds between which it is hidden."""

    rect: Rect
    start_s: Fraction = Fraction(0)
    end_s: Fraction | None = None


class Regions(Value):
    """`WxH+X+Y`, perhaps with `@T-T` behind, and spaces between several."""

    kind: ClassVar[str] = "regions"

    def __call__(self, value: str) -> tuple[Region, ...]:
        found = tuple(self._region(part) for part in value.split())
        if not found:
            raise ValueError("expected WIDTHxHEIGHT+LEFT+TOP such as 80x40+20+10")
        return found

    def _region(self, text: str) -> Region:
        rect, at, moments = text.partition("@")
        return Region(Rectangle()(rect), *(Moments()(moments) if at else ()))

    def is_meant(self, value: str) -> bool:
        """Whether a text that may be a name is rather a rectangle, if a wrong one."""
        return re.match(r"\d+x\d+([+@ ]|$)", value) is not None


OPTIONS = (
    Option(
        "rect",
        Regions(),
        "what to hide, several with spaces between; @T-T: only from T to T seconds",
        "WxH+X+Y@T-T",
    ),
    Option("how", Choice("pixelate", "blur"), "large squares, or soft", "pixelate|blur", "pixelate"),
    Option(
        "strength",
        Integer(2, 1000),
        "side of the squares, or radius of the blur, in pixels",
        "N",
        10,
        usual=(2, 50, 1),
    ),
)


def make(**values: Any) -> Blur:
    """Build the stage from its rectangles."""
    if values["rect"] is None:
        raise UsageError(
            "blur does not say what to hide.",
            "Give a rectangle as WxH+X+Y.",
            "Example: vedit gif blur 80x40+20+10 in.gif -o out.gif",
        )
    return Blur(**values)


class Blur:
    """Replace rectangles by the means of squares, or by a Gaussian blur of what is inside them.

    Outside them no pixel changes: of a GIF, the new colours are those of the image's palette that are
    nearest, so that no other colour has to give way.
    """

    name = "blur"
    prepass: str | None = None
    accepts: tuple[str, ...] = ("rgba",)

    def __init__(self, rect: tuple[Region, ...], how: str = "pixelate", strength: int = 10) -> None:
        self.regions, self.how, self.strength = rect, how, strength
        self.palette: Palette | None = None
        self.table: Any = None

    def open(self, clip: Clip) -> Clip:
        self.clip = clip
        kept = []
        for region in self.regions:
            rect = region.rect.clipped(clip.canvas)
            if rect.is_empty:
                w, h, x, y = region.rect.w, region.rect.h, region.rect.x, region.rect.y
                raise UsageError(
                    f"the rectangle {w}x{h}{x:+}{y:+} lies outside the {clip.width}x{clip.height} canvas.",
                    "LEFT and TOP count from the top left corner.",
                )
            kept.append(region._replace(rect=rect))
        self.regions = tuple(kept)
        return clip.but(keeps_colours=True)

    @property
    def marked(self) -> list[Rect]:
        """The rectangles that are hidden."""
        return [region.rect for region in self.regions]

    def run(self, frames: Frames) -> Frames:
        is_gif = self.clip.timebase == GIF_TIMEBASE
        clock = 0
        for frame in frames:
            at_s = (clock if is_gif else frame.pts) * self.clip.timebase
            clock += BROWSER_DELAY_CS if is_gif and frame.duration < 2 else frame.duration
            rect, picture = frame.rect, frame.pixels.copy()
            for region in self.regions:
                rect = rect.joined(region.rect)
                if region.start_s <= at_s and (region.end_s is None or at_s < region.end_s):
                    picture.paste(self._hidden(frame, picture.crop(region.rect.box)), region.rect.box)
            yield frame.but(pixels=picture, rect=rect)

    def _hidden(self, frame: Frame, part: Any) -> Any:
        from PIL import Image, ImageFilter

        mode = part.mode
        part = part.convert("RGBa") if mode == "RGBA" else part
        if self.how == "blur":
            part = part.filter(ImageFilter.GaussianBlur(self.strength))
        else:
            side, (width, height) = self.strength, part.size
            few = part.reduce((min(side, width), min(side, height)))
            part = few.resize(
                (few.width * min(side, width), few.height * min(side, height)), Image.Resampling.NEAREST
            )
            part = part.crop((0, 0, width, height))
        if mode == "RGBA":
            part = part.convert("RGBA")
        return part if frame.palette is None else self._in_palette(part, frame.palette)

    def _in_palette(self, part: Any, palette: Palette) -> Any:
        """The nearest colours of the palette, and of half-transparent pixels the nearer of both."""
        from vedit.media.gif.palettes import Table, distinct

        if palette is not self.palette:
            self.palette, self.table = palette, Table(distinct(palette.rgb[:768]), slot=False)
        mapped = self.table.map(part.convert("RGB")).convert("RGB")
        if part.mode == "RGBA":
            mapped.putalpha(part.getchannel("A").point([0] * 128 + [255] * 128))
        return mapped
