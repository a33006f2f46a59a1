"""Words, tokens and how two prompts correspond: against the vectors and the loops of the published code."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.tiny import LENGTH, tokenizer
from vedit.data import vocabulary
from vedit.engine.prompts import alignment, column_schedule, equalizer, replacement_map
from vedit.errors import UsageError
from vedit.models.prompt import Prompt
from vedit.models.words import read_prompt

embedded_tokenizer = cache(vocabulary.tokenizer)  # knows every byte
SOURCE = "a cat sitting next to a mirror"


def prompt(text: str) -> Prompt:
    return read_prompt(tokenizer(), text)


def reference_map(source: Prompt, target: Prompt) -> np.ndarray:
    """`get_replacement_mapper_` of google/prompt-to-prompt, with the words' tokens given."""
    length = source.length
    changed = [k for k in range(len(source.words)) if source.words[k] != target.words[k]]
    old, new = [source.places[k] for k in changed], [target.places[k] for k in changed]
    mapper = np.zeros((length, length))
    i = j = place = 0
    while i < length and j < length:
        if place < len(old) and old[place][0] == i:
            if len(old[place]) == len(new[place]):
                mapper[list(old[place]), list(new[place])] = 1
            else:
                for token in new[place]:
                    mapper[list(old[place]), token] = 1 / len(new[place])
            i, j, place = i + len(old[place]), j + len(new[place]), place + 1
        elif place < len(old):
            mapper[i, j] = 1
            i, j = i + 1, j + 1
        else:
            mapper[j, j] = 1
            i, j = i + 1, j + 1
    return mapper


def test_a_word_covers_the_pieces_it_falls_into() -> None:
    found = prompt("a Spider-Man sitting, at night")
    assert found.words == ("a", "Spider-Man", "sitting,", "at", "night")
    assert found.places == ((1,), (2, 3, 4), (5, 6), (7,), (8,))
    assert len(found.ids) == 10 and found.length == LENGTH


@given(st.text(st.sampled_from("ab'cs,.-!éßİ漢字\u00a0\u2003\t\n\x1c\u200b\u0301🙂 <|>_09ﬁ"), max_size=12))
@settings(max_examples=150, deadline=None)
def test_any_text_falls_into_words_that_cover_its_tokens_in_order(text: str) -> None:
    found = read_prompt(embedded_tokenizer(), text[:6])
    assert [place for places in found.places for place in places] == list(range(1, len(found.ids) - 1))


def test_words_are_found_in_any_case_and_beside_punctuation() -> None:
    found = prompt("a Spider-Man sitting, a cat")
    assert found.tokens_of("spider-man") == (2, 3, 4)
    assert found.tokens_of("SITTING") == (5, 6)
    assert found.tokens_of("a") == (1, 7)


def test_a_word_that_does_not_occur_is_an_error_with_the_words_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        prompt("a fluffy cat").tokens_of("flufy")
    assert "did you mean fluffy?" in str(caught.value) and "a, fluffy, cat" in str(caught.value)


def test_a_prompt_too_long_is_refused_with_its_length() -> None:
    assert len(prompt("cat " * (LENGTH - 2)).ids) == LENGTH
    with pytest.raises(UsageError, match=f"has {LENGTH - 1} tokens, the model reads {LENGTH - 2}"):
        prompt("cat " * (LENGTH - 1))


@pytest.mark.parametrize(
    ("source", "target", "m", "beta"),
    [
        (
            SOURCE,
            "a photo of a fluffy cat sitting next to a mirror",
            "0 1 -1 -1 -1 -1 2 3 4 5 6 7 8",
            "1 1 0 0 0 0 1 1 1 1 1 1 1",
        ),
        (
            SOURCE,
            "a cat sitting next to a mirror at night",
            "0 1 2 3 4 5 6 7 -1 -1 8",
            "1 1 1 1 1 1 1 1 0 0 1",
        ),
        (SOURCE, "a cat next to a mirror", "0 1 2 4 5 6 7 8", "1 1 1 1 1 1 1 1"),
        (SOURCE, "a mirror sitting next to a cat", "0 1 -1 3 4 5 6 -1 8", "1 1 0 1 1 1 1 0 1"),
        ("a a a", "a b a a", "0 1 -1 2 3 4", "1 1 0 1 1 1"),
    ],
)
def test_alignment_gives_the_vectors_of_the_published_code(
    source: str, target: str, m: str, beta: str
) -> None:
    found_m, found_beta = alignment(prompt(source), prompt(target))
    expected = [int(value) for value in m.split()]
    assert found_m.tolist() == expected + list(range(len(expected), LENGTH))
    assert found_beta.tolist() == [float(value) for value in beta.split()] + [1.0] * (LENGTH - len(expected))


FEW_WORDS = st.lists(st.sampled_from(["a", "cat", "dog", "b", "x"]), min_size=1, max_size=8)


