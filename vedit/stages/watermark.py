"""Write text or put a logo on every frame, without touching a pixel outside it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from vedit.errors import UsageError, VeditError, option
from vedit.media.frames import GIF_TIMEBASE, Clip, Frame, Frames, Rect
from vedit.media.timing import BROWSER_DELAY_CS
from vedit.stages.options import (
    Choice,
    Colour,
    Distance,
    Factor,
    FilePath,
    Integer,
    Length,
    Option,
    Span,
    Value,
    Way,
    Ways,
)

if TYPE_CHECKING:
    from vedit.media.captions import Caption
    from vedit.media.timed import TimedTexts

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
POSITIONS = (
    "top-left", "top-right", "bottom-left", "bottom-right", "center",
    "top-center", "bottom-center", "center-left", "center-right",
)  # fmt: skip
SMALLEST, LARGEST = 10, 50
LARGEST_PX = 5000
MOST_PERCENT = 50  # of a height, for letters and what is around them
MOST_PICTURES = 1000  # of an animated logo
MOST_MARKS = 32  # texts that are laid over stored images one after another; more are blended on composed ones


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


class FontSize(Integer):
    """A whole number in [low, high], any number of pixels with `px` behind, or a share of a height."""

    def __call__(self, value: str) -> int | Length:  # type: ignore[override]
        try:
            if value.endswith("%"):
                return _share(value)
            if value.endswith("px"):
                return Integer(1, LARGEST_PX)(value[:-2])
            return super().__call__(value)
        except ValueError:
            usual = f"a whole number from {self.low} to {self.high}"
            raise ValueError(
                f"expected {usual}, pixels such as 120px, up to {LARGEST_PX}px, or a share such as 5%"
            ) from None


class OrShare(Integer):
    """A whole number in [low, high], or a share such as 5%."""

    def __call__(self, value: str) -> int | Length:  # type: ignore[override]
        try:
            return _share(value) if value.endswith("%") else super().__call__(value)
        except ValueError:
            usual = f"a whole number from {self.low} to {self.high}"
            raise ValueError(f"expected {usual}, or a share such as 5%") from None


def _share(value: str) -> Length:
    share = Distance()(value)
    if share.value > MOST_PERCENT:
        raise ValueError("too large")
    return share


def _pixels(value: int | Length, whole: int) -> int:
    return value.pixels(whole) if isinstance(value, Length) else value


class Point(Value):
    """`X,Y` or `X+Y`: two lengths, each in pixels or as a share."""

    kind: ClassVar[str] = "point"

    def __call__(self, value: str) -> tuple[Length, Length]:
        x, _, y = value.replace("+", ",").partition(",")
        try:
            return Distance()(x.strip()), Distance()(y.strip())
        except ValueError:
            raise ValueError("expected X,Y such as 12,30 or 10%,50%") from None


OPTIONS = (
    Option("text", Lines(), "write this; \\n starts a new line", "TEXT"),
    Option(
        "font-size",
        FontSize(SMALLEST, LARGEST),
        "height of the letters in pixels; 120px says any other size, 5% a share of the height",
        "10-50|Npx|P%",
        24,
    ),
    Option("opacity", Integer(0, 255), "0 is invisible, 255 hides what is under it", "0-255", 128),
    Option("position", Choice(*POSITIONS), "where on the canvas", "|".join(POSITIONS), "bottom-right"),
    Option(
        "at", Point(), "its left top corner instead: pixels, or shares of the width and of the height", "X,Y"
    ),
    Option(
        "captions",
        FilePath("captions"),
        "write the texts of this file, each for its time: SubRip (.srt), WebVTT, ASS, or lines such as:"
        " 0.5-2 Hello",
        "FILE",
    ),
    Option("color", Colour(), "of the letters", "#rrggbb", (255, 255, 255)),
    Option(
        "margin",
        OrShare(0, 16384),
        "distance from the edges, as far as there is room; 5% of the width and of the height",
        "N|P%",
        10,
        usual=(0, 100, 1),
    ),
    Option(
        "font",
        FilePath("font"),
        "a TrueType or OpenType file; without it one that has Latin, Greek and Cyrillic letters",
        "FILE",
    ),
    Option(
        "outline",
        OrShare(0, 50),
        "width of an outline around the letters, in pixels, or as a share of their height",
        "N|P%",
        0,
        usual=(0, 10, 1),
    ),
    Option("outline-color", Colour(), "of the outline", "#rrggbb", (0, 0, 0)),
    Option(
        "image",
        FilePath("picture"),
        "put this picture there instead of text; its transparency is used, and an animated one plays",
        "FILE",
    ),
    Option("scale", Factor(100), "size of the picture", "F|P%", Fraction(1), usual=(0.1, 4, 0.01)),
    Option("frames", Span(), "only on these images, counted from 1", "A-B"),
)


WAYS = (
    Ways(
        "what to write",
        (Way(("text",), ("TEXT",)), Way(("image",), ("FILE",)), Way(("captions",), ("FILE",))),
    ),
)


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
    if values["at"] is not None and any(values[key] != defaults[key] for key in ("position", "margin")):
        raise UsageError(
            f"watermark got {option('at', 'X,Y')} and {option('position')} or {option('margin')}.",
            "Give one way of saying where.",
        )
    if values["captions"] is not None and values["frames"] is not None:
        raise UsageError(
            f"watermark {option('frames')} has no meaning with {option('captions')}.",
            "Captions say themselves when they are shown.",
        )
    return Watermark(**values)


class Mark(NamedTuple):
    """A drawing, and the first and last image that it is on (from 0)."""

    overlay: Any
    first: int
    last: int | None

    def is_on(self, number: int) -> bool:
        return number >= self.first and (self.last is None or number <= self.last)


class Logo(NamedTuple):
    """The pictures of an animated logo, and when each ends, in seconds."""

    drawings: list[Any]
    ends: list[Fraction]

    def at(self, moment_s: Fraction) -> int:
        """The number of the picture that is shown at a moment."""
        within = moment_s % self.ends[-1]
        return next(i for i, end in enumerate(self.ends) if within < end)


def _played(clip: Clip, frame: Frame) -> int:
    is_slow = clip.timebase == GIF_TIMEBASE and frame.duration < 2
    return BROWSER_DELAY_CS if is_slow else frame.duration


def _is_animated(path: str) -> bool:
    """Whether a file holds several pictures; what cannot be read is told of when it is drawn."""
    import os

    from vedit.media.pictures import open_picture

    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file, open_picture(file) as image:
            return bool(getattr(image, "is_animated", False)) and image.format in ("GIF", "PNG", "WEBP")
    except (OSError, VeditError):
        return False


def load_logo(path: str, scale: Fraction, clip: Clip) -> Logo:
    """All pictures of a logo, each as large as its canvas; raises InputError naming the file."""
    from vedit.media.overlay import drawing_of
    from vedit.media.source import opened

    drawings: list[Any] = []
    ends: list[Fraction] = []
    at = Fraction(0)
    try:
        with opened(path, warn=lambda message: clip.warn(f"the picture {path}: {message}")) as (own, frames):
            for frame in frames:
                if len(drawings) == MOST_PICTURES:
                    clip.warn(f"the first {MOST_PICTURES} images of the picture {path} are taken")
                    break
                at += max(_played(own, frame), 1) * own.timebase
                drawings.append(drawing_of(frame.pixels.convert("RGBA"), scale, path))
                ends.append(at)
    except VeditError as error:
        raise error.in_file(path) from None
    return Logo(drawings, ends)


class Watermark:
    """Blend letters or a picture over frames: out = under + (colour - under) * coverage * opacity / 255^2.

    On full-colour frames exact. On index frames the blend is mapped to palette slots that an
    image does not use, then to its nearest colours; every pixel outside the drawing stays bit for
    bit. Over transparent canvas a pixel is drawn when coverage * opacity / 255 >= 128.
    """

    name = "watermark"
    recolours = True  # what `path_name` calls its index path

    def __init__(
        self,
        text: str | None = None,
        font_size: int | Length = 24,
        opacity: int = 128,
        position: str = "bottom-right",
        color: tuple[int, int, int] = (255, 255, 255),
        margin: int | Length = 10,
        font: str | None = None,
        outline: int | Length = 0,
        outline_color: tuple[int, int, int] = (0, 0, 0),
        image: str | None = None,
        scale: Fraction = Fraction(1),
        frames: tuple[int, int | None] | None = None,
        at: tuple[Length, Length] | None = None,
        captions: str | None = None,
    ) -> None:
        self.text, self.font_size, self.color, self.font = text, font_size, color, font
        self.outline, self.outline_color = outline, outline_color
        self.image, self.scale = image, scale
        self.opacity, self.position, self.margin, self.at = opacity, position, margin, at
        first, last = frames or (1, None)
        self.first, self.last = first - 1, None if last is None else last - 1
        self.captions = captions
        self.begins_s: list[Fraction] | None = None  # of images, where they are stored ones
        self.size, self.align = 0, "left"  # of letters, known with the canvas
        self.prepass = "packed" if captions is not None and opacity else None
        self.logo: Logo | None = None
        self.marked: list[Rect] = []  # whole drawings, also where they are cut at the canvas
        if image is not None and opacity and _is_animated(image):
            self.accepts: tuple[str, ...] = ("rgba",)
        else:
            self.accepts = ("index", "rgba") if opacity else ("packed", "index", "rgba")

    def observe(self, clip: Clip, frames: Frames) -> None:
        """Note when each image begins: captions on stored images go by numbers. Films are not looked at."""
        clock = 0
        begins_s = []
        for frame in frames:
            if frame.kind not in ("packed", "index"):
                if hasattr(frames, "close"):
                    frames.close()
                return
            begins_s.append(clock * clip.timebase)
            clock += _played(clip, frame)
        self.begins_s = begins_s
        if sum(self._is_seen(caption) for caption in self._read(clip)) > MOST_MARKS:
            self.accepts = ("rgba",)

    def _read(self, clip: Clip) -> tuple[Caption, ...]:
        from vedit.media.captions import read_captions

        assert self.captions is not None
        return read_captions(self.captions, clip.warn)

    def _is_seen(self, caption: Caption) -> bool:
        """Whether some image begins while a caption is shown."""
        assert self.begins_s is not None
        place = bisect_left(self.begins_s, caption.start_s)
        return place < len(self.begins_s) and (caption.end_s is None or self.begins_s[place] < caption.end_s)

    def open(self, clip: Clip) -> Clip:
        from dataclasses import replace

        if not self.opacity:
            return clip
        if self.image is not None and self.accepts == ("rgba",):
            self.logo = load_logo(self.image, self.scale, clip)
            self.clip = clip.but(keeps_colours=True)
            self._overlay(clip, self.logo.drawings[0])
            return self.clip
        self.size = _pixels(self.font_size, clip.height)
        if isinstance(self.font_size, Length):
            self.size = max(SMALLEST, self.size)  # a share of a small picture could not be read
        if self.captions is not None:
            self.texts = self._timed(clip)
        else:
            self.overlay = self._overlay(clip, self._draw(clip))
        self.clip = replace(clip)  # its palette may be replaced in `run`
        return self.clip

    def _overlay(self, clip: Clip, drawing: Any) -> Any:
        from vedit.media.overlay import Overlay

        place = self._place(clip, *drawing.coverage.size)
        self.marked.append(Rect(*place, *drawing.coverage.size))
        return Overlay(drawing, clip.canvas, *place, self.opacity)

    def _timed(self, clip: Clip) -> TimedTexts:
        """The captions, drawn when their time comes. Raises UsageError for letters that the font lacks."""
        from vedit.media import overlay
        from vedit.media.timed import TimedTexts

        captions = self._read(clip)
        letters = "".join(dict.fromkeys(letter for caption in captions for letter in caption.text))
        overlay.refuse_missing(letters, self.font, self.size)
        self._warn_of_order(clip, letters)
        if self.begins_s is not None:
            self._tell_unseen(clip, captions)
        vertical, _, horizontal = self.position.partition("-")
        self.align = horizontal or "center"
        font = overlay.load_font(self.font, self.size)
        width = max(1, self._room(clip) - 2 * self._stroke)

        def draw(text: str) -> Any:
            drawing = self._letters(overlay.wrapped(text, font, width), self.size)
            self._warn_if_wide(clip, *drawing.coverage.size)
            return drawing

        def place(width: int, height: int) -> tuple[int, int]:
            return self._place(clip, width, height)

        step = 0 if self.at is not None else {"bottom": -1, "top": 1}.get(vertical, 0)
        return TimedTexts(captions, draw, place, clip.canvas, self.opacity, step)

    def _room(self, clip: Clip) -> int:
        """How wide a line may be."""
        if self.at is not None:
            return clip.width - self.at[0].pixels(clip.width)
        return clip.width - 2 * _pixels(self.margin, clip.width)

    def _tell_unseen(self, clip: Clip, captions: Sequence[Caption]) -> None:
        """Say which captions are shown on no image: those that fall between two, and those behind the end."""
        assert self.begins_s is not None
        unseen = [caption for caption in captions if not self._is_seen(caption)]
        behind = [caption for caption in unseen if caption.start_s > self.begins_s[-1]]
        for caption in unseen[: len(unseen) - len(behind)]:
            clip.warn(f"no image begins while this caption is shown: {caption.text.splitlines()[0]}")
        if behind:
            clip.warn(f"{len(behind)} of {len(captions)} captions come behind the last image")

    def _marks(self) -> list[Mark]:
        """What is laid over stored images: the one drawing, or each caption for its images."""
        if self.captions is None:
            return [Mark(self.overlay, self.first, self.last)]
        assert self.begins_s is not None
        marks: dict[int, Mark] = {}
        for number, moment_s in enumerate(self.begins_s):
            for overlay in self.texts.at(moment_s):
                first = marks[id(overlay)].first if id(overlay) in marks else number
                marks[id(overlay)] = Mark(overlay, first, number)
        return list(marks.values())

    def run(self, frames: Frames) -> Frames:
        if not self.opacity:
            return frames
        if self.first:
            frames = self._counted(frames)
        if self.logo is not None:
            return self._animated(frames, self.logo)
        first = next(frames, None)
        if first is None:
            return frames
        from itertools import chain

        frames = chain((first,), frames)
        if first.kind != "index":
            return self._blend(frames)
        from vedit.media.gif.recolour import Recolourer

        for mark in self._marks():
            if not mark.overlay.rect.is_empty:
                frames = Recolourer(self.clip, mark.overlay, mark.first, mark.last).run(frames)
        return frames

    def _counted(self, frames: Frames) -> Frames:
        """The same frames; says behind the last that there were too few to draw on."""
        count = 0
        for count, frame in enumerate(frames, 1):
            yield frame
        if count <= self.first:
            self.clip.warn(
                f"{option('frames')} starts at image {self.first + 1}, and there are only {count}: nothing is"
                " drawn"
            )

    def _blend(self, frames: Frames) -> Frames:
        """Full-colour frames with the exact blend; where it comes and goes the whole of it has changed."""
        were_active: list[Any] = []
        clock = 0
        for number, frame in enumerate(frames):
            at = clock if self.clip.timebase == GIF_TIMEBASE else frame.pts
            active = self._shown(number, at * self.clip.timebase)
            clock += _played(self.clip, frame)
            rect = frame.rect
            for overlay in [*active, *were_active]:
                if (overlay in active) != (overlay in were_active):
                    rect = rect.joined(overlay.rect)
            for overlay in active:
                frame = frame.but(pixels=overlay.blend(frame.pixels), palette=None)
            yield frame.but(rect=rect)
            were_active = active

    def _shown(self, number: int, moment_s: Fraction) -> list[Any]:
        """The drawings on an image."""
        if self.captions is None:
            overlays = [self.overlay] if Mark(self.overlay, self.first, self.last).is_on(number) else []
        else:
            overlays = self.texts.at(moment_s)
        return [overlay for overlay in overlays if not overlay.rect.is_empty]

    def _animated(self, frames: Frames, logo: Logo) -> Frames:
        """Frames with the picture of the logo that its own time shows; it begins anew when it is over."""
        overlays = [self._overlay(self.clip, drawing) for drawing in logo.drawings]
        area = overlays[0].rect
        for overlay in overlays:
            area = area.joined(overlay.rect)
        clock = 0
        for number, frame in enumerate(frames):
            at = clock if self.clip.timebase == GIF_TIMEBASE else frame.pts
            clock += _played(self.clip, frame)
            is_active = number >= self.first and (self.last is None or number <= self.last)
            overlay = overlays[logo.at(at * self.clip.timebase)]
            if is_active and not overlay.rect.is_empty:
                frame = frame.but(pixels=overlay.blend(frame.pixels))
            yield frame.but(rect=frame.rect.joined(area))

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
        overlay.refuse_missing(self.text, self.font, self.size)
        self._warn_of_order(clip, self.text)
        drawing = self._letters(self.text, self.size)
        self._warn_if_wide(clip, *drawing.coverage.size)
        return drawing

    def _warn_of_order(self, clip: Clip, text: str) -> None:
        from vedit.media import overlay

        if overlay.runs_from_right(text) and not overlay.can_run_from_right():
            clip.warn(
                "the text runs from right to left, and FriBiDi, which lays it out, is not installed: its"
                " letters stand in the wrong order"
            )

    @property
    def _stroke(self) -> int:
        return _pixels(self.outline, self.size)

    def _letters(self, text: str, size: int) -> Any:
        from vedit.media.overlay import draw_text

        stroke = _pixels(self.outline, size)
        return draw_text(text, self.font, size, self.color, stroke, self.outline_color, self.align)

    def _warn_if_wide(self, clip: Clip, width: int, height: int) -> None:
        """Say which font size would fit when the text does not."""
        from vedit.media.overlay import largest_size

        if width <= clip.width and height <= clip.height:
            return
        if self.captions is not None:
            clip.warn(
                f"a caption of {width}x{height} pixels is clipped to the {clip.width}x{clip.height} canvas"
            )
            return

        def fits(size: int) -> bool:
            assert self.text is not None
            wide, high = self._letters(self.text, size).coverage.size
            return bool(wide <= clip.width and high <= clip.height)

        size = largest_size(fits, self.size)
        advice = f"{option('font_size', size)} would fit"
        if self.size > LARGEST and size is not None:
            advice = f"{option('font_size', f'{size}px')} would fit"
        elif size is None or size < SMALLEST:
            advice = f"no size from {SMALLEST} fits; break the text with \\n or shorten it"
        clip.warn(
            f"the text of {width}x{height} pixels is clipped to the {clip.width}x{clip.height} canvas;"
            f" {advice}"
        )

    def _place(self, clip: Clip, width: int, height: int) -> tuple[int, int]:
        """Where the left top corner goes; what is too large starts at the edge and is cut at its end."""
        if self.at is not None:
            x, y = self.at[0].pixels(clip.width), self.at[1].pixels(clip.height)
            if x >= clip.width or y >= clip.height:
                place = option("at", f"{x},{y}")
                raise UsageError(
                    f"watermark {place} lies outside the {clip.width}x{clip.height} canvas.",
                    "X and Y count from the left top corner.",
                )
            return x, y
        if self.position == "center":
            x, y = (clip.width - width) // 2, (clip.height - height) // 2
        else:
            vertical, horizontal = self.position.split("-")
            beside, under = _pixels(self.margin, clip.width), _pixels(self.margin, clip.height)
            ends = {
                "left": beside, "right": clip.width - width - beside,
                "top": under, "bottom": clip.height - height - under,
            }  # fmt: skip
            x = ends.get(horizontal, (clip.width - width) // 2)
            y = ends.get(vertical, (clip.height - height) // 2)
        return max(0, min(x, clip.width - width)), max(0, min(y, clip.height - height))
