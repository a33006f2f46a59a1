"""Change the size of a clip: nearest on palette indices, or filtered in full colour."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from vedit.errors import UsageError, option
from vedit.media.frames import Clip, Frame, Frames, Rect
from vedit.media.memory import threads_for
from vedit.media.window import ordered_map
from vedit.stages.options import LARGEST_SIDE, Choice, Factor, Flag, Option, Value, Way, Ways
from vedit.stages.options import Size as BoxSize

if TYPE_CHECKING:
    from PIL import Image

FILTERS = ("nearest", "box", "bilinear", "bicubic", "lanczos")
SUPPORT = {"box": 0.5, "bilinear": 1.0, "bicubic": 2.0, "lanczos": 3.0}  # in output pixels, when shrinking

SUMMARY = "Change the size, with good colours."
POSITIONAL = "size"
EXAMPLES = (
    ("vedit gif resize --width 320 in.gif -o out.gif", "320 pixels wide, height from the aspect"),
    (
        "vedit gif resize --scale 50% --filter nearest in.gif -o out.gif",
        "half size, keeping the very colours",
    ),
    ("vedit gif resize --fill 200x200 in.gif -o out.gif", "a square thumbnail cut from the centre"),
)


Size = tuple[int | None, int | None]  # None where the aspect decides


class OpenSize(Value):
    """`WxH` in pixels; one of the two may be -1: from the aspect, which is None here."""

    kind: ClassVar[str] = "size"
    low: ClassVar[int] = -1
    high: ClassVar[int] = LARGEST_SIDE

    def __call__(self, text: str) -> Size:
        width, separator, height = text.lower().partition("x")
        message = (
            f"expected WIDTHxHEIGHT such as 320x240, each from 1 to {LARGEST_SIDE}, or -1 for one of them"
        )
        numbers = [_side(width), _side(height)]
        if not separator or 0 in numbers or numbers == [-1, -1]:
            raise ValueError(message)
        width_px, height_px = (None if number == -1 else number for number in numbers)
        return width_px, height_px


class Side(Value):
    """A number of pixels, or -1: from the aspect."""

    kind: ClassVar[str] = "range"
    low: ClassVar[int] = -1
    high: ClassVar[int] = LARGEST_SIDE

    def __call__(self, text: str) -> int:
        number = _side(text)
        if number == 0:
            raise ValueError(
                f"expected a whole number of pixels from 1 to {LARGEST_SIDE}, or -1 for the aspect"
            )
        return number


def _side(text: str) -> int:
    """1 to 16384, or -1; 0 for what is neither."""
    try:
        number = int(text) if len(text) < 20 else 0
    except ValueError:
        number = 0
    return number if 1 <= number <= LARGEST_SIDE or number == -1 else 0


USUAL = (50, 1000, 1)  # pixels of a side, as a slider has them
OPTIONS = (
    Option(
        "size", OpenSize(), "this size exactly; -1 for one of the two: from the aspect", "WxH", usual=USUAL
    ),
    Option("width", Side(), "this width, 1 to 16384; the height follows the aspect", "W", usual=USUAL),
    Option("height", Side(), "this height, 1 to 16384; the width follows the aspect", "H", usual=USUAL),
    Option("scale", Factor(LARGEST_SIDE), "this many times the size", "F|P%", usual=(0.1, 4, 0.01)),
    Option("fit", BoxSize(), "as large as fits inside, keeping the aspect", "WxH", usual=USUAL),
    Option(
        "fill", BoxSize(), "cover this size and cut off what hangs over, from the centre", "WxH", usual=USUAL
    ),
    Option(
        "keep-aspect",
        Flag(),
        "with both sides given: fit inside them; no: a side not given stays as it is",
        negatable=True,
    ),
    Option(
        "filter",
        Choice(*FILTERS),
        "how pixels are made; nearest keeps colours and file structure",
        "|".join(FILTERS),
        "bilinear",
    ),
    Option("only-shrink", Flag(), "never enlarge"),
)


class Target(NamedTuple):
    """Resize to full_width x full_height, and keep `view` of that."""

    full_width: int
    full_height: int
    view: Rect


WAYS = (
    Ways(
        "to which size",
        (
            Way(("size",), ("WxH",)),
            Way(("width", "height"), ("W", "H")),
            Way(("scale",), ("P%",)),
            Way(("fit",), ("WxH",)),
            Way(("fill",), ("WxH",)),
        ),
    ),
)


def make(**values: Any) -> Resize:
    """Build the stage from its options; exactly one way of naming the size."""
    for ways in WAYS:
        ways.check("resize", values, "vedit gif resize --width 320 in.gif -o out.gif")
    sides = values["width"], values["height"]
    if sides != (None, None) and all(side in (None, -1) for side in sides):
        right = f"One of the two is a number from 1 to {LARGEST_SIDE}."
        width, height = option("width", -1), option("height", -1)
        raise UsageError(f"resize {width} and {height} leave the size open.", right)
    return Resize(**values)


def rounded(value: Fraction) -> int:
    """To the nearest whole number, halves up, at least 1."""
    return max(1, floor(value + Fraction(1, 2)))


def first_from(edge: int, source: int, target: int) -> int:
    """The first output column whose nearest source column is `edge` or beyond."""
    return (2 * target * edge + source - 1) // (2 * source)


class Resize:
    """Scale every frame; see OPTIONS for what names the size.

    With filter "nearest" it works on index frames: the composed result equals the nearest resize of
    the composed canvas. Other filters resample the canvas with premultiplied alpha, and only
    the part of it that changed, on the clip's `jobs` threads.
    """

    name = "resize"
    prepass: str | None = None

    def __init__(
        self,
        size: Size | None = None,
        width: int | None = None,
        height: int | None = None,
        scale: Fraction | None = None,
        fit: Size | None = None,
        fill: Size | None = None,
        keep_aspect: bool | None = None,
        filter: str = "bilinear",
        only_shrink: bool | None = False,
    ) -> None:
        sides = [None if side == -1 else side for side in size or (width, height)]
        self.width, self.height = sides
        self.is_exact = size is not None and not keep_aspect
        self.scale, self.fit, self.fill = scale, fit, fill
        self.keep_aspect = keep_aspect
        self.filter = filter
        self.only_shrink = bool(only_shrink)
        self.accepts: tuple[str, ...] = ("index", "rgba") if filter == "nearest" else ("rgba",)

    def open(self, clip: Clip) -> Clip:
        self.canvas = clip.canvas
        self.limits, self.jobs = clip.limits, clip.jobs
        self.palette = clip.palette
        self.target = self.resolve(clip.width, clip.height)
        if max(self.target.full_width, self.target.full_height) > LARGEST_SIDE:
            raise UsageError(
                f"resize would make {self.target.full_width}x{self.target.full_height} pixels of"
                f" {clip.width}x{clip.height}.",
                f"Each side may have up to {LARGEST_SIDE}.",
            )
        return replace(clip, width=self.target.view.w, height=self.target.view.h)

    def resolve(self, width: int, height: int) -> Target:
        """The new size of a `width` x `height` canvas."""
        if self.fill is not None:
            return self._covering(*self.fill, width, height)
        w, h = self._size(width, height)
        if self.only_shrink:
            w, h = min(w, width), min(h, height)
        return Target(w, h, Rect(0, 0, w, h))

    def _size(self, width: int, height: int) -> tuple[int, int]:
        if self.scale is not None:
            return rounded(self.scale * width), rounded(self.scale * height)
        inside = self.fit
        w, h = self.width, self.height
        if inside is None and w is not None and h is not None:
            if not self.keep_aspect:
                return w, h
            inside = w, h
        if inside is not None:
            factor = min(Fraction(inside[0] or 1, width), Fraction(inside[1] or 1, height))
            if self.only_shrink:
                factor = min(factor, Fraction(1))
            return rounded(factor * width), rounded(factor * height)
        if self.keep_aspect is False:
            return w or width, h or height
        if w is not None:
            return w, rounded(Fraction(w, width) * height)
        assert h is not None, "make() asks for a size"
        return rounded(Fraction(h, height) * width), h

    def _covering(self, w: int | None, h: int | None, width: int, height: int) -> Target:
        assert w is not None and h is not None, "BoxSize asks for both"
        if self.only_shrink:
            w, h = min(w, width), min(h, height)
        factor = max(Fraction(w, width), Fraction(h, height))
        full = max(w, rounded(factor * width)), max(h, rounded(factor * height))
        return Target(*full, Rect((full[0] - w) // 2, (full[1] - h) // 2, w, h))

    def run(self, frames: Frames) -> Frames:
        first = next(frames, None)
        if first is None:
            return
        frames = _again(first, frames)
        if self._is_identity():
            yield from frames
        elif first.kind == "index":
            yield from map(self._resize_index, frames)
        else:
            yield from self._resize_canvases(frames)

    def _is_identity(self) -> bool:
        return Rect(0, 0, self.target.full_width, self.target.full_height) == self.target.view == self.canvas

    # nearest, on indices

    def _resize_index(self, frame: Frame) -> Frame:
        """One image: the output pixels whose source pixel lies in it."""
        full_width, full_height, view = self.target
        rect = frame.rect.clipped(self.canvas)
        left, right = (first_from(edge, self.canvas.w, full_width) for edge in (rect.x, rect.right))
        top, bottom = (first_from(edge, self.canvas.h, full_height) for edge in (rect.y, rect.bottom))
        place = Rect(left, top, right - left, bottom - top).clipped(view)
        if rect.is_empty or place.is_empty:
            from vedit.media.gif.lzw import nothing

            return nothing(frame, frame.palette or self.palette)
        pixels = self._nearest(frame.pixels, place, frame.rect)
        return frame.but(rect=place.moved(-view.x, -view.y), pixels=pixels)

    def _nearest(self, pixels: Image.Image, place: Rect, origin: Rect) -> Image.Image:
        """The output pixels of `place`, from an image that lies at `origin` on the canvas."""
        from PIL import Image

        steps = []
        for start, offset, source, target in (
            (place.x, origin.x, self.canvas.w, self.target.full_width),
            (place.y, origin.y, self.canvas.h, self.target.full_height),
        ):
            # Pillow adds up steps in floating point. A sampling point is on a pixel edge or at least
            # 1 / (2 * target) off it: half of that on top keeps it on the right side.
            nudge = 1 / (4 * target)
            steps += [source / target, start * source / target - offset + nudge]
        across, left, down, top = steps
        return pixels.transform(
            (place.w, place.h),
            Image.Transform.AFFINE,
            (across, 0, left, 0, down, top),
            Image.Resampling.NEAREST,
        )

    # on composed canvases

    def _resize_canvases(self, frames: Frames) -> Frames:
        shown: Image.Image | None = None
        threads = threads_for(4 * (self.canvas.area + self.target.view.area), self.jobs, self.limits)
        for frame, place, part in ordered_map(self._part, frames, threads):
            if part is None:
                assert shown is not None, "the first frame changes the whole canvas"
                part = shown
            elif part.size != (self.target.view.w, self.target.view.h):
                assert shown is not None, "the first frame changes the whole canvas"
                shown = shown.convert(part.mode) if shown.mode != part.mode else shown.copy()
                shown.paste(part, place.box)
                part = shown
            shown = part
            yield frame.but(rect=place, pixels=part, kind="rgb" if part.mode == "RGB" else "rgba")

    def _part(self, frame: Frame) -> tuple[Frame, Rect, Image.Image | None]:
        """The output pixels that depend on what changed in the frame, and where they are."""
        view = self.target.view
        place = self._affected(frame.rect.clipped(self.canvas)).clipped(view)
        if place.is_empty:
            return frame, Rect(0, 0, 0, 0), None
        return frame, place.moved(-view.x, -view.y), self._resample(frame.pixels, place)

    def _affected(self, rect: Rect) -> Rect:
        if rect.is_empty:
            return Rect(0, 0, 0, 0)
        support = SUPPORT.get(self.filter, 0.5)
        spans = []
        columns = rect.x, rect.right, self.canvas.w, self.target.full_width
        rows = rect.y, rect.bottom, self.canvas.h, self.target.full_height
        for start, end, source, target in (columns, rows):
            if (
                self.filter == "box" and target > source
            ):  # picks one pixel: a part's rounding could pick its neighbour
                spans += [0, target]
                continue
            reach = max(support, support * target / source) + 1  # one more for rounding
            first = max(0, floor(start * target / source - reach))
            spans += [first, min(target, ceil(end * target / source + reach)) - first]
        return Rect(spans[0], spans[2], spans[1], spans[3])

    def _resample(self, pixels: Image.Image, place: Rect) -> Image.Image:
        from PIL import Image

        if self.filter == "nearest":
            return self._nearest(pixels, place, self.canvas)
        across, down = self.canvas.w / self.target.full_width, self.canvas.h / self.target.full_height
        box = (
            place.x * across,
            place.y * down,
            min(place.right * across, self.canvas.w),
            min(place.bottom * down, self.canvas.h),
        )
        return pixels.resize((place.w, place.h), Image.Resampling[self.filter.upper()], box)


def _again(first: Frame, frames: Frames) -> Frames:
    yield first
    yield from frames
