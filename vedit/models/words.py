"""The tokens of a prompt's words, by a tokenizer that never joins words: CLIP's, or T5's."""

from __future__ import annotations

import re
from typing import Any

from vedit.errors import ModelError, UsageError
from vedit.models.prompt import Prompt

BLANKS = re.compile(
    r"[^\S\x1c-\x1f]+"
)  # where tokenizers split; Python counts four more characters as blanks


def read_prompt(tokenizer: Any, text: str, length: int | None = None) -> Prompt:
    """Split a prompt into words at blanks, and find the tokens of each.

    A word covers the pieces it falls into by itself: neither byte-pair encoding nor T5's pieces cross a
    blank. length: tokens that the model reads; the tokenizer's own by default.
    Raises UsageError for a prompt longer than that; nothing is cut off.
    """
    words = tuple(word for word in BLANKS.split(text) if word)
    ids, length = checked_ids(tokenizer, text, length), length or int(tokenizer.model_max_length)
    marks = tuple(tokenizer("").input_ids)  # a begin token, where there is one, and the end token
    end = marks[-1:]
    before = len(marks) - len(end)
    places, pieces = [], [*marks[:before]]
    for word in words:
        own = tokenizer(word, truncation=False).input_ids[before:]
        own = own[: len(own) - len(end)]
        places.append(tuple(range(len(pieces), len(pieces) + len(own))))
        pieces += own
    if (*pieces, *end) != ids:
        raise ModelError(
            f"the model's tokenizer joins words, here in {text!r}.",
            "Editing by words needs a tokenizer like that of CLIP.",
        )
    return Prompt(text, words, ids, tuple(places), length)


def checked_ids(tokenizer: Any, text: str, length: int | None = None) -> tuple[int, ...]:
    """The token ids of a prompt with its marks. Raises UsageError for more than the model reads."""
    ids, marks = tuple(tokenizer(text, truncation=False).input_ids), len(tokenizer("").input_ids)
    most = length or int(tokenizer.model_max_length)
    if len(ids) > most:
        raise UsageError(
            f"{text!r} has {len(ids) - marks} tokens, the model reads {most - marks}.",
            "A longer prompt would be cut in silence.",
            "Shorten it",
        )
    return ids
