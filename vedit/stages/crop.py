"""Cut the canvas to a rectangle, without touching a pixel that stays."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from vedit.errors import UsageError, option
from vedit.media.frames import Clip, Frame, Frames, Rect
from vedit.stages.options import Distance, Flag, Option, Size, Value, Way, Ways

SUMMARY = "Cut the canvas to a rectangle, lossless."
POSITIONAL = "rect"
EXAMPLES = (
    ("vedit gif crop --left 10% --right 10% in.gif -o out.gif", "cut a tenth off each side"),
    ("vedit gif crop --rect 200x100+40+20 in.gif -o out.gif", "keep 200x100 pixels from column 40, row 20"),
    ("vedit gif crop --auto in.gif -o out.gif", "trim the border that all frames share"),
)


class Rectangle(Value):
    """`WxH+X+Y`: width, height, left and top in pixels."""

    kind: ClassVar[str] = "rectangle"

    def __call__(self, text: str) -> Rect:
        match = re.fullmatch(r"(\d{1,9})x(\d{1,9})([+-]\d{1,9})([+-]\d{1,9})", text)
        if not match or not (int(match[1]) and int(match[2])):
            raise ValueError("expected WIDTHxHEIGHT+LEFT+TOP such as 200x100+40+20")
        return Rect(int(match[3]), int(match[4]), int(match[1]), int(match[2]))


OPTIONS = (
    Option("rect", Rectangle(), "keep this rectangle", "WxH+X+Y"),
    Option(
        "left",
        Distance(),
        "cut this much off the left: pixels, or a share of the width",
        "N|P%",
        usual=(0, 100, 1),
    ),
    Option("right", Distance(), "cut this much off the right", "N|P%", usual=(0, 100, 1)),
    Option(
        "top",
        Distance(),
        "cut this much off the top: pixels, or a share of the height",
        "N|P%",
        usual=(0, 100, 1),
    ),
    Option("bottom", Distance(), "cut this much off the bottom", "N|P%", usual=(0, 100, 1)),
    Option("centre", Size(), "keep this size around the centre", "WxH", usual=(50, 1000, 1)),
    Option("auto", Flag(), "trim the transparent or one-colour border that all frames share"),
)


WAYS = (
    Ways(
        "what to keep",
        (
            Way(("rect",), ("WxH+X+Y",)),
            Way(("left", "right", "top", "bottom")),
            Way(("centre",), ("WxH",)),
            Way(("auto",)),
        ),
    ),
)


def make(**values: Any) -> Crop:
    """Build the stage from its options; exactly one way of naming the rectangle."""
    for ways in WAYS:
        ways.check("crop", values, "vedit gif crop --left 10% --right 10% in.gif -o out.gif")
    return Crop(**values)


class Crop:
    """Keep a rectangle of the canvas.

    On index frames offsets move and pixels are cut; an image that misses the rectangle becomes
    one transparent pixel with its delay.
    """

    name = "crop"
    accepts: tuple[str, ...] = ("index", "rgba", "yuv")

    def __init__(
        self,
        rect: Rect | None = None,
        left: Any = None,
        right: Any = None,
        top: Any = None,
        bottom: Any = None,
        centre: tuple[int, int] | None = None,
        auto: bool = False,
    ) -> None:
        self.rect = rect
        self.sides = (left, right, top, bottom)
        self.centre = centre
        self.prepass: str | None = "rgba" if auto else None
        self.border: Rect | None = None

    def observe(self, clip: Clip, frames: Frames) -> None:
        """Find the rectangle outside which every frame shows one and the same colour."""
        from PIL import Image, ImageChops

        ground = None
        inside = Rect(0, 0, 0, 0)
        for frame in frames:
            pixels = frame.pixels.convert("RGBA")
            if ground is None:
                corner = pixels.getpixel((0, 0))
                ground = Image.new("RGBA", pixels.size, corner)
            # colours under full transparency do not count: multiply them away
            difference = pixels.getchannel("A") if corner[3] == 0 else ImageChops.difference(pixels, ground)
            box = difference.getbbox(alpha_only=False) if difference.mode == "RGBA" else difference.getbbox()
            if box:
                inside = inside.joined(Rect(box[0], box[1], box[2] - box[0], box[3] - box[1]))
        if inside.is_empty:
            raise UsageError(
                f"crop {option('auto', True)} leaves no pixels: every frame is one colour.",
                "",
                f"Give the rectangle yourself: {option('rect', 'WxH+X+Y')}",
            )
        self.border = inside

    def open(self, clip: Clip) -> Clip:
        self.kept = self._resolve(clip)
        self.palette = clip.palette
        return clip.but(width=self.kept.w, height=self.kept.h)

    @property
    def marked(self) -> list[Rect]:
        """The rectangle that is kept."""
        return [self.kept]

    def _resolve(self, clip: Clip) -> Rect:
        width, height = clip.width, clip.height
        if self.prepass:
            assert self.border is not None, "the caller lets a stage with a prepass observe first"
            return self.border
        if self.centre:
            w, h = self.centre
            wanted = Rect((width - w) // 2, (height - h) // 2, w, h)
        elif self.rect:
            wanted = self.rect
        else:
            left, right, top, bottom = (
                side.pixels(whole) if side else 0
                for side, whole in zip(self.sides, (width, width, height, height), strict=True)
            )
            for first, second, whole, names in ((left, right, width, (0, 1)), (top, bottom, height, (2, 3))):
                if first + second >= whole:
                    words = " + ".join(
                        f"{('left', 'right', 'top', 'bottom')[i]} {self.sides[i]}"
                        for i in names
                        if self.sides[i]
                    )
                    raise UsageError(
                        f"crop leaves no pixels ({words} of {whole}).",
                        "What is cut must be less than the whole.",
                    )
            wanted = Rect(left, top, width - left - right, height - top - bottom)
        kept = wanted.clipped(clip.canvas)
        if kept.is_empty:
            raise UsageError(
                f"the crop rectangle {wanted.w}x{wanted.h}{wanted.x:+}{wanted.y:+} lies outside the"
                f" {width}x{height} canvas.",
                "LEFT and TOP count from the top left corner.",
            )
        if kept != wanted:
            clip.warn(f"the crop rectangle is clipped to the canvas: {kept.w}x{kept.h}{kept.x:+}{kept.y:+}")
        return kept

    def run(self, frames: Frames) -> Frames:
        for frame in frames:
            yield self._crop_index(frame) if frame.kind == "index" else self._crop_canvas(frame)

    def _crop_index(self, frame: Frame) -> Frame:
        part = frame.rect.clipped(self.kept)
        if part.is_empty:
            from vedit.media.gif.lzw import nothing

            return nothing(frame, frame.palette or self.palette)
        place = part.moved(-self.kept.x, -self.kept.y)
        if part == frame.rect:
            return frame.but(rect=place)
        return frame.but(rect=place, pixels=frame.pixels.crop(part.moved(-frame.rect.x, -frame.rect.y).box))

    def _crop_canvas(self, frame: Frame) -> Frame:
        return frame.but(
            pixels=frame.pixels.crop(self.kept.box),
            rect=frame.rect.clipped(self.kept).moved(-self.kept.x, -self.kept.y),
        )