@given(FEW_WORDS, FEW_WORDS)
@settings(max_examples=60, deadline=None)
def test_alignment_keeps_order_and_joins_equal_tokens_only(source: list[str], target: list[str]) -> None:
    one, two = prompt(" ".join(source)), prompt(" ".join(target))
    m, beta = alignment(one, two)
    own = m[: len(two.ids)]
    kept = own[own >= 0].tolist()
    assert kept == sorted(set(kept)) and torch.equal(beta, (m >= 0).float())
    assert all(one.ids[i] == two.ids[j] for j, i in enumerate(own.tolist()) if i >= 0)


def test_one_word_to_three_pieces_and_the_tail() -> None:
    source, target = prompt("a cat sitting next to a mirror"), prompt("a Spider-Man sitting next to a mirror")
    ours, compat = replacement_map(source, target), replacement_map(source, target, compat=True)
    assert ours[2, 2:5].tolist() == compat[2, 2:5].tolist() == pytest.approx([1 / 3] * 3)
    assert ours[:, 5].nonzero().flatten().tolist() == [3]  # "sitting" takes "sitting"
    assert compat[:, 5].nonzero().flatten().tolist() == [5]  # the reference takes "to"
    assert ours[:, 10].nonzero().flatten().tolist() == [8]  # the end token takes the end token
    assert ours.sum(0).tolist() == pytest.approx([1, 1, *[1 / 3] * 3, *[1.0] * (LENGTH - 5)])


def test_three_pieces_to_one_word_take_the_sum() -> None:
    ours = replacement_map(prompt("a Spider-Man sitting"), prompt("a cat sitting"))
    assert ours[:, 2].tolist() == [0, 0, 1, 1, 1] + [0] * (LENGTH - 5)
    assert ours[:, 3].nonzero().flatten().tolist() == [5]
    assert ours[:, -1].nonzero().flatten().tolist() == [LENGTH - 1]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("a cat sitting next to a mirror", "a dog sitting next to a mirror"),
        ("a cat sitting next to a mirror", "a Spider-Man sitting next to a lasagna"),
        ("a Spider-Man sitting next to a mirror", "a cat sitting next to a mirror"),
        ("a Spider-Man next to a Spider-Man", "a cat next to the dog"),
        ("a fluffy wxyz", "a red wx"),
        ("a cat", "a cat"),
        ("cat", "Spider-Man"),
    ],
)
def test_compat_map_equals_the_published_loop(source: str, target: str) -> None:
    one, two = prompt(source), prompt(target)
    np.testing.assert_allclose(
        replacement_map(one, two, compat=True).numpy(), reference_map(one, two), rtol=1e-6
    )


@pytest.mark.parametrize("compat", [False, True])
def test_equal_prompts_map_to_themselves(compat: bool) -> None:
    assert torch.equal(replacement_map(prompt(SOURCE), prompt(SOURCE), compat=compat), torch.eye(LENGTH))
    m, beta = alignment(prompt(SOURCE), prompt(SOURCE))
    assert m.tolist() == list(range(LENGTH)) and beta.tolist() == [1.0] * LENGTH


def test_swapping_words_needs_equal_counts_and_names_both() -> None:
    with pytest.raises(UsageError) as caught:
        replacement_map(prompt("a cat"), prompt("a fluffy cat"))
    assert "source 2 words, target 3" in str(caught.value) and "refine" in str(caught.value)


def test_equalizer_weighs_the_tokens_of_the_words() -> None:
    c = equalizer(prompt("a Spider-Man on a railway"), {"spider-man": 4, "railway": 2.5})
    assert c.tolist() == [1, 1, 4, 4, 4, 1, 1, 2.5] + [1] * (LENGTH - 8)


def test_column_schedule_takes_a_number_a_pair_or_words() -> None:
    target = prompt("a red cat")
    assert column_schedule(target, 5, 0.4)[:, 2].tolist() == [1, 1, 0, 0, 0]
    assert column_schedule(target, 5, (0.2, 0.6))[:, 0].tolist() == [0, 1, 1, 0, 0]
    words = column_schedule(target, 5, {"red": 0.2, "cat": (0.4, 1.0)})
    assert words[:, 2].tolist() == [1, 0, 0, 0, 0] and words[:, 3].tolist() == [0, 0, 1, 1, 1]
    assert words[:, [0, 1, 4, LENGTH - 1]].min() == 1  # default_ is (0, 1) when only words are given
    assert column_schedule(target, 5, {"default_": 0.4, "red": 1.0})[:, 0].tolist() == [1, 1, 0, 0, 0]


def test_a_share_that_means_a_whole_step_gets_it() -> None:
    assert column_schedule(prompt("a"), 10, 0.3)[:, 0].sum() == 3


def test_a_schedule_for_a_word_that_does_not_occur_is_an_error() -> None:
    with pytest.raises(UsageError, match="does not occur"):
        column_schedule(prompt("a cat"), 5, {"dog": 0.2})
