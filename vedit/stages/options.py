"""How a stage declares its options: one table serves the command, the chain grammar and presets.

A stage module holds

    SUMMARY      one line of help
    OPTIONS      a tuple of `Option`
    POSITIONAL   the option that may be given without its name, or None
    EXAMPLES     command lines that the man page shows
    make         a function from the options given (by key) to a `media.pipeline.Stage`

and the folder listing does the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from vedit.errors import UsageError, nearest

Parser = Callable[[str], Any]


class Option(NamedTuple):
    """One option of a stage.

    name: as typed, without dashes: "font-size". Its key is the same word with underscores.
    parse: from the text to the value; raises ValueError with what would be right.
    metavar: how help shows the value; nothing for a flag.
    default: used when the option is not given; help shows it.
    negatable: a flag that also has --no-NAME; when neither is given it is None.
    """

    name: str
    parse: Parser
    help: str
    metavar: str = ""
    default: Any = None
    choices: tuple[str, ...] = ()
    negatable: bool = False

    @property
    def key(self) -> str:
        return self.name.replace("-", "_")

    @property
    def is_flag(self) -> bool:
        return self.parse is flag

    def read(self, stage: str, value: str) -> Any:
        """The value from its text; a UsageError names the stage and the option."""
        try:
            return self.parse(value)
        except ValueError as error:
            raise UsageError(f"{stage} --{self.name} {value}: {error}.", "", f"See: vedit gif {stage} --help") from None


def flag(text: str) -> bool:
    """A switch; as text, for chains and presets: true or false."""
    lowered = str(text).lower()
    if lowered in ("true", "yes", "1", "on", ""):
        return True
    if lowered in ("false", "no", "0", "off"):
        return False
    raise ValueError("expected true or false")


def text(value: str) -> str:
    return value


def integer(low: int, high: int) -> Parser:
    """A whole number in [low, high]."""

    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError(f"expected a whole number from {low} to {high}") from None
        if not low <= number <= high:
            raise ValueError(f"expected a whole number from {low} to {high}")
        return number

    return parse


def fraction(value: str) -> Fraction:
    """A number as written, exact; raises ValueError."""
    if len(value) > 100 or re.search(r"e[+-]?\d{4}", value, re.IGNORECASE):  # 1e999999999 would fill the memory with digits
        raise ValueError("too many digits")
    try:
        return Fraction(value)
    except ZeroDivisionError:
        raise ValueError("a share of nothing") from None


def number(low: float, high: float) -> Parser:
    """A decimal number in [low, high], exact: a Fraction."""

    def parse(value: str) -> Fraction:
        try:
            result = fraction(value)
        except ValueError:
            raise ValueError(f"expected a number from {low:g} to {high:g}") from None
        if not Fraction(str(low)) <= result <= Fraction(str(high)):
            raise ValueError(f"expected a number from {low:g} to {high:g}")
        return result

    return parse


def choice(*names: str) -> Parser:
    """One of a few words; the nearest is suggested."""

    def parse(value: str) -> str:
        if value not in names:
            raise ValueError(f"expected {', '.join(names[:-1])} or {names[-1]}{nearest(value, names)}")
        return value

    return parse


class Length(NamedTuple):
    """A distance in pixels, or as a share of the width or height it is taken from."""

    value: Fraction
    is_percent: bool

    def pixels(self, whole: int) -> int:
        """Rounded half up."""
        return int(self.value * whole / 100 + Fraction(1, 2)) if self.is_percent else int(self.value)

    def __str__(self) -> str:
        return f"{float(self.value):g}{'%' if self.is_percent else ''}"


def length(value: str) -> Length:
    """`12` pixels or `10%`."""
    try:
        result = Length(fraction(value.removesuffix("%")), value.endswith("%"))
    except ValueError:
        raise ValueError("expected pixels such as 12, or a share such as 10%") from None
    if result.value < 0 or (result.is_percent and result.value > 100) or (not result.is_percent and result.value.denominator > 1):
        raise ValueError("expected whole pixels such as 12, or a share from 0% to 100%")
    return result


def size(value: str) -> tuple[int, int]:
    """`WxH` in pixels, each from 1 to 16384."""
    width, _, height = value.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and 1 <= int(width) <= 16384 and 1 <= int(height) <= 16384):
        raise ValueError("expected WIDTHxHEIGHT such as 320x240, each from 1 to 16384")
    return int(width), int(height)


def colour(value: str) -> tuple[int, int, int]:
    """`#rrggbb`, `#rgb` or one of a few names, as 0-255 numbers."""
    names = {"white": "ffffff", "black": "000000", "red": "ff0000", "green": "008000", "blue": "0000ff", "yellow": "ffff00", "grey": "808080"}
    digits = names.get(value.lower(), value.lstrip("#"))
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    try:
        red, green, blue = bytes.fromhex(digits)
    except ValueError:
        raise ValueError(f"expected #rrggbb such as #ff8800, or {', '.join(names)}") from None
    return red, green, blue


def read_options(stage: str, options: tuple[Option, ...], given: Mapping[str, str]) -> dict[str, Any]:
    """Parse option texts by key, and fill in defaults. Raises UsageError naming the option."""
    known = {option.key: option for option in options}
    values = {option.key: option.default for option in options}
    for name, value in given.items():
        key = name.replace("-", "_")
        if key not in known:
            raise UsageError(
                f"{stage} has no option {name!r}{nearest(name, [option.name for option in options])}",
                f"Its options are {', '.join(option.name for option in options)}.",
            )
        values[key] = known[key].read(stage, value)
    return values
