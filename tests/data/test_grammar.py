"""Protects vedit/data/grammar.py: captions say what the scene shows, and are read back."""

import random

import pytest

from vedit.data import grammar
from vedit.errors import UsageError

RED_CIRCLE = {
    "shape": "circle",
    "colour": "red",
    "texture": "plain",
    "size": "medium",
    "ground": "grey",
    "pattern": "plain",
    "motion": "left",
}


def test_plain_caption_names_only_what_is_worth_a_word():
    assert grammar.caption(RED_CIRCLE) == "a red circle moving left on a grey background"


def test_full_caption_has_every_word_in_order():
    fields = {**RED_CIRCLE, "size": "small", "texture": "striped", "pattern": "wavy", "motion": "still"}
    assert grammar.caption(fields) == "a small striped red circle standing still on a wavy grey background"


def test_article_before_a_vowel_is_an():
    assert grammar.caption({**RED_CIRCLE, "colour": "orange"}).startswith("an orange circle")


def test_a_plain_caption_reads_back_to_its_fields():
    rng = random.Random(0)
    for _ in range(200):
        fields = {name: rng.choice(values) for name, values in grammar.FIELDS.items()}
        read = grammar.parse_caption(grammar.caption(fields))
        unsaid = {"size": "medium", "texture": "plain", "pattern": "plain"}
        assert {**unsaid, **read} == fields


def test_every_varied_caption_is_inside_the_vocabulary_and_true():
    rng = random.Random(1)
    for _ in range(500):
        fields = {name: rng.choice(values) for name, values in grammar.FIELDS.items()}
        read = grammar.parse_caption(grammar.varied_caption(fields, rng))
        assert {name: fields[name] for name in read} == read


def test_a_complete_caption_names_every_field_but_motion():
    rng = random.Random(2)
    fields = {**RED_CIRCLE, "size": "large", "texture": "dotted", "pattern": "checkered"}
    for _ in range(50):
        read = grammar.parse_caption(grammar.varied_caption(fields, rng, complete=True))
        assert {"shape", "colour", "texture", "size", "ground", "pattern"} <= set(read)


def test_the_american_spelling_means_the_same():
    assert grammar.parse_caption("a red circle on a gray background")["ground"] == "grey"


def test_plain_belongs_to_the_side_it_stands_on():
    assert grammar.parse_caption("a plain circle on a grey background") == {
        "shape": "circle",
        "texture": "plain",
        "ground": "grey",
    }
    assert grammar.parse_caption("a circle on a plain background")["pattern"] == "plain"


def test_an_unknown_word_is_refused_with_the_nearest_spelling_and_the_known_words():
    with pytest.raises(UsageError) as refused:
        grammar.parse_caption("a cirle on a sofa")
    message = str(refused.value)
    assert '"cirle"' in message and '"sofa"' in message and 'Did you mean "circle"' in message
    assert "checkered" in message


def test_a_prompt_in_another_script_is_refused_in_words():
    with pytest.raises(UsageError, match="do not know"):
        grammar.check_words("红色的圆")


def test_a_background_colour_on_the_object_is_refused():
    with pytest.raises(UsageError, match='"teal" does not describe the object'):
        grammar.parse_caption("a teal circle on a grey background")


def test_two_values_of_one_field_are_refused():
    with pytest.raises(UsageError, match="two values of colour: red and blue"):
        grammar.parse_caption("a red blue circle")


def test_a_caption_without_a_shape_is_refused():
    with pytest.raises(UsageError, match="names no shape"):
        grammar.parse_caption("a red on a grey background")


def test_a_caption_may_leave_out_everything_but_the_shape():
    assert grammar.parse_caption("the star") == {"shape": "star"}


def test_one_triple_in_eleven_is_held_out_and_no_pair_is():
    triples = [(shape, colour, ground) for shape in range(6) for colour in range(7) for ground in range(6)]
    trained = [triple for triple in triples if not grammar.is_held_out_triple(*triple)]
    assert len(triples) - len(trained) == 23  # of 252
    pairs = {(shape, colour) for shape, colour, _ in trained}
    assert len(pairs) == 42
    assert len({(shape, ground) for shape, _, ground in trained}) == 36
    assert len({(colour, ground) for _, colour, ground in trained}) == 42


def test_a_digit_is_a_shape_in_two_words():
    assert grammar.parse_caption("digit 5 moving left") == {"shape": "digit 5", "motion": "left"}
    fields = {**RED_CIRCLE, "shape": "digit 0", "colour": "orange"}
    assert grammar.caption(fields) == "an orange digit 0 moving left on a grey background"
    assert grammar.parse_caption(grammar.caption(fields)) == {
        **grammar.parse_caption(grammar.caption(RED_CIRCLE)),
        "shape": "digit 0",
        "colour": "orange",
    }


@pytest.mark.parametrize(
    "prompt", ["a red digit on a grey background", "a red 5", "digit 5 digit", "digit red 5"]
)
def test_half_the_name_of_a_digit_is_refused(prompt):
    with pytest.raises(UsageError, match="two words: digit 5"):
        grammar.parse_caption(prompt)


def test_a_number_of_two_numerals_and_two_digits_are_refused():
    with pytest.raises(UsageError, match="do not know"):
        grammar.parse_caption("digit 55")
    with pytest.raises(UsageError, match="two values of shape: digit 5 and digit 6"):
        grammar.parse_caption("digit 5 digit 6")


def test_some_captions_say_little_more_than_the_shape_and_complete_ones_never_do():
    fields, rng = {**RED_CIRCLE, "shape": "digit 5"}, random.Random(0)
    short = [
        caption
        for caption in (grammar.varied_caption(fields, rng) for _ in range(400))
        if "background" not in caption
    ]
    assert {"digit 5", "digit 5 moving left", "a digit 5 moving left", "red digit 5 moving left"} <= set(
        short
    )
    assert 0.3 < len(short) / 400 < 0.55  # 0.35, and a tenth of the others
    assert all("background" in grammar.varied_caption(fields, rng, complete=True) for _ in range(100))
