"""Transparency on its way into a format: kept where there is room for it, else laid on a colour, and told.

Pixels are 8 bits with straight alpha, as everywhere here. What a lossy encoder gets is filled first: the
colour of a pixel that nobody sees would bleed into its neighbours, which share its chroma and its block.
"""

from __future__ import annotations

from typing import Any

from vedit.errors import UsageError, option
from vedit.media.formats import CONTAINERS
from vedit.media.frames import Clip, Frames

KEEPERS = " and ".join(f".{name}" for name, container in CONTAINERS.items() if container.alpha)
DOUBLINGS = 4  # from one pixel to what shares a chroma sample, and on to what a codec transforms together
NOT_ZERO = [0] + [255] * 255


def has_holes(pixels: Any) -> bool:
    """Whether some pixel is not opaque."""
    return bool(pixels.mode == "RGBA" and pixels.getchannel("A").getextrema()[0] < 255)


class Ground:
    """The colour under a clip in a format that has no transparency; that it shows is told once.

    background: a colour that was asked for, of which nothing is said. usual: taken without one.
    """

    def __init__(self, clip: Clip, format: str, background: str | None, usual: str = "white") -> None:
        self.warn, self.format = clip.warn, format
        self.colour = background or usual
        self.is_told = background is not None

    def under(self, pixels: Any) -> Any:
        """The picture as "RGB"."""
        if not self.is_told and has_holes(pixels):
            self.is_told = True
            self.warn(
                f"transparent parts are laid on {self.colour}: {self.format} keeps no transparency"
                f" (of films, {KEEPERS} do)"
            )
        return flatten(pixels, self.colour)


def filled(pixels: Any) -> Any:
    """The picture "RGBA" with the colour of what is near behind its transparent pixels; alpha stays.

    A pixel that shows is not touched. What shares a chroma sample or a block with nothing to see is filled by
    the next larger block around it.
    """
    if not has_holes(pixels):
        return pixels
    from PIL import Image

    alpha = pixels.getchannel("A")
    levels = [pixels]
    for _ in range(DOUBLINGS):
        half = levels[-1].convert("RGBa").reduce(2).convert("RGBA")  # what is transparent has no weight
        half.putalpha(half.getchannel("A").point(NOT_ZERO))
        levels.append(half)
    shown = Image.new("RGB", levels[-1].size)
    for level in reversed(levels):
        shown = shown.resize((2 * shown.width, 2 * shown.height), Image.Resampling.NEAREST)
        shown = shown.crop((0, 0, *level.size))
        shown.paste(level.convert("RGB"), (0, 0), level.getchannel("A").point(NOT_ZERO))
    shown.putalpha(alpha)
    return shown


def flatten(pixels: Any, background: str) -> Any:
    """An opaque picture: what is transparent shows the background."""
    if pixels.mode == "RGB":
        return pixels
    from PIL import Image

    under = Image.new("RGB", pixels.size, parse_colour(background))
    under.paste(pixels, None, pixels)
    return under


def parse_colour(background: str) -> tuple[int, ...]:
    """A colour such as #ff8800 or white; raises UsageError."""
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(background)[:3]
    except ValueError:
        raise UsageError(
            f"{option('background', background)} is not a colour.",
            "",
            "Write it as #rrggbb, or by name: white",
        ) from None


class SeenAlpha:
    """A look at the whole clip: whether it is transparent anywhere, which one image cannot tell of all."""

    name = "alpha"
    accepts: tuple[str, ...] = ("packed", "index", "rgba", "yuv")
    prepass: str | None = "rgba"

    def observe(self, clip: Clip, frames: Frames) -> None:
        self.alpha = clip.alpha
        if self.alpha is None:
            self.alpha = any(has_holes(frame.pixels) for frame in frames)
        if hasattr(frames, "close"):
            frames.close()

    def open(self, clip: Clip) -> Clip:
        return clip.but(alpha=self.alpha)

    def run(self, frames: Frames) -> Frames:
        return frames
