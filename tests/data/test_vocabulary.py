"""Protects vedit/data/vocabulary.py: every word of the grammar is one token of a real CLIPTokenizer."""

import pytest
import torch

from vedit.data import grammar, vocabulary

LONGEST = "a picture of a small striped orange triangle standing still over the checkered brown background"


@pytest.fixture(scope="module")
def tokenizer():
    return vocabulary.tokenizer()


def test_every_grammar_word_is_one_token(tokenizer):
    for word in grammar.WORDS:
        assert tokenizer.tokenize(word) == [word + "</w>"]


def test_an_unknown_word_falls_apart(tokenizer):
    assert len(tokenizer.tokenize("sofa")) > 1


def test_fast_token_ids_are_those_of_the_tokenizer(tokenizer):
    captions = ["", "a red circle", LONGEST]
    ids = tokenizer(
        captions, padding="max_length", max_length=vocabulary.TEXT_LENGTH, return_tensors="pt"
    ).input_ids
    assert torch.equal(vocabulary.token_ids(captions), ids)


def test_the_end_token_has_the_highest_id_as_open_clip_pooling_expects(tokenizer):
    assert tokenizer.eos_token_id == len(tokenizer) - 1 == max(tokenizer.get_vocab().values())
