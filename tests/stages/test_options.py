"""Option tables can be read: kinds, bounds and defaults as plain data."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from tests.conftest import gif, vedit
from vedit import stages
from vedit.stages.options import (
    Choice,
    Colour,
    Distance,
    Factor,
    Flag,
    Integer,
    Number,
    Option,
    Size,
    Span,
    Way,
    Ways,
)

ALL = [
    pytest.param(option, id=f"{name} {option.name}")
    for name in stages.names()
    for option in stages.load(name).OPTIONS
]


@pytest.mark.parametrize("option", ALL)
def test_every_option_says_what_it_takes_as_json(option: Option) -> None:
    facts = json.loads(json.dumps(option.control()))
    assert facts["name"] == option.name and facts["help"] == option.help
    kinds = (
        "range log-range choice switch text lines colour length size rectangle spans file loop words"
        " rules delay moments aspect ground regions point"
    )
    assert facts["kind"] in kinds.split()
    if facts["kind"] == "range":
        assert option.parse(str(facts["low"])) == Fraction(str(facts["low"]))
        assert option.parse(str(facts["high"])) == Fraction(str(facts["high"]))
        with pytest.raises(ValueError):
            option.parse(str(facts["high"] + 1))
    for word in facts.get("names", ()):
        option.parse(word)


@pytest.mark.parametrize("option", ALL)
def test_parsers_are_values_that_can_be_compared(option: Option) -> None:
    held = vars(option.parse)
    again = type(option.parse)(*held["names"]) if "names" in held else type(option.parse)(**held)
    assert again == option.parse and hash(again) == hash(option.parse)
    assert again != Integer(-1, -1) and (again == Flag()) == isinstance(option.parse, Flag)


def test_a_bare_function_of_another_distribution_is_a_text() -> None:
    assert Option("level", int, "how much", "N", 4).control() == {
        "name": "level",
        "kind": "text",
        "help": "how much",
        "metavar": "N",
        "default": 4,
    }


def test_a_sliders_usual_span_stands_beside_the_bounds() -> None:
    facts = Option("font-size", Integer(1, 4096), "height", "N", 24, usual=(10, 50, 1)).control()
    assert (facts["low"], facts["high"], facts["usual"]) == (1, 4096, [10, 50, 1])


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (Integer(0, 9), "7", 7),
        (Number(0.1, 3), "0.3", Fraction(3, 10)),
        (Factor(100), "50%", Fraction(1, 2)),
        (Choice("a", "b"), "b", "b"),
        (Size(), "320X240", (320, 240)),
        (Colour(), "#f80", (255, 136, 0)),
        (Span(), "3-", (3, None)),
        (Distance(), "12", (Fraction(12), False)),
    ],
)
def test_parsers_read_what_they_say(parse: object, text: str, value: object) -> None:
    assert parse(text) == value  # type: ignore[operator]


@pytest.mark.parametrize("text", ["1e999999999", "9" * 5000, "", "x", "-1", "1/0"])
@pytest.mark.parametrize("parse", [Integer(0, 9), Number(0.1, 3), Factor(100), Size(), Distance(), Span()])
def test_what_is_wrong_is_said_at_once(parse: object, text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse(text)  # type: ignore[operator]


def test_ways_count_options_that_were_given() -> None:
    ways = Ways("what", (Way(("a",)), Way(("b", "c"))), needs_one=False)
    assert [way.name for way in ways.chosen({"a": None, "b": False, "c": 0})] == ["--b/--c"]  # 0 is a value
    ways.check("stage", {"a": None, "b": None, "c": None})


@pytest.mark.parametrize("words", [["crop", "--centre", "20x10"], ["crop", "--center", "20x10"]])
def test_both_spellings_of_an_option_do_the_same(words: list[str], tmp_path: Path) -> None:
    assert vedit("gif", *words, gif("ok_plain.gif"), "-o", tmp_path / "a.gif").code == 0
    assert vedit("gif", "chain", "crop:centre=20x10", gif("ok_plain.gif"), "-o", tmp_path / "b.gif").code == 0
    assert vedit("gif", "chain", "crop:center=20x10", gif("ok_plain.gif"), "-o", tmp_path / "c.gif").code == 0
    assert len({(tmp_path / f"{name}.gif").read_bytes() for name in "abc"}) == 1


def test_colours_and_places_are_taken_in_either_spelling(tmp_path: Path) -> None:
    for place, colour, name in (("center", "--color", "grey"), ("centre", "--colour", "gray")):
        words = [
            "--text",
            "ab",
            "--position",
            place,
            colour,
            name,
            f"--outline-{colour[2:]}",
            "red",
            f"{colour}s",
            "64",
        ]
        assert (
            vedit("gif", "watermark", *words, gif("ok_plain.gif"), "-o", tmp_path / f"{place}.gif").code == 0
        )
    assert (tmp_path / "center.gif").read_bytes() == (tmp_path / "centre.gif").read_bytes()
