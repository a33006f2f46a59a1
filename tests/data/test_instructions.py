"""Protects vedit/data/instructions.py and edits.py: what is typed, what is drawn, and that they fit each other."""

import random
from fractions import Fraction

import pytest
import torch

from vedit.data import edits, grammar, instructions, scenes, vocabulary
from vedit.errors import UsageError

FIELDS = {
    "shape": "circle",
    "colour": "red",
    "texture": "striped",
    "size": "small",
    "ground": "grey",
    "pattern": "wavy",
    "motion": "left",
}


def said(kind, value, when=None, **fields):
    """Every wording of one change."""
    before = {**FIELDS, **fields}
    return {instructions.instruction(before, kind, value, random.Random(seed), when) for seed in range(300)}


def drawn(count=200, seed=0, **choice):
    return edits.draw(count, torch.Generator().manual_seed(seed), **{"clips": True, **choice})


def test_a_change_has_several_wordings_that_name_it():
    assert {"make the circle blue", "turn the circle blue", "paint the red circle blue"} <= said(
        "colour", "blue"
    )
    assert {"replace the circle with a star", "turn the shape into a star"} <= said("shape", "star")
    assert {"remove the stripes from the circle", "make the circle plain"} <= said("texture", "plain")
    assert {"put the circle on an orange background"} <= {
        text.replace("navy", "orange").replace(" a orange", " an orange") for text in said("ground", "navy")
    }
    assert all("waves" in text or "plain" in text for text in said("pattern", "plain"))
    assert {"stop the circle", "make the circle stand still"} <= said("motion", "still")


def test_larger_and_smaller_are_said_of_the_next_size_alone():
    assert any("larger" in text for text in said("size", "medium"))
    assert not any("larger" in text or "grow" in text for text in said("size", "large"))
    assert any("shrink" in text for text in said("size", "small", size="medium"))


def test_a_time_is_said_behind_the_change():
    middle = (Fraction(1, 2), Fraction(1))
    assert {"make the circle blue from the middle on", "make the circle blue in the second half"} <= said(
        "colour", "blue", middle
    )


def test_words_of_time_are_split_off_at_either_end():
    for span, wordings in instructions.WHEN.items():
        for words in wordings:
            assert instructions.split_when(f"make it blue {words}") == ("make it blue", span)
            assert instructions.split_when(f"{words} make it blue") == ("make it blue", span)
    for text in ("make it blue", "from the middle on", "make it blue from the middle on and turn it"):
        assert instructions.split_when(text) == (text, None)


def test_every_wording_is_read_as_it_is_typed_and_every_word_is_one_token():
    texts = drawn(400).instructions(random.Random(0)) + drawn(400, like=True).instructions(random.Random(1))
    assert all(instructions.read_words(text) == text for text in texts)
    assert max(len(text.split()) for text in texts) <= instructions.LONGEST <= vocabulary.TEXT_LENGTH - 2
    tokenizer = vocabulary.tokenizer(instructions.WORDS)
    ids = vocabulary.token_ids(texts[:20], instructions.WORDS)
    for text, row in zip(texts[:20], ids.tolist(), strict=True):
        theirs = tokenizer(text).input_ids
        assert row[: len(theirs)] == theirs and len(theirs) == len(text.split()) + 2


def test_spellings_of_others_are_read_and_unknown_words_are_listed_with_those_that_are_known():
    assert instructions.read_words("Make the circle's color BLUE!") == "make the circle colour blue"
    with pytest.raises(UsageError) as caught:
        instructions.read_words("make the cat blew")
    told = str(caught.value)
    assert '"cat", "blew"' in told and '"blue"' in told and "stripes" in told and "from" in told
    with pytest.raises(UsageError, match="has 0 words"):
        instructions.read_words(" ,. ")
    with pytest.raises(UsageError, match="has 23 words"):
        instructions.read_words(" ".join(["blue"] * 23))


def test_an_edit_changes_what_it_says_and_keeps_all_else():
    batch = drawn(300)
    for row, (old, new) in enumerate(zip(batch.before.words(), batch.after.words(), strict=True)):
        changed = {name for name in grammar.FIELDS if old[name] != new[name]}
        more = batch.more[row]
        assert changed == {batch.kinds[row], *([more[0]] if more else [])}
        assert new[batch.kinds[row]] == batch.values[row]
    assert all(torch.equal(batch.before.floats[name], batch.after.floats[name]) for name in scenes.FLOATS)
    assert set(batch.kinds) == set(instructions.KINDS) and any(batch.more)


def test_what_an_edit_makes_can_be_drawn_and_is_not_held_out():
    for like in (False, True):
        batch = drawn(300, like=like)
        for words in batch.after.words():
            assert not grammar.is_held_out(words)
            assert words["shape"] not in grammar.DIGITS or words["texture"] == "plain" or like
        outside = edits._unfit(batch.after, torch.zeros(300, dtype=torch.bool))
        assert not outside.any()


def test_pictures_neither_move_nor_wait():
    batch = drawn(200, clips=False)
    assert "motion" not in batch.kinds and batch.when == [None] * 200
    assert (batch.spans_B2 == torch.tensor([0.0, 2.0])).all()


def test_a_reference_shows_what_the_edit_makes_elsewhere_and_whole():
    batch = drawn(200, like=True)
    shown = edits.references(batch, torch.Generator().manual_seed(5))
    assert shown.words() == batch.after.words()
    reach = scenes.REACH * shown.radius_B
    for name in "xy":
        place = shown.floats[name]
        assert ((place >= reach) & (place <= scenes.SIDE - reach)).all()
        assert not torch.equal(place, batch.after.floats[name])
    assert sum(like == "object" for like in batch.likes) > 40 and None in batch.likes


def test_where_and_when_an_edit_shows_is_what_mask_and_words_say():
    batch = drawn(300)
    time = edits.middles(8, 300)
    mask, weights = batch.mask(time), batch.weights(time)
    assert set(weights.unique().tolist()) == {0.0, 1.0}
    free = [row for row in range(300) if not batch.masked_B[row]]
    assert (mask[free] == 1).all()
    for row in free:
        shows = weights[row].flatten(1).amax(1).tolist()
        when = batch.when[row]
        begin, end = (0, 8) if when is None else (float(when[0]) * 8, float(when[1]) * 8)
        assert shows == [float(begin <= frame + 0.5 < end) for frame in range(8)]
    told = batch.masked_B.nonzero()[:, 0].tolist()
    assert told and all(0 < mask[row].mean() < 1 for row in told[:5] if mask[row].amax() > 0)


def test_draws_are_a_function_of_the_seed():
    first, again, other = drawn(50), drawn(50), drawn(50, seed=1)
    assert first.kinds == again.kinds and torch.equal(first.boxes_B4, again.boxes_B4)
    assert first.kinds != other.kinds
