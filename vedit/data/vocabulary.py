"""The words of drawn scenes as tokens: a CLIP vocabulary in which every grammar word is one token.

The tokenizer is a real CLIPTokenizer, so that anybody's tool reads the packed folder; a word that it
does not know falls apart into letters.
Shape letters: B captions, L tokens, M motion words.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import torch
from torch import Tensor

from vedit.data import grammar

TEXT_LENGTH = 24
START, END = "<|startoftext|>", "<|endoftext|>"


def vocabulary(known: tuple[str, ...] = grammar.WORDS) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return a byte-level CLIP vocabulary and the merges that make each known word one token.

    The merges are those of byte-pair encoding over the words, each counted once, repeated until every word is
    whole. Ties go to the pair that sorts first.
    """
    letters = _byte_alphabet()
    split = {word: [*word[:-1], word[-1] + "</w>"] for word in known}
    merges: list[tuple[str, str]] = []
    while pairs := _pairs(split.values()):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        split = {word: _merge(symbols, best) for word, symbols in split.items()}
    tokens = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges), START, END]
    return {token: index for index, token in enumerate(tokens)}, merges


def _byte_alphabet() -> list[str]:
    """Return CLIP's 256 printable stand-ins for bytes, in byte order of GPT-2's table."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [byte for byte in range(256) if byte not in kept]
    return [chr(byte) for byte in kept] + [chr(256 + n) for n in range(len(moved))]


def _pairs(words: Any) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for symbols in words:
        for pair in itertools.pairwise(symbols):
            counts[pair] = counts.get(pair, 0) + 1
    return counts


def _merge(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for symbol in symbols:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return merged


def tokenizer(known: tuple[str, ...] = grammar.WORDS) -> Any:
    """Build the CLIPTokenizer of the drawn scenes, or of other words."""
    from transformers import CLIPTokenizer

    words, merges = vocabulary(known)
    return CLIPTokenizer(vocab=words, merges=merges, model_max_length=TEXT_LENGTH)


@cache
def _word_ids(known: tuple[str, ...] = grammar.WORDS) -> tuple[dict[str, int], int, int]:
    words, _ = vocabulary(known)
    return {word: words[word + "</w>"] for word in known}, words[START], words[END]


def token_ids(captions: list[str], known: tuple[str, ...] = grammar.WORDS) -> Tensor:
    """Return what the tokenizer gives for captions of known words, padded: BL, much faster."""
    ids, start, end = _word_ids(known)
    rows = [[start, *(ids[word] for word in caption.split()), end] for caption in captions]
    return torch.tensor([row + [end] * (TEXT_LENGTH - len(row)) for row in rows])


def end_id(known: tuple[str, ...] = grammar.WORDS) -> int:
    """Return the token that ends every caption, and fills the rest of its row."""
    return _word_ids(known)[2]


def motion_words(ids_BL: Tensor) -> Tensor:
    """Return which motion words tokenised captions hold: 0 or 1, a column for each of grammar.MOTIONS."""
    ids, _, _ = _word_ids()
    wanted_M = torch.tensor([ids[word] for word in grammar.MOTIONS], device=ids_BL.device)
    return (ids_BL[:, :, None] == wanted_M).any(dim=1).float()
