"""How a stage declares its options: one table serves the command, the chain grammar and presets.

A stage module holds

    SUMMARY      one line of help
    OPTIONS      a tuple of `Option`
    POSITIONAL   the option that may be given without its name, or None
    EXAMPLES     command lines that the man page shows
    WAYS         groups of options of which one is given, a `Ways` each; may be left out
    make         a function from the options given (by key) to a `media.pipeline.Stage`

and the folder listing does the rest.
"""

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, ClassVar, NamedTuple

from vedit.errors import UsageError, nearest, option
from vedit.media.limits import fraction, seconds
from vedit.plain import american

Parser = Callable[[str], Any]
LARGEST_SIDE = 16384
UNITS = {"CS": "cs", "SECONDS": "s", "R": "fps", "W": "px", "H": "px"}  # of the numbers that help shows so


class Option(NamedTuple):
    """One option of a stage.

    name: as typed, without dashes: "font-size". Its key is the same word with underscores.
    parse: from the text to the value; raises ValueError with what would be right. One of the parsers
    below also says what kind of value it takes, and within which bounds.
    metavar: how help shows the value; nothing for a flag.
    default: used when the option is not given; help shows it.
    negatable: a flag that also has --no-NAME; when neither is given it is None.
    usual: lowest, highest and step of what a slider offers, where the parser takes more.
    """

    name: str
    parse: Parser
    help: str
    metavar: str = ""
    default: Any = None
    negatable: bool = False
    usual: tuple[float, float, float] | None = None

    @property
    def key(self) -> str:
        return self.name.replace("-", "_")

    @property
    def is_flag(self) -> bool:
        return isinstance(self.parse, Flag)

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that it takes, where those are all."""
        return self.parse.names if isinstance(self.parse, Choice) else ()

    def read(self, stage: str, value: str) -> Any:
        """The value from its text; a UsageError names the stage and the option."""
        try:
            return self.parse(value)
        except ValueError as error:
            wrong = UsageError(
                f"{stage} {option(self.name, value)}: {error}.", "", f"See: vedit gif {stage} --help"
            )
            wrong.option = self.name
            raise wrong from None

    def control(self) -> dict[str, Any]:
        """What a page needs to draw the option: kind, bounds, default, help; plain values for JSON.

        A parser that is a bare function, as a stage of another distribution may have, is a text.
        """
        facts: dict[str, Any] = {
            "name": self.name,
            "kind": getattr(self.parse, "kind", "text"),
            "help": self.help,
        }
        for field in ("low", "high", "names", "is_multiline", "holds"):
            if hasattr(self.parse, field):
                facts[field] = _plain(getattr(self.parse, field))
        if self.metavar:
            facts["metavar"] = self.metavar
        if self.metavar in UNITS:
            facts["unit"] = UNITS[self.metavar]
        if self.default is not None:
            facts["default"] = _plain(self.default)
        if self.usual is not None:
            facts["usual"] = list(self.usual)
        return {**facts, "negatable": True} if self.negatable else facts


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Fraction):
        return float(value)
    if isinstance(value, Length):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


class Way(NamedTuple):
    """One way of saying a thing: the options it is said with, and what they take, such as WxH; a way that is
    said without its option has a name for people.
    """

    options: tuple[str, ...]
    values: tuple[str, ...] = ()
    called: str = ""

    @property
    def name(self) -> str:
        if self.called or not self.values:
            return self.called or "/".join(map(option, self.options))
        return " and/or ".join(map(option, self.options, self.values))


def _is_given(value: Any) -> bool:
    return value is not None and value is not False  # 0 is a value


class Ways(NamedTuple):
    """Ways that exclude each other.

    what: what none of them leaves open ("what to keep"). needs_one: whether one must be given.
    """

    what: str
    ways: tuple[Way, ...]
    needs_one: bool = True

    def chosen(self, values: Mapping[str, Any]) -> list[Way]:
        """The ways of which an option is given."""
        return [
            way for way in self.ways if any(_is_given(values[key.replace("-", "_")]) for key in way.options)
        ]

    def check(self, stage: str, values: Mapping[str, Any], example: str = "") -> None:
        """Raise UsageError for two ways at once, and for none where one is needed."""
        chosen = self.chosen(values)
        if len(chosen) == 1 or (not chosen and not self.needs_one):
            return
        got = " and ".join(way.name for way in chosen)
        right = f"Give one of {', '.join(way.name for way in self.ways)}."
        what = f"{stage} got {got}." if chosen else f"{stage} does not say {self.what}."
        raise UsageError(what, right, f"Example: {example}" if example else "")


class Value:
    """Parsers are equal where they take the same; making as many frozen dataclasses would take 7 ms of every
    start.
    """

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))


class Flag(Value):
    """A switch; as text, for chains and presets: true or false."""

    kind: ClassVar[str] = "switch"

    def __call__(self, text: str) -> bool:
        lowered = str(text).lower()
        if lowered in ("true", "yes", "1", "on", ""):
            return True
        if lowered in ("false", "no", "0", "off"):
            return False
        raise ValueError("expected true or false")


class Text(Value):
    """Any text."""

    kind: ClassVar[str] = "text"

    def __init__(self, is_multiline: bool = False) -> None:
        self.is_multiline = is_multiline

    def __call__(self, value: str) -> str:
        return value


class FilePath(Value):
    """The name of a file that is read: a "font", a "picture"."""

    kind: ClassVar[str] = "file"

    def __init__(self, holds: str) -> None:
        self.holds = holds

    def __call__(self, value: str) -> str:
        return value


class Integer(Value):
    """A whole number in [low, high]."""

    kind: ClassVar[str] = "range"

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def __call__(self, value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError(f"expected a whole number from {self.low} to {self.high}") from None
        if not self.low <= number <= self.high:
            raise ValueError(f"expected a whole number from {self.low} to {self.high}")
        return number


class Number(Value):
    """A decimal number in [low, high], exact: a Fraction.

    is_log: a slider has as much room for 0.5 to 1 as for 1 to 2.
    """

    def __init__(self, low: float, high: float, is_log: bool = False) -> None:
        self.low, self.high, self.is_log = low, high, is_log

    @property
    def kind(self) -> str:
        return "log-range" if self.is_log else "range"

    def __call__(self, value: str) -> Fraction:
        try:
            result = fraction(value)
        except ValueError:
            raise ValueError(f"expected a number from {self.low:g} to {self.high:g}") from None
        if not Fraction(str(self.low)) <= result <= Fraction(str(self.high)):
            raise ValueError(f"expected a number from {self.low:g} to {self.high:g}")
        return result


class Factor(Value):
    """`0.5` or `50%`: more than 0, at most `high`; exact."""

    kind: ClassVar[str] = "log-range"

    def __init__(self, high: int) -> None:
        self.high = high

    def __call__(self, value: str) -> Fraction:
        try:
            factor = fraction(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
        except ValueError:
            factor = Fraction(0)
        if not 0 < factor <= self.high:
            raise ValueError("expected a factor such as 0.5, or a share such as 50%")
        return factor


class Choice(Value):
    """One of a few words; the nearest is suggested."""

    kind: ClassVar[str] = "choice"

    def __init__(self, *names: str) -> None:
        self.names = names

    def __call__(self, value: str) -> str:
        value = next((name for name in self.names if american(name) == american(value)), value)
        if value not in self.names:
            raise ValueError(
                f"expected {', '.join(self.names[:-1])} or {self.names[-1]}{nearest(value, self.names)}"
            )
        return value


class Length(NamedTuple):
    """A distance in pixels, or as a share of the width or height it is taken from."""

    value: Fraction
    is_percent: bool

    def pixels(self, whole: int) -> int:
        """Rounded half up."""
        return int(self.value * whole / 100 + Fraction(1, 2)) if self.is_percent else int(self.value)

    def __str__(self) -> str:
        return f"{float(self.value):g}{'%' if self.is_percent else ''}"


class Distance(Value):
    """`12` pixels or `10%`: a `Length`."""

    kind: ClassVar[str] = "length"

    def __call__(self, value: str) -> Length:
        try:
            result = Length(fraction(value.removesuffix("%")), value.endswith("%"))
        except ValueError:
            raise ValueError("expected pixels such as 12, or a share such as 10%") from None
        is_broken = not result.is_percent and result.value.denominator > 1
        if result.value < 0 or (result.is_percent and result.value > 100) or is_broken:
            raise ValueError("expected whole pixels such as 12, or a share from 0% to 100%")
        return result


class Size(Value):
    """`WxH` in pixels, each from 1 to 16384."""

    kind: ClassVar[str] = "size"
    low: ClassVar[int] = 1
    high: ClassVar[int] = LARGEST_SIDE

    def __call__(self, value: str) -> tuple[int, int]:
        width, _, height = value.lower().partition("x")
        if not all(
            side.isdecimal() and len(side) < 6 and 1 <= int(side) <= LARGEST_SIDE for side in (width, height)
        ):
            raise ValueError(f"expected WIDTHxHEIGHT such as 320x240, each from 1 to {LARGEST_SIDE}")
        return int(width), int(height)


class Colour(Value):
    """`#rrggbb`, `#rgb` or one of a few names, as 0-255 numbers."""

    kind: ClassVar[str] = "colour"
    named: ClassVar[Mapping[str, str]] = {
        "white": "ffffff",
        "black": "000000",
        "red": "ff0000",
        "green": "008000",
        "blue": "0000ff",
        "yellow": "ffff00",
        "grey": "808080",
    }

    def __call__(self, value: str) -> tuple[int, int, int]:
        digits = self.named.get(value.lower().replace("gray", "grey"), value.lstrip("#"))
        if len(digits) == 3:
            digits = "".join(digit * 2 for digit in digits)
        try:
            red, green, blue = bytes.fromhex(digits)
        except ValueError:
            raise ValueError(f"expected #rrggbb such as #ff8800, or {', '.join(self.named)}") from None
        return red, green, blue


class Span(Value):
    """`A-B`: images A to B, counted from 1; `A-` to the end (B is None); `A` only that one."""

    kind: ClassVar[str] = "spans"

    def __call__(self, value: str) -> tuple[int, int | None]:
        match = re.fullmatch(r"(\d{1,9})(-(\d{1,9})?)?", value)
        if not match or int(match[1]) < 1 or (match[3] and int(match[3]) < int(match[1])):
            raise ValueError("expected a range such as 10-20, counted from 1, 10- to the end, or one number")
        return int(match[1]), int(match[1]) if not match[2] else int(match[3]) if match[3] else None


LAST = 0  # the number of the last image, which is counted from 1 as all are


class Spans(Value):
    """Spans with commas between, and the words `all` and `last`: first and last image of each, None for an
    open end.

    may_turn: whether `9-2`, backwards, is one too.
    """

    kind: ClassVar[str] = "spans"

    def __init__(self, may_turn: bool = False) -> None:
        self.may_turn = may_turn

    def __call__(self, value: str) -> tuple[tuple[int, int | None], ...]:
        return tuple(self._span(part.strip()) for part in value.split(","))

    def _span(self, text: str) -> tuple[int, int | None]:
        if text in ("all", "last"):
            return (1, None) if text == "all" else (LAST, LAST)
        match = re.fullmatch(r"([1-9]\d{0,8})(-([1-9]\d{0,8}|last)?)?", text)
        first = int(match[1]) if match else 0
        last = (
            None
            if match and match[2] and match[3] in (None, "last")
            else int(match[3] or first)
            if match
            else 0
        )
        if not match or (last is not None and last < first and not self.may_turn):
            raise ValueError("expected images such as 1-20,35,50- counted from 1, all or last")
        return first, last


def is_within(spans: tuple[tuple[int, int | None], ...], number: int, is_last: bool) -> bool:
    """Whether an image, counted from 1, is in one of the spans."""
    return any(
        is_last if first == LAST else first <= number and (last is None or number <= last)
        for first, last in spans
    )


class Moments(Value):
    """`T-T`: from one moment to another, in seconds or as 1:02.5; either may be left out."""

    kind: ClassVar[str] = "moments"

    def __call__(self, value: str) -> tuple[Fraction, Fraction | None]:
        begin, dash, end = value.partition("-")
        try:
            start_s = seconds(begin) if begin.strip() else Fraction(0)
            end_s = seconds(end) if end.strip() else None
        except ValueError:
            dash = ""
        if not dash or (end_s is not None and end_s <= start_s):
            raise ValueError("expected two moments such as 1.5-4 or 1:02-1:10, or 4- to the end")
        return start_s, end_s


def read_options(stage: str, options: tuple[Option, ...], given: Mapping[str, str]) -> dict[str, Any]:
    """Parse option texts by key, and fill in defaults. Raises UsageError naming the option."""
    known = {american(option.key): option for option in options}
    values = {option.key: option.default for option in options}
    for name, value in given.items():
        key = american(name.replace("-", "_"))
        if key not in known:
            raise UsageError(
                f"{stage} has no option {name!r}{nearest(name, [option.name for option in options])}",
                f"Its options are {', '.join(option.name for option in options)}.",
            )
        values[known[key].key] = known[key].read(stage, value)
    return values
