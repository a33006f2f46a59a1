"""Let a clip come out of a colour, and go into it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from vedit.errors import UsageError, option
from vedit.media.frames import GIF_TIMEBASE, Clip, Frame, Frames
from vedit.media.timing import BROWSER_DELAY_CS, rounded
from vedit.stages.options import Colour, Number, Option

SUMMARY = "Fade in from a colour, and out to it."
POSITIONAL = None
EXAMPLES = (
    ("vedit gif fade --in 0.5 --out 1 in.gif -o out.gif", "out of black for half a second, into it for one"),
    ("vedit gif fade --out 0.5 --color white in.gif -o out.gif", "into white at the end"),
)
OPTIONS = (
    Option(
        "in",
        Number(0, 3600),
        "seconds from the colour to the picture, at the beginning",
        "SECONDS",
        usual=(0, 5, 0.1),
    ),
    Option(
        "out",
        Number(0, 3600),
        "seconds from the picture to the colour, at the end",
        "SECONDS",
        usual=(0, 5, 0.1),
    ),
    Option("color", Colour(), "out of which and into which", "#rrggbb", (0, 0, 0)),
)


def make(**values: Any) -> Fade:
    """Build the stage; at least one of its two times is given."""
    if not values["in"] and not values["out"]:
        raise UsageError(
            "fade does not say for how long.",
            f"Give {option('in', 'SECONDS')}, {option('out', 'SECONDS')} or both, more than 0.",
            "Example: vedit gif fade --in 0.5 in.gif -o out.gif",
        )
    return Fade(values["in"] or Fraction(0), values["out"] or Fraction(0), values["color"])


class Fade:
    """Mix each frame with the colour: out = colour + (picture - colour) * share, rounded half up.

    The share grows from 0 at the first frame's begin to 1 at `in_s`, and falls to 0 at the last frame's end;
    a frame has the share of its begin on the way in, and of its end on the way out. No image is added: how
    smooth it looks is up to the clip's rate. Transparency stays.
    """

    name = "fade"
    accepts: tuple[str, ...] = ("rgba",)

    def __init__(self, in_s: Fraction, out_s: Fraction, color: tuple[int, int, int]) -> None:
        self.in_s, self.out_s, self.color = in_s, out_s, color
        self.prepass: str | None = "packed" if out_s else None
        self.total_s = Fraction(0)

    def observe(self, clip: Clip, frames: Frames) -> None:
        """Find out when the clip ends."""
        ticks = 0
        for frame in frames:
            ticks += self._played(clip, frame)
        self.total_s = ticks * clip.timebase

    def _played(self, clip: Clip, frame: Frame) -> int:
        is_slow = clip.timebase == GIF_TIMEBASE and frame.duration < 2
        return BROWSER_DELAY_CS if is_slow else frame.duration

    def open(self, clip: Clip) -> Clip:
        self.clip = clip
        return clip.but(keeps_colours=True)

    def run(self, frames: Frames) -> Frames:
        at, was_mixed = 0, False
        for frame in frames:
            begin_s = at * self.clip.timebase
            at += self._played(self.clip, frame)
            share = self._share(begin_s, at * self.clip.timebase)
            if share == 1:
                yield frame.but(rect=self.clip.canvas) if was_mixed else frame
            else:
                yield frame.but(pixels=self._mixed(frame.pixels, share), rect=self.clip.canvas)
            was_mixed = share < 1

    def _share(self, begin_s: Fraction, end_s: Fraction) -> Fraction:
        share = Fraction(1)
        if self.in_s:
            share = min(share, begin_s / self.in_s)
        if self.out_s:
            share = min(share, (self.total_s - end_s) / self.out_s)
        return max(Fraction(0), share)

    def _mixed(self, picture: Any, share: Fraction) -> Any:
        tables = [
            [rounded(colour + (level - colour) * share) for level in range(256)] for colour in self.color
        ]
        alpha = [list(range(256))] if picture.mode == "RGBA" else []
        mixed = picture.point([level for table in [*tables, *alpha] for level in table])
        if alpha:  # transparent pixels have no colour
            mixed = _without_colour(mixed)
        return mixed


def _without_colour(picture: Any) -> Any:
    from PIL import Image

    clear = picture.getchannel("A").point([255] + [0] * 255)
    picture.paste(Image.new("RGBA", picture.size), (0, 0), clear)
    return picture
