"""Options as data: a field of a frozen dataclass says its help, its words and its bounds, and every face
reads them there.

    @dataclass(frozen=True, kw_only=True)
    class LpipsOptions:
        lpips_net: str = declared("Backbone of lpips.", "alex", choices=("alex", "vgg", "squeeze"))

Stages have tables of their own, `vedit.stages.options`, since their options are parsed from chains too.
"""

from __future__ import annotations

from dataclasses import field, fields
from typing import Any, NamedTuple

OPTION = "option"  # the key of a field's metadata


class Option(NamedTuple):
    """What a face needs to offer an option, beside its name and default.

    metavar: how help shows the value. choices: the only words it takes. kind: str, int, float, or
    bool for a switch. low, high: bounds of a number, None for none. of: those that read it, where
    not all do. is_repeated: may be given several times; the value is a tuple.
    """

    help: str
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    kind: type = str
    low: float | None = None
    high: float | None = None
    of: tuple[str, ...] = ()
    is_repeated: bool = False

    def mistake(self, value: Any) -> str:
        """What is wrong with a value, or ""."""
        wanted = (int, float) if self.kind is float else self.kind
        if not isinstance(value, wanted) or (isinstance(value, bool) and self.kind is not bool):
            return f"{value!r} is not {_NAMED[self.kind]}"
        if self.choices and value not in self.choices:
            return f"{value!r} is not one of {', '.join(self.choices)}"
        return "" if self._holds(value) else f"{value!r} is not {self._range()}"

    def _holds(self, value: Any) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def _range(self) -> str:
        low, high = (None if bound is None else f"{bound:g}" for bound in (self.low, self.high))
        return f"from {low} to {high}" if low and high else f"{low} or more" if low else f"{high} or less"


_NAMED: dict[type, str] = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def declared(help: str, default: Any = None, **facts: Any) -> Any:
    """A dataclass field with its `Option`; facts: as `Option` has them."""
    return field(default=default, metadata={OPTION: Option(help, **facts)})


def declared_in(owner: Any) -> dict[str, Option]:
    """The options of a dataclass by key, in the order of its text, those it inherits first."""
    return {item.name: item.metadata[OPTION] for item in fields(owner) if OPTION in item.metadata}


def defaults_of(owner: Any) -> dict[str, Any]:
    """The default of each option, by key."""
    return {item.name: item.default for item in fields(owner) if OPTION in item.metadata}


def mistakes(values: Any) -> list[str]:
    """What is wrong with the values of a dataclass's options, each with its key; None is not set."""
    found = []
    for key, option in declared_in(values).items():
        value = getattr(values, key)
        for item in value if option.is_repeated else [] if value is None else [value]:
            if why := option.mistake(item):
                found.append(f"{key}: {why}.")
    return found
