"""Limits that stop decompression bombs before any pixel is allocated."""

import os
import re
from fractions import Fraction
from typing import NamedTuple

from vedit.errors import LimitError, OutputError, UsageError, option

LONGEST = 18  # digits of a limit
_UNITS = {"k": 10**3, "M": 10**6, "G": 10**9}
# The fields of a GIF and a Targa have 16 bits, those of WebP 14; libjpeg stops a little below 16 bits.
LONGEST_SIDE = {"gif": 65535, "webp": 16383, "jpg": 65500, "jpeg": 65500, "tga": 65535, "avif": 65535}


def check_sides(output: str, format: str, width: int, height: int) -> None:
    """Refuse a clip that is larger than its output's format can be, before any frame is made.

    format: by name where the output's suffix does not say it, as of a pipe. Raises OutputError.
    """
    kind = format if format in LONGEST_SIDE else os.path.splitext(output)[1].lower().removeprefix(".")
    longest = LONGEST_SIDE.get(kind)
    if longest is not None and max(width, height) > longest:
        raise OutputError(
            f"{output}: the clip is {width}x{height} pixels, and {kind.upper()} ends at {longest} a side.",
            "",
            f"Make it smaller (vedit gif resize --fit {longest}x{longest}), or write an animated PNG (.apng)",
        )


LONGEST_S = 10**9
SLOWEST, FASTEST = Fraction(1, 10**6), Fraction(10**6)  # frames per second that a file may claim


def fraction(value: str) -> Fraction:
    """A number as written, exact; raises ValueError."""
    if len(value) > 100 or (  # 1e999999999 would fill the memory with digits
        "e" in value.lower() and re.search(r"e[+-]?\d{4}", value, re.IGNORECASE)
    ):
        raise ValueError("too many digits")
    try:
        return Fraction(value)
    except ZeroDivisionError:
        raise ValueError("a share of nothing") from None


def seconds(text: str) -> Fraction:
    """Seconds, or minutes and seconds as 1:02.5, exact; raises ValueError."""
    total = Fraction(0)
    for part in text.split(":"):
        if not part or part.startswith(("-", "+")):
            raise ValueError("a part is missing, or has a sign")
        total = total * 60 + fraction(part)
    if total > LONGEST_S:
        raise ValueError("too long")
    return total


def frame_rate(value: str) -> Fraction:
    """Frames per second as a file tells them, such as 25 or 30000/1001; raises ValueError for what no clip
    has.
    """
    rate = fraction(value)
    if not SLOWEST <= rate <= FASTEST:
        raise ValueError(f"{value} is not a frame rate")
    return rate


def frame_size(value: str) -> tuple[int, int]:
    """WIDTHxHEIGHT, each from 1 to 65535; raises ValueError."""
    if not (match := re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", value)):
        raise ValueError(f"{value[:40]!r} is not a size")
    width, height = int(match[1]), int(match[2])
    if max(width, height) > 65535:
        raise ValueError(f"{value} is too large")
    return width, height


PILLOW_PIXELS = (
    89_000_000  # Pillow warns of pictures from a little above this on, also when it cuts a part out of one
)


def allow_in_pillow(pixels: int | None) -> None:
    """Raise Pillow's own limit, which is one of the process, to so many pixels; None lifts it.

    The limits here hold.
    """
    from PIL import Image

    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = None if pixels is None else max(Image.MAX_IMAGE_PIXELS, pixels)


BOMB = "Files like this one are often made to exhaust a machine."


class Limits(NamedTuple):
    """How much a file may ask for; 0 lifts a limit.

    canvas, image: pixels of the logical screen and of one image.
    total: pixels of all images together.
    images: number of images.
    comment: bytes of one extension block.
    expansion: decoded pixels per compressed byte, looked at once a billion pixels are passed. A code of GIF's
    stands for 2,600 at most, a byte of PNG's for 1,032 of 8 bits.
    held: images made because one is held for long, where the output has a rate or a longest delay.
    spool: bytes of a pipe that are kept in a temporary file.
    memory: bytes of frames on their way; fewer threads work where that is enough.
    """

    canvas: int = 100 * 10**6
    image: int = 100 * 10**6
    total: int = 20 * 10**9
    images: int = 100_000
    comment: int = 16 * 10**6
    expansion: int = 3_000
    held: int = 1_000_000
    spool: int = 20 * 10**9
    memory: int = 4 * 10**9

    def check(self, key: str, value: int, what: str, why: str = BOMB) -> None:
        """Raise LimitError when `value` is over the limit `key`."""
        limit = getattr(self, key)
        if limit and value > limit:
            more = option("limits", [f"{key}={short_number(value, up=True)}"])
            raise LimitError(
                f"{what} is over the limit of {short_number(limit)} for {key}.",
                why,
                f"If you trust it: {more} (or {key}=0 for no limit)"
                if why == BOMB
                else f"If there is room: {more}",
            )
        if key in ("canvas", "image") and value > PILLOW_PIXELS:
            allow_in_pillow(value)

    def check_expansion(self, pixels: int, compressed: int, unit: str = "pixels") -> None:
        """Refuse a stream that would swell beyond what honest GIF data can.

        unit: what is counted, where it is not pixels, which take a byte each in a GIF.
        """
        if self.expansion and pixels > 10**9 and pixels > self.expansion * max(1, compressed):
            raise LimitError(
                f"{short_number(pixels)} {unit} from {compressed} bytes is over the limit of {self.expansion}"
                " to 1 for expansion.",
                BOMB,
                f"If you trust it: {option('limits', ['expansion=0'])}",
            )


def short_number(value: int, up: bool = False) -> str:
    """Write 100000000 as 100M; `up` rounds up so that the result used as a limit admits the value."""
    for unit in ("G", "M", "k"):
        if value >= _UNITS[unit]:
            scaled = -(-value // _UNITS[unit]) if up else value / _UNITS[unit]
            return f"{scaled:.4g}{unit}" if not up else f"{scaled}{unit}"
    return str(value)


def parse_limits(settings: tuple[str, ...] | list[str], base: Limits = Limits()) -> Limits:
    """Read `key=value` settings (100M, 20G, 0) over `base`."""
    values: dict[str, int] = {}
    for setting in settings:
        key, _, text = setting.partition("=")
        if key not in Limits._fields:
            raise UsageError(
                f"no limit is called {key!r}.",
                f"Limits are {', '.join(Limits._fields)}.",
                f"Example: {option('limits', ['canvas=200M'])}",
            )
        values[key] = _number(setting, text)
    return base._replace(**values)


def _number(setting: str, text: str) -> int:
    factor = _UNITS.get(text[-1:], 1)
    digits = text[:-1] if factor > 1 else text
    if not digits.isdecimal() or len(digits) > LONGEST:
        raise UsageError(
            f"{setting!r} is not a limit.",
            "A limit is a whole number, with k, M or G if you like.",
            f"Example: {option('limits', ['canvas=200M'])}",
        )
    return int(digits) * factor


def environment_limits() -> Limits:
    """The default limits, changed by the TOML file that VEDIT_LIMITS names."""
    path = os.environ.get("VEDIT_LIMITS")
    if not path:
        return Limits()
    from vedit.documents import Kind, read_toml

    limits = Kind(
        "limits", UsageError, "VEDIT_LIMITS names a TOML file such as: canvas = 200000000", largest=2**16
    )
    try:
        return parse_limits([f"{key}={value}" for key, value in read_toml(path, limits).items()])
    except UsageError as error:
        raise error.in_file(path) from None
