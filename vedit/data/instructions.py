"""Instructions about drawn scenes: what is to change, said in one of several wordings, and when.

`make the circle blue`, `turn the background navy`, `replace the star with a ring from the second half on`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from fractions import Fraction

from vedit.data import grammar

KINDS = ("colour", "shape", "texture", "size", "ground", "pattern", "motion")
LIKE = ("object", "scenery")  # what may be made like a reference picture
BEFORE = {  # {it}: the object, {new}: the value, {a}: its article
    "colour": (
        "make {it} {new}",
        "turn {it} {new}",
        "paint {it} {new}",
        "change the colour of {it} to {new}",
        "{it} should be {new}",
    ),
    "shape": (
        "replace {it} with {a} {new}",
        "turn {it} into {a} {new}",
        "change {it} to {a} {new}",
        "swap {it} for {a} {new}",
        "make {it} {a} {new}",
    ),
    "texture/striped": (
        "make {it} striped",
        "add stripes to {it}",
        "put stripes on {it}",
        "give {it} stripes",
    ),
    "texture/dotted": ("make {it} dotted", "add dots to {it}", "put dots on {it}", "give {it} dots"),
    "texture/plain": ("make {it} plain", "remove the {old} from {it}", "{it} should be plain"),
    "size": ("make {it} {new}", "change the size of {it} to {new}", "{it} should be {new}"),
    "size/grow": ("make {it} larger", "make {it} bigger", "let {it} grow"),
    "size/shrink": ("make {it} smaller", "shrink {it}", "let {it} shrink"),
    "ground": (
        "make the background {new}",
        "turn the background {new}",
        "paint the background {new}",
        "change the background to {new}",
        "change the colour of the background to {new}",
        "put {it} on {a} {new} background",
    ),
    "pattern/checkered": ("make the background checkered", "add checks to the background"),
    "pattern/wavy": ("make the background wavy", "add waves to the background"),
    "pattern/plain": ("make the background plain", "remove the {old} from the background"),
    "motion": ("make {it} move {new}", "let {it} move {new}", "move {it} {new}", "{it} should move {new}"),
    "motion/still": ("make {it} stand still", "let {it} stand still", "stop {it}", "{it} should stand still"),
    "object": (
        "make {it} like the picture",
        "replace {it} with the one in the picture",
        "{it} should look like the one in the picture",
    ),
    "scenery": ("make the background like the picture", "put {it} on the background of the picture"),
}
MADE_OF = {"striped": "stripes", "dotted": "dots", "checkered": "checks", "wavy": "waves"}
Span = tuple[Fraction, Fraction]
WHEN: Mapping[Span, tuple[str, ...]] = {  # of the clip's time, 0 to 1
    (Fraction(1, 2), Fraction(1)): (
        "from the middle on",
        "from the second half on",
        "in the second half",
        "after the first half",
    ),
    (Fraction(0), Fraction(1, 2)): ("in the first half", "until the middle"),
    (Fraction(2, 3), Fraction(1)): ("in the last third", "from the last third on"),
    (Fraction(1, 3), Fraction(1)): ("from the second third on", "after the first third"),
}
SYNONYMS = {
    **grammar.SYNONYMS,
    "color": "colour",
    "scene": "background",
    "spots": "dots",
    "big": "large",
    "tiny": "small",
    "substitute": "replace",
}
THINGS = ("object", "shape", "thing")
LONGEST = 22  # words: what the text encoder reads less its two marks


def _words() -> tuple[str, ...]:
    """The words of all wordings, behind those of captions."""
    said = [text for texts in (*BEFORE.values(), *WHEN.values()) for text in texts]
    found = [word for text in said for word in text.split() if "{" not in word]
    more = [*found, *MADE_OF.values(), *THINGS, "it", "and"]
    return tuple(dict.fromkeys([*grammar.WORDS, *more, *SYNONYMS.values()]))


WORDS = _words()


def instruction(
    before: Mapping[str, str], kind: str, value: str, rng: random.Random, when: Span | None = None
) -> str:
    """What to type for a scene to change one field, or to be like a picture (a kind of LIKE).

    before: the scene's fields. when: a key of WHEN, None for all of the clip.
    """
    wording = rng.choice(BEFORE[_key(before, kind, value, rng)])
    said = wording.format(
        it=_thing(before, kind, rng),
        new=value,
        a=grammar.article(value) if value else "",
        old=MADE_OF.get(before.get(kind, ""), ""),
    )
    return said if when is None else f"{said} {rng.choice(WHEN[when])}"


def split_when(text: str) -> tuple[str, Span | None]:
    """An instruction without the words that say when, which it ends or begins with, and that time; None for
    all of the clip. text: as `read_words` gives it.
    """
    words = text.split()
    for span, wordings in WHEN.items():
        for said in map(str.split, wordings):
            rest = [words[: -len(said)]] if words[-len(said) :] == said else []
            rest += [words[len(said) :]] if words[: len(said)] == said else []
            if rest and rest[0]:
                return " ".join(rest[0]), span
    return text, None


def both(first: str, second: str) -> str:
    """Two instructions as one, or the first where that would be too long to be read."""
    joined = f"{first} and {second}"
    return joined if len(joined.split()) <= LONGEST else first


def _key(before: Mapping[str, str], kind: str, value: str, rng: random.Random) -> str:
    if kind == "size" and rng.random() < 0.4:
        sizes = grammar.SIZES
        step = sizes.index(value) - sizes.index(before["size"])
        if abs(step) == 1:
            return "size/grow" if step > 0 else "size/shrink"
    own = f"{kind}/{value}"
    return own if own in BEFORE else kind


def _thing(before: Mapping[str, str], kind: str, rng: random.Random) -> str:
    """The object, mostly by its shape."""
    turn = rng.random()
    if turn < 0.1:
        return f"the {rng.choice(THINGS)}"
    if turn < 0.3:
        return f"the {before['colour']} {before['shape']}"
    return f"the {before['shape']}"


def read_words(text: str) -> str:
    """An instruction as the embedded editor reads it. Raises UsageError for words that it does not know, and
    for too many of them.
    """
    words = grammar.check_words(
        re.sub(r"['’]s\b", "", text),
        WORDS,
        what="the embedded editor",
        example='For example: "make the circle blue", "turn the background navy from the middle on".',
        synonyms=SYNONYMS,
    )
    if not words or len(words) > LONGEST:
        from vedit.errors import UsageError

        raise UsageError(
            f"the instruction has {len(words)} words.",
            f"The embedded editor reads 1 to {LONGEST}.",
            'For example: "make the circle blue"',
        )
    return " ".join(words)
