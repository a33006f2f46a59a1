"""Turn by quarters and mirror, without touching a colour."""

from __future__ import annotations

from typing import Any, ClassVar

from vedit.media.frames import Clip, Frame, Frames, Rect
from vedit.stages.options import Choice, Flag, Option, Value

SUMMARY = "Turn by quarters clockwise, and mirror, lossless."
POSITIONAL = "angle"
EXAMPLES = (
    ("vedit gif rotate 90 in.gif -o out.gif", "a quarter turn clockwise"),
    ("vedit gif rotate --flip h in.gif -o out.gif", "mirror left and right"),
)


class Quarter(Value):
    """A multiple of 90 degrees, clockwise: the number of quarter turns, 0 to 3."""

    names: ClassVar[tuple[str, ...]] = ("0", "90", "180", "270")
    kind: ClassVar[str] = "choice"

    def __call__(self, text: str) -> int:
        if text not in ("0", "90", "180", "270", "-90", "-180", "-270", "360"):
            raise ValueError(
                "expected 0, 90, 180, 270 or -90, clockwise; other angles would blur every pixel"
            )
        return int(text) // 90 % 4


OPTIONS = (
    Option("angle", Quarter(), "degrees clockwise", "0|90|180|270|-90", 0),
    Option("flip", Choice("h", "v"), "then mirror: h left and right, v top and bottom", "h|v"),
    Option("keep-interlace", Flag(), "keep the interlace flag of interlaced images"),
)


def make(**values: Any) -> Rotate:
    return Rotate(**values)


# Pillow's method for each (quarter turns clockwise, flip); 0 FLIP_LEFT_RIGHT, 1 FLIP_TOP_BOTTOM,
# 2-4 ROTATE_90/180/270 counter-clockwise, 5 TRANSPOSE, 6 TRANSVERSE, None leaves the pixels.
METHODS = {
    (0, None): None, (1, None): 4, (2, None): 3, (3, None): 2,
    (0, "h"): 0, (1, "h"): 5, (2, "h"): 1, (3, "h"): 6,
    (0, "v"): 1, (1, "v"): 6, (2, "v"): 0, (3, "v"): 5,
}  # fmt: skip


class Rotate:
    """Rotate clockwise by quarter turns, then flip: one remap of the pixels.

    The pixel aspect byte is replaced by that of the reciprocal for 90 and 270 degrees.
    """

    name = "rotate"
    prepass: str | None = None
    accepts: tuple[str, ...] = ("index", "rgba", "yuv")

    def __init__(self, angle: int = 0, flip: str | None = None, keep_interlace: bool = False) -> None:
        self.turns = angle
        self.flip = flip
        self.method = METHODS[angle, flip]
        self.keep_interlace = keep_interlace

    def open(self, clip: Clip) -> Clip:
        self.canvas = clip.canvas
        if self.turns % 2 == 0:
            return clip
        container = clip.container._replace(aspect=reciprocal_aspect(clip.container.aspect))
        return clip.but(width=clip.height, height=clip.width, container=container)

    def run(self, frames: Frames) -> Frames:
        for frame in frames:
            pixels = frame.pixels if self.method is None else frame.pixels.transpose(self.method)
            yield self._place(frame).but(pixels=pixels, interlaced=frame.interlaced and self.keep_interlace)

    def _place(self, frame: Frame) -> Frame:
        x, y, w, h = frame.rect
        width, height = self.canvas.w, self.canvas.h
        for _ in range(self.turns):  # a quarter clockwise: rows become columns, from the right
            x, y, w, h = height - y - h, x, h, w
            width, height = height, width
        if self.flip == "h":
            x = width - x - w
        elif self.flip == "v":
            y = height - y - h
        return frame.but(rect=Rect(x, y, w, h))


def reciprocal_aspect(aspect: int) -> int:
    """The pixel aspect byte of the turned picture: ratio = (byte + 15) / 64; 0 says nothing."""
    if aspect == 0:
        return 0
    return min(255, max(1, round(64 * 64 / (aspect + 15)) - 15))
