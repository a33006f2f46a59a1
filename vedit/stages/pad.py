"""Put a clip on a larger canvas."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Any, ClassVar

from vedit.errors import UsageError
from vedit.media.frames import Clip, Frame, Frames, Rect
from vedit.media.limits import fraction
from vedit.stages.options import LARGEST_SIDE, Choice, Colour, Option, Size, Value, Way, Ways

SUMMARY = "Put the clip on a larger canvas: of a size, or of an aspect."
POSITIONAL = "size"
EXAMPLES = (
    ("vedit gif pad 400x300 in.gif -o out.gif", "400 by 300 pixels, black around the clip"),
    ("vedit gif pad --aspect 1:1 --color transparent in.gif -o out.gif", "square, transparent and lossless"),
    (
        "vedit gif pad --aspect 9:16 --color blurred in.mp4 -o out.mp4",
        "upright, before its own blurred picture",
    ),
)
PLACES = (
    "center", "top-center", "bottom-center", "center-left", "center-right",
    "top-left", "top-right", "bottom-left", "bottom-right",
)  # fmt: skip
SOFTNESS = 40  # the blurred ground: the longer side of the canvas is this many times the radius


class Aspect(Value):
    """`W:H`, or a number: width through height, exact."""

    kind: ClassVar[str] = "aspect"

    def __call__(self, value: str) -> Fraction:
        width, colon, height = value.partition(":")
        try:
            aspect = fraction(width) / fraction(height) if colon else fraction(value)
        except (ValueError, ZeroDivisionError):
            aspect = Fraction(0)
        if not Fraction(1, 100) <= aspect <= 100:
            raise ValueError("expected an aspect such as 16:9, 1:1 or 1.5, from 1:100 to 100:1")
        return aspect


class Ground(Value):
    """A colour, `transparent`, or `blurred`: the picture itself, large and soft."""

    kind: ClassVar[str] = "ground"

    def __call__(self, value: str) -> tuple[int, int, int] | str:
        if value in ("transparent", "blurred"):
            return value
        try:
            return Colour()(value)
        except ValueError as error:
            raise ValueError(f"{error}, or transparent, or blurred") from None


OPTIONS = (
    Option("size", Size(), "the size of the canvas in pixels", "WxH", usual=(50, 1000, 1)),
    Option("aspect", Aspect(), "the smallest canvas of this aspect that holds the clip", "W:H"),
    Option("position", Choice(*PLACES), "where the clip is on it", "|".join(PLACES), "center"),
    Option(
        "color",
        Ground(),
        "around the clip; transparent is lossless, blurred shows the clip itself there",
        "#rrggbb|transparent|blurred",
        "black",
    ),
)
WAYS = (Ways("how large", (Way(("size",), ("WxH",)), Way(("aspect",), ("W:H",)))),)


def make(**values: Any) -> Pad:
    """Build the stage from a size or an aspect."""
    for ways in WAYS:
        ways.check("pad", values, "vedit gif pad 400x300 in.gif -o out.gif")
    if values["color"] == "black":
        values["color"] = (0, 0, 0)
    return Pad(**values)


class Pad:
    """Move each frame to its place on the larger canvas.

    Over a transparent ground images only move, and palettes stay. Else pictures are composed; their colours
    stay, as far as a palette has room for that of the ground.
    """

    name = "pad"
    prepass: str | None = None

    def __init__(
        self,
        size: tuple[int, int] | None = None,
        aspect: Fraction | None = None,
        position: str = "center",
        color: tuple[int, int, int] | str = (0, 0, 0),
    ) -> None:
        self.size, self.aspect, self.position, self.color = size, aspect, position, color
        self.accepts: tuple[str, ...] = ("index", "rgba") if color == "transparent" else ("rgba",)

    def open(self, clip: Clip) -> Clip:
        width, height = self.size or self._around(clip)
        if width < clip.width or height < clip.height:
            raise UsageError(
                f"pad to {width}x{height} is smaller than the clip of {clip.width}x{clip.height}.",
                "Padding only adds; resize makes smaller, crop cuts off.",
                f'Example: vedit gif chain "resize:fit={width}x{height}; pad:{width}x{height}"',
            )
        if max(width, height) > LARGEST_SIDE:
            raise UsageError(
                f"pad would make {width}x{height} pixels.", f"Each side has up to {LARGEST_SIDE}."
            )
        self.x = self._at("left", "right", width - clip.width)
        self.y = self._at("top", "bottom", height - clip.height)
        self.canvas = Rect(0, 0, width, height)
        grows = (width, height) != (clip.width, clip.height)
        has_alpha = True if grows and self.color == "transparent" else clip.alpha
        return clip.but(width=width, height=height, keeps_colours=self.color != "blurred", alpha=has_alpha)

    def _around(self, clip: Clip) -> tuple[int, int]:
        assert self.aspect is not None
        if Fraction(clip.width, clip.height) < self.aspect:
            return ceil(clip.height * self.aspect), clip.height
        return clip.width, ceil(clip.width / self.aspect)

    def _at(self, near: str, far: str, room: int) -> int:
        sides = self.position.split("-")
        return 0 if near in sides else room if far in sides else room // 2

    def run(self, frames: Frames) -> Frames:
        for number, frame in enumerate(frames):
            moved = frame.rect.moved(self.x, self.y)
            if frame.kind == "index":
                yield frame.but(rect=moved)
                continue
            is_whole = number == 0 or self.color == "blurred"
            pixels = self._padded(frame)
            yield frame.but(pixels=pixels, kind=pixels.mode.lower(), rect=self.canvas if is_whole else moved)

    def _padded(self, frame: Frame) -> Any:
        from PIL import Image

        picture, size = frame.pixels, (self.canvas.w, self.canvas.h)
        if self.color == "transparent":
            ground = Image.new("RGBA", size)
        elif self.color == "blurred":
            ground = _blurred(picture, size)
        else:
            ground = Image.new("RGB", size, self.color)
        if picture.mode == "RGBA" and ground.mode == "RGB":
            ground = ground.convert("RGBA")
        ground.paste(picture, (self.x, self.y))
        return ground


def _blurred(picture: Any, size: tuple[int, int]) -> Any:
    """The picture, covering the size from its centre, soft."""
    from PIL import Image, ImageFilter

    if picture.mode == "RGBA":
        flat = Image.new("RGB", picture.size)
        flat.paste(picture, (0, 0), picture)
        picture = flat
    factor = max(Fraction(size[0], picture.width), Fraction(size[1], picture.height))
    large = ceil(picture.width * factor), ceil(picture.height * factor)
    left, top = (large[0] - size[0]) // 2, (large[1] - size[1]) // 2
    ground = picture.resize(large, Image.Resampling.BILINEAR).crop((left, top, left + size[0], top + size[1]))
    return ground.filter(ImageFilter.GaussianBlur(max(1, max(size) / SOFTNESS)))
