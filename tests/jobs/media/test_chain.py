"""The chain grammar, read and written."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedit import stages
from vedit.errors import UsageError
from vedit.jobs.media.chain import build_chain, format_chain, parse_chain
from vedit.stages.options import Option


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("don't", "don't"),
        ("rock 'n' roll", "rock 'n' roll"),
        ('"a; b, c"', "a; b, c"),
        ('"say ""hi"""', 'say "hi"'),
        ("'it''s'", "it's"),
        ('say "a, b"', 'say "a, b"'),
        ("the boys' club", "the boys' club"),
        ("'\n# no comment'", "\n# no comment"),
        ('""', ""),
    ],
)
def test_a_value_is_what_was_typed(typed: str, text: str) -> None:
    assert parse_chain(f"watermark:text={typed},opacity=9; rotate:90") == [
        ("watermark", {"text": text, "opacity": "9"}),
        ("rotate", {"angle": "90"}),
    ]


def test_a_quote_that_begins_a_value_must_be_closed() -> None:
    with pytest.raises(UsageError, match="not closed") as raised:
        parse_chain('watermark:text="a; rotate:90')
    assert "written twice" in str(raised.value)


def test_lines_that_begin_with_a_hash_are_comments() -> None:
    assert parse_chain("# first\nrotate:90\n  # crop:left=1\nspeed:2 # not one; crop:auto\n# last")[1:] == [
        ("speed", {"factor": "2 # not one"}),
        ("crop", {"auto": "true"}),
    ]


VALUES = st.text(
    alphabet=st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=12
) | st.sampled_from(
    [
        "a; b",
        "it's",
        'say "hi"',
        "'\"",
        "\"'",
        " x ",
        "#1",
        "a,b",
        "=:",
        "\n#",
        'x="y',
        "'",
        '"',
        "\\",
        "no-loop",
    ]
)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from(["watermark", "metadata"]), VALUES), min_size=1, max_size=4),
    st.sampled_from("'\""),
)
def test_what_is_written_is_read_again(pairs: list[tuple[str, str]], quote: str) -> None:
    key = {"watermark": "text", "metadata": "comment"}
    specs = [(name, {key[name]: value}) for name, value in pairs]
    assert parse_chain(format_chain(specs, quote)) == specs


def option_texts(option: Option) -> st.SearchStrategy[str]:
    """Texts that an option's parser takes, from what it says of itself."""
    facts = option.control()
    samples = {
        "range": [str(facts.get("low")), str(facts.get("high"))],
        "log-range": [str(facts["low"]), str(facts["high"])] if "low" in facts else ["50%", "0.5"],
        "choice": list(facts.get("names", [])),
        "switch": ["true", "false"],
        "colour": ["#ff8800", "red"],
        "length": ["3", "10%"],
        "size": ["8x6"],
        "rectangle": ["4x3+1+2"],
        "spans": ["1-2", "2-"],
        "file": ["logo.png"],
        "loop": ["forever", "3"],
        "words": list(facts.get("names", [])),
        "lines": ["one\\ntwo; three"],
        "rules": ["1-5=10 last=2s", "7"],
        "delay": ["200", "2s"],
        "moments": ["1.5-4", "1-"],
        "aspect": ["16:9", "1.5"],
        "ground": ["blurred", "red"],
        "regions": ["4x3+1+2", "4x3+1+2@1-2 5x5+0+0"],
        "point": ["3,4", "10%+20%"],
        "text": ["a 'b', \"c\""],
    }
    return st.sampled_from(samples[facts["kind"]])


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_chains_of_every_stage_and_option_are_written_and_read(data: st.DataObject) -> None:
    specs = []
    for name in data.draw(st.lists(st.sampled_from(stages.names()), min_size=1, max_size=4)):
        options = data.draw(
            st.lists(
                st.sampled_from(stages.load(name).OPTIONS), max_size=4, unique_by=lambda option: option.name
            )
        )
        texts = {option.name: data.draw(option_texts(option)) for option in options}
        for option in options:
            option.parse(texts[option.name])  # what the table says of a parser is true
        specs.append((name, texts))
    assert parse_chain(format_chain(specs)) == specs


def test_ways_that_exclude_each_other_are_named_from_their_table() -> None:
    with pytest.raises(UsageError) as raised:
        build_chain(parse_chain("crop:left=1,centre=4x4,auto"))
    assert raised.value.what == "crop got --left/--right/--top/--bottom and --centre WxH and --auto."
    assert (
        raised.value.right
        == "Give one of --rect WxH+X+Y, --left/--right/--top/--bottom, --centre WxH, --auto."
    )
    with pytest.raises(UsageError, match="resize does not say to which size"):
        build_chain(parse_chain("resize:only-shrink"))
    with pytest.raises(UsageError, match="speed got a factor and --fps"):
        build_chain(parse_chain("speed:2,fps=10"))
