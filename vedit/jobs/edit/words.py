"""The words that an edit changes, where nobody names them: the place to look for dds and glp.

Without a mask those methods may put a second object somewhere else. Their mask is made of the
source branch's attention, so it is a word of the source: the one that is replaced or left out. In
a drawn scene it is the shape's, whose map covers the object better than its colour's.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any


def changed_words(source: str, target: str) -> list[str]:
    """Words of the source that the target replaces or leaves out, each once."""
    old, new = (prompt.replace(",", " ").replace(".", " ").split() for prompt in (source, target))
    matcher = SequenceMatcher(
        None, [word.casefold() for word in old], [word.casefold() for word in new], autojunk=False
    )
    changed = [
        word
        for kind, first, last, _, _ in matcher.get_opcodes()
        if kind in ("replace", "delete")
        for word in old[first:last]
    ]
    return list(dict.fromkeys(changed))


def object_words(source: str, target: str) -> list[str]:
    """Of a drawn scene the word of its shape; none when the ground is changed, which is everywhere."""
    from vedit.data.grammar import DIGITS, GROUNDS, PATTERNS, SHAPES

    changed = {word.casefold() for word in [*changed_words(source, target), *changed_words(target, source)]}
    if not changed or changed & {*GROUNDS, *PATTERNS, "gray"}:
        return []
    things = {*SHAPES, *(digit.split()[0] for digit in DIGITS)}
    return [word for word in source.replace(",", " ").split() if word.casefold() in things][:1]


def with_mask_words(
    params: Any, values: Mapping[str, Any], source: str, target: str, *, is_drawn: bool
) -> dict[str, Any]:
    """The values with the changed words as mask words, for a method that has some, unless they name their
    own.

    params: the method's class of settings. An empty list in the values keeps the mask off.
    """
    if (
        "mask_words" not in params.model_fields
        or "mask_words" in values
        or values.get("reference") == "uncond"
    ):
        return dict(values)
    words = object_words(source, target) if is_drawn else changed_words(source, target)
    full = params.model_validate(values)
    if not words or full.mask_after >= full.iterations:
        return dict(values)
    return {"mask_fit": fit_for(source, target, is_drawn=is_drawn), **values, "mask_words": words}


def fit_for(source: str, target: str, *, is_drawn: bool) -> str:
    """Which mask of the source's words leaves an edit the room it needs.

    One that fits what is there is right for another colour or texture; another thing, shape or size needs
    more than the old one covers.
    """
    from vedit.data.grammar import DIGITS, SHAPES, SIZES

    changed = {word.casefold() for word in [*changed_words(source, target), *changed_words(target, source)]}
    things = {*SHAPES, *SIZES, *(digit.split()[0] for digit in DIGITS)}
    return "pixels" if is_drawn and not changed & things else "cells"
