"""Protects vedit/jobs/rewrite/lexicon.py: phrases of a place for those of another, whole and in their form."""

from __future__ import annotations

from pathlib import Path

import pytest

from vedit import api
from vedit.errors import UsageError
from vedit.jobs.rewrite.lexicon import load_lexicon, replaced


@pytest.mark.parametrize(
    ("source", "said", "target"),
    [
        ("a chef slices roast duck on a board", "make it Japanese", "a chef slices sushi roll on a board"),
        (
            "Dumplings near a red lantern",
            "change food from China culture to Japan culture",
            "Gyoza near a red lantern",
        ),
        ("dumplings near a red lantern", "make it Japanese", "gyoza near a paper lantern"),
        ("she holds a Qipao and a fan", "make it Indian", "she holds a Sari and a fan"),
        ("an espresso on the table", "from Italy to China", "a jasmine tea on the table"),
        ("noodle soup and noodles", "make it Japanese", "ramen and udon"),
        ("two pagodas on a hill", "make the architecture Japanese", "two shrines on a hill"),
        ("a lake and a lakeside in summer", "make it winter", "a frozen lake and a lakeside in winter"),
        ("A car on a street", "as it was in the old days", "A horse carriage on a street"),
        ("grass and a forest", "let it be Autumn!", "fallen leaves and a golden forest"),
    ],
)
def test_phrases_are_replaced_longest_first_as_whole_words_in_their_form(
    source: str, said: str, target: str
) -> None:
    assert load_lexicon().rewritten(source, said) == target


def test_what_has_no_counterpart_and_what_names_no_place_are_told_apart() -> None:
    with pytest.raises(UsageError, match='none of the words of "a wolf" has a counterpart for Japan'):
        load_lexicon().rewritten("a wolf", "make it Japanese")
    assert load_lexicon().rewritten("a wolf", "make it sing") is None
    with pytest.raises(UsageError, match="is not a swap"):
        api.rewrite("a wolf", "make it sing")


def test_a_phrase_is_replaced_once_and_not_what_it_became() -> None:
    assert replaced("day and night", {"day": "night", "night": "day"}) == "night and day"
    assert replaced("a box, boxes and an axe", {"box": "axe", "axe": "box"}) == "an axe, axes and a box"


def test_a_lexicon_of_one_s_own_goes_before_ours(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        '[called]\nMars = ["martian"]\n[food.Earth.Mars]\n"roast duck" = "dust bun"\n[food.China.Japan]\n"roast duck" = "unagi"\n'
    )
    said = [
        api.rewrite("a chef slices roast duck here", word, lexicon=str(own))["target"]
        for word in ("make it Martian", "go to mars", "make it Japanese")
    ]
    assert said == ["a chef slices dust bun here"] * 2 + ["a chef slices unagi here"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[food]\nChina = 3", "food.China is not a table"),
        ("food = 3", "food is not a table"),
        ('[food.China.Japan]\n"roast duck" = ""', "stands for no phrase"),
        ("[called]\nJapan = [3]", "which is not a word"),
        ("[", "not a lexicon"),
    ],
)
def test_a_lexicon_that_is_not_one_is_refused(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(UsageError, match=why):
        load_lexicon(str(tmp_path / "own.toml"))


def test_a_lexicon_that_is_missing_is_told_even_where_no_prompt_needs_it() -> None:
    with pytest.raises(UsageError, match="no such file"):
        api.rewrite("a red circle", "make it blue", lexicon="/nowhere/own.toml")


def test_every_phrase_of_ours_is_in_lower_case_and_stands_for_another() -> None:
    entries = load_lexicon().entries
    assert len(entries) > 100
    assert all(one.phrase == one.phrase.lower() != one.stands_for for one in entries)
    places = set(load_lexicon().called.values())
    assert {one.target for one in entries} | {one.origin for one in entries} <= places, (
        "each can be asked for"
    )
