"""How two prompts differ, word by word, and what a rewritten one must hold to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

LONGEST_SPAN = 4  # words that may stand for others in one place
LONGEST = 75  # words of a prompt: CLIP's text encoder has 77 places, two of them for its marks
LONGEST_GENERATED = 200  # of a generator's, whose T5 reads some 500 pieces


class Change(NamedTuple):
    """Words that stand for others; one of the two may be empty."""

    old: str
    new: str


def distance(source: Sequence[str], target: Sequence[str]) -> float:
    """Levenshtein distance in words over the length of the longer prompt, 0 to 1 (Levenshtein 1966).

    `a` and `an` are one word: they follow the next one.
    """
    source, target = _same_article(source), _same_article(target)
    row = list(range(len(target) + 1))
    for place, word in enumerate(source, 1):
        last, row[0] = row[0], place
        for at, other in enumerate(target, 1):
            last, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, last + (word != other))
    return row[-1] / max(len(source), len(target), 1)


def changes(source: Sequence[str], target: Sequence[str]) -> list[Change]:
    """What stands for what, in order; `a` and `an` are one word."""
    matcher = SequenceMatcher(None, _same_article(source), _same_article(target), autojunk=False)
    return [
        Change(" ".join(source[i1:i2]), " ".join(target[j1:j2]))
        for kind, i1, i2, j1, j2 in matcher.get_opcodes()
        if kind != "equal"
    ]


def _same_article(words: Sequence[str]) -> list[str]:
    return ["a" if word == "an" else word for word in words]


def failed_check(
    source: str, target: str, max_distance: float, *, mode: str = "align", forbid: Sequence[str] = ()
) -> str:
    """Why a rewritten prompt is not one of its mode; "" when it is.

    Of all modes: something is changed, it is not longer than its reader reads, and no forbidden word is in
    it. An aligned one changes few words, few in one place.
    """
    old, new = source.split(), target.split()
    if not new:
        return "it is empty"
    if old == new:
        return "nothing is changed"
    longest = LONGEST_GENERATED if mode == "generate" else LONGEST
    if (count := pieces(target)) > longest:
        return f"it has {count} words, and prompts are read to {longest}"
    if found := [word for word in forbid if re.search(rf"\b{re.escape(word)}\b", target, re.IGNORECASE)]:
        return f"it says {found[0]!r}, which is forbidden"
    return _not_aligned(old, new, max_distance) if mode == "align" else ""


def pieces(text: str) -> int:
    """The least number of pieces that CLIP's tokenizer cuts a text into: its words, digits and marks."""
    return len(re.findall(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|[^\s\w]+|_", text))


def _not_aligned(old: Sequence[str], new: Sequence[str], max_distance: float) -> str:
    if longest := [change for change in changes(old, new) if len(change.new.split()) > LONGEST_SPAN]:
        return f'"{longest[0].new}" is more than {LONGEST_SPAN} words in one place'
    far = distance(old, new)
    return f"{far:.2f} of its words change, {max_distance:g} may" if far > max_distance else ""
