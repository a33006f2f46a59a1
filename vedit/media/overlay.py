"""A picture laid over frames: lettering or a logo, how opaque it is where, and the exact blend.

    out = under + (colour - under) * coverage * opacity / 255**2, rounded

Fonts are imported when text is drawn, and arithmetic on images when full colour is blended.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

from PIL import Image, ImageChops

from vedit.errors import InputError, LimitError, UsageError, Warn, option, silent
from vedit.media.frames import Rect

FULL = 255 * 255  # coverage times opacity of a pixel that hides what is under it
SOLID = 128  # over nothing, a pixel of a GIF is drawn from this opacity on
FONT = os.path.join(os.path.dirname(__file__), "fonts", "DejaVuSans.ttf")  # Latin, Greek and Cyrillic letters
LARGEST = 100 * 10**6  # pixels of a drawing
SPACING = 4  # pixels between lines, as Pillow has them
PIECE = 4096  # letters of a word that are measured at once
TOLD = 5  # so many missing letters are named
MISSING = "\U0010ffff"  # a code point that no font has: it shows how the font draws what it lacks
NOT_ZERO = [0] + [255] * 255
Colour = tuple[int, int, int]


class Drawing(NamedTuple):
    """What to lay over: colours "RGB", and coverage "L" of the same size, without empty borders."""

    colours: Image.Image
    coverage: Image.Image


class Piece(NamedTuple):
    """The part of an overlay in some rectangle, as images of that size.

    alpha: coverage times opacity in 0-255. visible, solid: masks 0 or 255 of the pixels that it
    changes, and of those that are drawn where nothing is under them.
    """

    colours: Image.Image
    alpha: Image.Image
    visible: Image.Image
    solid: Image.Image


class Overlay:
    """A drawing at its place on a canvas, with one opacity for all of it.

    rect: the part of the canvas it may change; `solid` the part that shows over nothing.
    """

    def __init__(self, drawing: Drawing, canvas: Rect, x: int, y: int, opacity: int) -> None:
        place = Rect(x, y, *drawing.coverage.size)
        inside = place.clipped(canvas)
        coverage = drawing.coverage.crop(inside.moved(-x, -y).box)
        shown = coverage.point(NOT_ZERO).getbbox() if opacity and not inside.is_empty else None
        box = shown or (0, 0, 0, 0)
        self.rect = Rect(inside.x + box[0], inside.y + box[1], box[2] - box[0], box[3] - box[1])
        self.opacity = opacity
        self.coverage = coverage.crop(box)
        self.colours = drawing.colours.crop(self.rect.moved(-x, -y).box)
        self.alpha = self.coverage.point([(level * opacity + 127) // 255 for level in range(256)])
        self._solid = self.coverage.point(
            [255 if level * opacity >= SOLID * 255 else 0 for level in range(256)]
        )
        box = self._solid.getbbox() or (0, 0, 0, 0)
        self.solid = Rect(self.rect.x + box[0], self.rect.y + box[1], box[2] - box[0], box[3] - box[1])
        self._last: tuple[Rect, Piece] | None = None
        self._exact: tuple[Any, Any, list[Any]] | None = None

    def piece(self, rect: Rect) -> Piece:
        """The part in a rectangle of the canvas, which may reach beyond it."""
        if self._last is None or self._last[0] != rect:
            box = rect.moved(-self.rect.x, -self.rect.y).box
            alpha = self.alpha.crop(box)
            self._last = (
                rect,
                Piece(self.colours.crop(box), alpha, alpha.point(NOT_ZERO), self._solid.crop(box)),
            )
        return self._last[1]

    def blend(self, picture: Image.Image) -> Image.Image:
        """A copy of the whole canvas, "RGB" or "RGBA", with the overlay on it, exact to the rounding."""
        part = picture.crop(self.rect.box)
        result = picture.copy()
        result.paste(
            self._blend_soft(part) if part.mode == "RGBA" else self._blend_opaque(part), self.rect.box
        )
        return result

    def _weights(self) -> tuple[Any, Any, list[Any]]:
        """What covers each pixel (of FULL), what is left, and each channel's share with rounding."""
        from PIL import ImageMath

        if self._exact is None:
            opacity = self.opacity
            cover = ImageMath.lambda_eval(lambda a: a["int"](a["c"]) * opacity, c=self.coverage)
            rest = ImageMath.lambda_eval(lambda a: FULL - a["m"], m=cover)
            shares = [
                ImageMath.lambda_eval(lambda a: a["int"](a["c"]) * a["m"] + FULL // 2, c=channel, m=cover)
                for channel in self.colours.split()
            ]
            self._exact = cover, rest, shares
        return self._exact

    def _blend_opaque(self, part: Image.Image) -> Image.Image:
        from PIL import ImageMath

        _, rest, shares = self._weights()
        mixed = [
            ImageMath.lambda_eval(
                lambda a: a["convert"]((a["int"](a["v"]) * a["r"] + a["s"]) / FULL, "L"),
                v=channel,
                r=rest,
                s=share,
            )
            for channel, share in zip(part.split(), shares, strict=True)
        ]
        return Image.merge("RGB", mixed)

    def _blend_soft(self, part: Image.Image) -> Image.Image:
        """Over transparency: the alpha of both together, and colours weighted by what each adds to it."""
        from PIL import ImageMath

        *channels, alpha = part.split()
        opaque = self._blend_opaque(Image.merge("RGB", channels))
        if alpha.getextrema()[0] == 255:
            return Image.merge("RGBA", (*opaque.split(), alpha))
        cover, rest, _ = self._weights()
        total = ImageMath.lambda_eval(
            lambda a: a["m"] * 255 + a["int"](a["v"]) * a["r"], m=cover, v=alpha, r=rest
        )
        joint = ImageMath.lambda_eval(lambda a: a["convert"]((a["t"] + FULL // 2) / FULL, "L"), t=total)
        mixed = [
            ImageMath.lambda_eval(
                lambda a: a["convert"](
                    (a["float"](a["c"]) * a["m"] * 255 + a["float"](a["s"]) * a["v"] * a["r"])
                    / a["float"](a["t"]) + 0.5,
                    "L",
                ),
                c=colour, m=cover, s=channel, v=alpha, r=rest, t=total,
            )
            for colour, channel in zip(self.colours.split(), channels, strict=True)
        ]  # fmt: skip
        soft = Image.merge("RGB", mixed)
        soft.paste(opaque, (0, 0), alpha.point([0] * 255 + [255]))
        return Image.merge("RGBA", (*soft.split(), joint))


def draw_text(
    text: str,
    font_file: str | None,
    size: int,
    colour: Colour,
    outline: int = 0,
    outline_colour: Colour = (0, 0, 0),
    align: str = "left",
) -> Drawing:
    """Lettering of one or more lines, with an outline of that many pixels behind it.

    align: of the lines among each other, "left", "center" or "right".

    The default font comes with vedit, so the result does not depend on the machine. A letter and
    a combining mark behind it are drawn as the one letter that they make, where there is one.
    Raises UsageError when the lettering would be larger than any canvas.
    """
    from PIL import ImageDraw

    font = load_font(font_file, size)
    text = unicodedata.normalize("NFC", text)
    ruler = ImageDraw.Draw(Image.new("L", (1, 1)))
    left, top, right, bottom = (
        round(edge)
        for edge in ruler.multiline_textbbox((0, 0), text, font=font, stroke_width=outline, align=align)
    )
    extent = max(1, right - left + 4), max(1, bottom - top + 4)  # glyphs may lean out of their box by a pixel
    _check_size(extent, f"the text of {len(text)} characters", "Shorten it")

    def coverage(stroke: int) -> Image.Image:
        image = Image.new("L", extent)
        # Pillow sets lines with a stroke further apart
        spacing = SPACING + _advance(ruler, font, outline) - _advance(ruler, font, stroke)
        ImageDraw.Draw(image).multiline_text(
            (2 - left, 2 - top), text, 255, font, spacing=spacing, stroke_width=stroke, align=align
        )
        return image

    letters = coverage(0)
    colours = Image.new("RGB", extent, colour)
    if outline:
        whole = ImageChops.lighter(coverage(outline), letters)
        # where letters end, their edge is mixed with the outline that shows behind it
        behind = Image.new("RGB", extent, outline_colour)
        colours = Image.composite(colours, behind, letters)
        letters = whole
    return _trimmed(Drawing(colours, letters))


def _advance(ruler: Any, font: Any, stroke: int) -> float:
    """From one line to the next, in pixels."""
    one, two = (
        ruler.multiline_textbbox((0, 0), text, font=font, spacing=SPACING, stroke_width=stroke)
        for text in ("A", "A\nA")
    )
    return float(two[3] - one[3])


def wrapped(text: str, font: Any, width: int) -> str:
    """The text with its lines broken between words, so that each is at most `width` pixels wide.

    A word that is wider, as a whole line of Chinese is, is broken between its letters.
    """
    return "\n".join(line for whole in text.split("\n") for line in _broken(whole, font, width))


def _broken(line: str, font: Any, width: int) -> Iterator[str]:
    so_far = ""
    for word in line.split():
        longer = f"{so_far} {word}" if so_far else word
        if font.getlength(longer) <= width:
            so_far = longer
            continue
        if so_far:
            yield so_far
        while len(word) > 1 and font.getlength(word[:PIECE]) > width:
            count = _fitting(word, font, width)
            yield word[:count]
            word = word[count:]
        so_far = word
    yield so_far


def _fitting(word: str, font: Any, width: int) -> int:
    """How many letters of a word fit, at least one."""
    return largest_size(lambda count: bool(font.getlength(word[:count]) <= width), PIECE) or 1


def load_font(font_file: str | None, size: int) -> Any:
    """A font at a pixel size; raises InputError naming the file."""
    from PIL import ImageFont

    if (
        font_file is not None and os.path.exists(font_file) and not os.path.isfile(font_file)
    ):  # a pipe would be waited for
        raise InputError(
            f"cannot read the font {font_file}: not a file.",
            "A TrueType or OpenType file is needed.",
            f"Leave out {option('font')} for the one built in.",
        )
    try:
        return ImageFont.truetype(font_file or FONT, size)
    except OSError as error:
        reason = error.strerror or ("not a font" if "unknown file format" in str(error) else str(error))
        raise InputError(
            f"cannot read the font {font_file}: {reason.lower()}.",
            "A TrueType or OpenType file is needed, such as DejaVuSans.ttf.",
            f"Leave out {option('font')} for the one built in.",
        ) from None


def missing_glyphs(text: str, font: Any) -> str:
    """The characters of the text that the font has no picture for, each once, in order."""

    def shape(character: str) -> tuple[Any, bytes]:
        mask, offset = font.getmask2(character, mode="L")
        return (mask.size, *offset), bytes(mask)

    absent = shape(MISSING)
    return "".join(
        character
        for character in dict.fromkeys(unicodedata.normalize("NFC", text))
        if _is_drawn(character) and shape(character) == absent
    )


def _is_drawn(character: str) -> bool:
    """Whether a character needs a picture: not a space, a sign that steers the layout, or a choice of
    variant.
    """
    if unicodedata.category(character) in ("Cc", "Co", "Cn"):
        return character != "\n"
    return unicodedata.category(character)[0] not in "CZ" and not "\ufe00" <= character <= "\ufe0f"


def refuse_missing(text: str, font_file: str | None, size: int) -> None:
    """Raise UsageError naming the characters that the font has no picture for."""
    missing = missing_glyphs(text, load_font(font_file, size))
    if missing:
        named = ", ".join(
            f"{character} ({unicodedata.name(character, f'U+{ord(character):04X}')})"
            for character in missing[:TOLD]
        )
        more = f" and {len(missing) - TOLD} more" if len(missing) > TOLD else ""
        raise UsageError(
            f"{font_file or 'the built-in font'} has no picture of"
            f" {named if named.isprintable() else ascii(named)}{more}.",
            (
                "Boxes would be drawn instead."
                if font_file
                else "It has Latin, Greek and Cyrillic letters; boxes would be drawn instead."
            ),
            f"Name a font that has it: {option('font', 'FILE')}, or for subtitles"
            f" {option('subtitles_font', 'FILE')}",
        )


def runs_from_right(text: str) -> bool:
    """Whether some letters of a text are written from right to left."""
    return any(unicodedata.bidirectional(character) in ("R", "AL") for character in text)


def can_run_from_right() -> bool:
    """Whether Pillow finds the library that lays out such text (and joins and shapes its letters)."""
    from PIL import features

    return bool(features.check("raqm"))


def _check_size(size: tuple[int, int], what: str, next_step: str) -> None:
    if size[0] * size[1] > LARGEST:
        raise UsageError(
            f"{what} would be {size[0]}x{size[1]} pixels.",
            f"The most is {LARGEST // 10**6} million pixels.",
            next_step,
        )


def largest_size(fits: Callable[[int], bool], below: int) -> int | None:
    """The largest font size under `below` that fits; None when not even 1 does."""
    low, high = 0, below
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low or None


def load_picture(path: str, scale: Fraction, warn: Warn = silent) -> Drawing:
    """A logo with its own transparency, upright, times `scale`; raises InputError naming the file."""
    from vedit.media.pictures import read_file

    try:
        picture = read_file(path, warn=lambda message: warn(f"the picture {path}: {message}")).convert("RGBA")
    except LimitError:
        raise InputError(f"the picture {path} is too large for a logo.", "", "Shrink it first.") from None
    except InputError as error:
        raise InputError(
            f"cannot read the picture {path}: {error.what.removeprefix('cannot read: ')}",
            error.right,
            error.next_step,
        ) from None
    if picture.getchannel("A").getextrema()[1] == 0:
        raise InputError(f"the picture {path} is transparent everywhere.", "A logo needs visible pixels.")
    drawing = drawing_of(picture, scale, path)
    return _trimmed(drawing)


def drawing_of(picture: Image.Image, scale: Fraction, path: str) -> Drawing:
    """A picture "RGBA" times `scale`, with its borders; path: its name for messages."""
    if scale != 1:
        width, height = (max(1, int(side * scale + Fraction(1, 2))) for side in picture.size)
        _check_size((width, height), f"the picture {path}", f"Name a smaller {option('scale')}")
        # weighted by alpha, so that the colours of transparent pixels do not bleed into edges
        picture = picture.convert("RGBa").resize((width, height), Image.Resampling.LANCZOS).convert("RGBA")
    return Drawing(picture.convert("RGB"), picture.getchannel("A"))


def _trimmed(drawing: Drawing) -> Drawing:
    box = drawing.coverage.getbbox() or (0, 0, 1, 1)
    return Drawing(drawing.colours.crop(box), drawing.coverage.crop(box))
