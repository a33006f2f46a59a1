"""The tokens of a prompt's words, by a tokenizer like that of CLIP."""

from __future__ import annotations

import re
from typing import Any

from vedit.errors import ModelError, UsageError
from vedit.models.prompt import Prompt

BLANKS = re.compile(
    r"[^\S\x1c-\x1f]+"
)  # where tokenizers split; Python counts four more characters as blanks


def read_prompt(tokenizer: Any, text: str) -> Prompt:
    """Split a prompt into words at blanks, and find the tokens of each.

    A word covers the pieces it falls into by itself: byte-pair encoding never crosses a blank.
    Raises UsageError for a prompt longer than the model reads; nothing is cut off.
    """
    words = tuple(word for word in BLANKS.split(text) if word)
    length = int(tokenizer.model_max_length)
    ids = tuple(tokenizer(text, truncation=False).input_ids)
    if len(ids) > length:
        raise UsageError(
            f"the prompt has {len(ids) - 2} tokens, the model reads {length - 2}: {text!r}.",
            "A longer prompt would be cut in silence.",
            "Shorten it",
        )
    places, pieces = [], [ids[0]]
    for word in words:
        own = tokenizer(word, truncation=False).input_ids[1:-1]
        places.append(tuple(range(len(pieces), len(pieces) + len(own))))
        pieces += own
    if (*pieces, ids[-1]) != ids:
        raise ModelError(
            f"the model's tokenizer joins words, here in {text!r}.",
            "Editing by words needs a tokenizer like that of CLIP.",
        )
    return Prompt(text, words, ids, tuple(places), length)
