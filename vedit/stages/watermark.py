"""Write text or put a logo on every frame, without touching a pixel outside it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from vedit.errors import UsageError, option
from vedit.media.frames import Clip, Frame, Frames
from vedit.stages.options import Choice, Colour, Factor, FilePath, Integer, Option, Span, Way, Ways

SUMMARY = "Write text or put a logo on every frame; outside it no pixel changes."
POSITIONAL = None
EXAMPLES = (
    (
        'vedit gif watermark --text "(c) me" in.gif -o out.gif',
        "half-opaque white letters at the bottom right",
    ),
    (
        (
            "vedit gif watermark --text Draft --font-size 40 --opacity 255 --color red --position center"
            " in.gif -o out.gif"
        ),
        "large and opaque in the middle",
    ),
    (
        (
            "vedit gif watermark --text 'Line one\\nline two' --outline 2 --font DejaVuSans.ttf in.gif -o"
            " out.gif"
        ),
        "two outlined lines in a font of your own",
    ),
    (
        "vedit gif watermark --image logo.png --scale 50% --position top-left in.gif -o out.gif",
        "a logo at half its size",
    ),
)
POSITIONS = ("top-left", "top-right", "bottom-left", "bottom-right", "center")
SMALLEST, LARGEST = 10, 50


@dataclass(frozen=True)
class Lines:
    r"""Text of one or more lines; the two characters `\n` stand for a new line."""

    is_multiline: bool = True
    kind: ClassVar[str] = "lines"

    def __call__(self, value: str) -> str:
        result = value.replace("\\n", "\n").replace("\r\n", "\n").replace("\t", "    ")
        if not result.strip():
            raise ValueError("expected something to write")
        return result


OPTIONS = (
    Option("text", Lines(), "write this; \\n starts a new line", "TEXT"),
    Option("font-size", Integer(SMALLEST, LARGEST), "height of the letters in pixels", "10-50", 24),
    Option("opacity", Integer(0, 255), "0 is invisible, 255 hides what is under it", "0-255", 128),
    Option("position", Choice(*POSITIONS), "where on the canvas", "|".join(POSITIONS), "bottom-right"),
    Option("color", Colour(), "of the letters", "#rrggbb", (255, 255, 255)),
    Option("margin", Integer(0, 16384), "distance from the edges, as far as there is room", "N", 10),
    Option(
        "font",
        FilePath("font"),
        "a TrueType or OpenType file; without it one that has Latin, Greek and Cyrillic letters",
        "FILE",
    ),
    Option("outline", Integer(0, 50), "width of an outline around the letters, in pixels", "N", 0),
    Option("outline-color", Colour(), "of the outline", "#rrggbb", (0, 0, 0)),
    Option(
        "image",
        FilePath("picture"),
        "put this picture there instead of text; its transparency is used",
        "FILE",
    ),
    Option("scale", Factor(100), "size of the picture", "F|P%", Fraction(1)),
    Option("frames", Span(), "only on these images, counted from 1", "A-B"),
)


WAYS = (Ways("what to write", (Way(("text",), ("TEXT",)), Way(("image",), ("FILE",)))),)


def make(**values: Any) -> Watermark:
    """Build the stage; exactly one of text and picture, and only options that belong to it."""
    for ways in WAYS:
        ways.check("watermark", values, 'vedit gif watermark --text "(c) me" in.gif -o out.gif')
    other = ("scale",) if values["image"] is None else ("font", "outline")
    defaults = {option.key: option.default for option in OPTIONS}
    for key in other:
        if values[key] != defaults[key]:
            kind = option("text" if key == "scale" else "image")
            raise UsageError(
                f"watermark {option(key)} has no meaning with {kind}.", "", f"Leave out {option(key)}."
            )
    return Watermark(**values)


class Watermark:
    """Blend letters or a picture over frames: out = under + (colour - under) * coverage * opacity / 255^2.

    On full-colour frames exact. On index frames the blend is mapped to palette slots that an
    image does not use, then to its nearest colours; every pixel outside the drawing stays bit for
    bit. Over transparent canvas a pixel is drawn when coverage * opacity / 255 >= 128.
    """

    name = "watermark"
    prepass: str | None = None
    recolours = True  # what `path_name` calls its index path

    def __init__(
        self,
        text: str | None = None,
        font_size: int = 24,
        opacity: int = 128,
        position: str = "bottom-right",
        color: tuple[int, int, int] = (255, 255, 255),
        margin: int = 10,
        font: str | None = None,
        outline: int = 0,
        outline_color: tuple[int, int, int] = (0, 0, 0),
        image: str | None = None,
        scale: Fraction = Fraction(1),
        frames: tuple[int, int | None] | None = None,
    ) -> None:
        self.text, self.font_size, self.color, self.font = text, font_size, color, font
        self.outline, self.outline_color = outline, outline_color
        self.image, self.scale = image, scale
        self.opacity, self.position, self.margin = opacity, position, margin
        first, last = frames or (1, None)
        self.first, self.last = first - 1, None if last is None else last - 1
        self.accepts: tuple[str, ...] = ("index", "rgba") if opacity else ("packed", "index", "rgba")

    def open(self, clip: Clip) -> Clip:
        from dataclasses import replace

        if not self.opacity:
            return clip
        from vedit.media.overlay import Overlay

        drawing = self._draw(clip)
        width, height = drawing.coverage.size
        self.overlay = Overlay(drawing, clip.canvas, *self._place(clip, width, height), self.opacity)
        if clip.frames_hint is not None and self.first >= clip.frames_hint:
            clip.warn(
                f"{option('frames')} starts at image {self.first + 1}, and there are only {clip.frames_hint}:"
                " nothing is drawn"
            )
        self.clip = replace(clip)  # its palette may be replaced in `run`
        return self.clip

    def run(self, frames: Frames) -> Frames:
        if not self.opacity or self.overlay.rect.is_empty:
            return frames
        first = next(frames, None)
        if first is None:
            return iter(())
        from itertools import chain

        frames = chain((first,), frames)
        if first.kind != "index":
            return self._blend(frames)
        from vedit.media.gif.recolour import Recolourer

        return Recolourer(self.clip, self.overlay, self.first, self.last).run(frames)

    def _blend(self, frames: Frames) -> Frames:
        """Full-colour frames with the exact blend; where it comes and goes the whole of it has changed."""
        for number, frame in enumerate(frames):
            active = number >= self.first and (self.last is None or number <= self.last)
            turns = number == self.first or (self.last is not None and number == self.last + 1)
            rect = frame.rect.joined(self.overlay.rect) if turns else frame.rect
            yield self._blended(frame).but(rect=rect) if active else frame.but(rect=rect)

    def _blended(self, frame: Frame) -> Frame:
        return frame.but(pixels=self.overlay.blend(frame.pixels), palette=None)

    def _draw(self, clip: Clip) -> Any:
        """The drawing, with a warning about whatever of it cannot be seen."""
        from vedit.media import overlay

        if self.image is not None:
            drawing = overlay.load_picture(self.image, self.scale, clip.warn)
            width, height = drawing.coverage.size
            if width > clip.width or height > clip.height:
                share = min(Fraction(clip.width, width), Fraction(clip.height, height)) * self.scale * 100
                clip.warn(
                    f"the picture of {width}x{height} is clipped to the {clip.width}x{clip.height} canvas;"
                    f" {option('scale', f'{int(share * 10) / 10:g}%')} would fit"
                )
            return drawing
        assert self.text is not None
        overlay.refuse_missing(self.text, self.font, self.font_size)
        if overlay.runs_from_right(self.text) and not overlay.can_run_from_right():
            clip.warn(
                "the text runs from right to left, and FriBiDi, which lays it out, is not installed: its"
                " letters stand in the wrong order"
            )
        drawing = self._letters(self.font_size)
        self._warn_if_wide(clip, *drawing.coverage.size)
        return drawing

    def _letters(self, size: int) -> Any:
        from vedit.media.overlay import draw_text

        assert self.text is not None
        return draw_text(self.text, self.font, size, self.color, self.outline, self.outline_color)

    def _warn_if_wide(self, clip: Clip, width: int, height: int) -> None:
        """Say which font size would fit when the text does not."""
        from vedit.media.overlay import largest_size

        if width <= clip.width and height <= clip.height:
            return

        def fits(size: int) -> bool:
            wide, high = self._letters(size).coverage.size
            return bool(wide <= clip.width and high <= clip.height)

        size = largest_size(fits, self.font_size)
        advice = f"{option('font_size', size)} would fit"
        if size is None or size < SMALLEST:
            advice = f"no size from {SMALLEST} fits; break the text with \\n or shorten it"
        clip.warn(
            f"the text of {width}x{height} pixels is clipped to the {clip.width}x{clip.height} canvas;"
            f" {advice}"
        )

    def _place(self, clip: Clip, width: int, height: int) -> tuple[int, int]:
        """Where the left top corner goes; what is too large starts at the edge and is cut at its end."""
        if self.position == "center":
            x, y = (clip.width - width) // 2, (clip.height - height) // 2
        else:
            vertical, horizontal = self.position.split("-")
            x = self.margin if horizontal == "left" else clip.width - width - self.margin
            y = self.margin if vertical == "top" else clip.height - height - self.margin
        return max(0, min(x, clip.width - width)), max(0, min(y, clip.height - height))
