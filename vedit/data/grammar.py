"""The words of a drawn scene: what a caption can say, and back from a caption to its fields.

A caption reads `a small striped red circle moving left on a checkered grey background`. Size,
texture, motion, pattern and the whole `on ... background` may be left out; shape may not. A
shape may be a digit, in two words: `digit 5 moving left`.
This module is plain Python: checking a prompt against the vocabulary needs no torch.
"""

import difflib
import random
import re
from collections.abc import Mapping

from vedit.errors import UsageError

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
DIGITS = tuple(f"digit {numeral}" for numeral in range(10))
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "white")
TEXTURES = ("plain", "striped", "dotted")
SIZES = ("small", "medium", "large")
GROUNDS = ("grey", "black", "brown", "teal", "pink", "navy")
PATTERNS = ("plain", "checkered", "wavy")
MOTIONS = ("left", "right", "up", "down", "still")

# In this order everywhere: records, tables, reports.
FIELDS: Mapping[str, tuple[str, ...]] = {
    "shape": SHAPES + DIGITS,
    "colour": COLOURS,
    "texture": TEXTURES,
    "size": SIZES,
    "ground": GROUNDS,
    "pattern": PATTERNS,
    "motion": MOTIONS,
}

SYNONYMS = {"gray": "grey"}
OPENINGS = ("", "", "a video of ", "a picture of ")
FRAME_WORDS = ("a", "an", "the", "on", "over", "background", "moving", "standing", "video", "picture", "of")
WORDS = tuple(
    dict.fromkeys(
        [
            *FRAME_WORDS,
            *(word for values in FIELDS.values() for value in values for word in value.split()),
            *SYNONYMS,
        ]
    )
)
FEW_WORDS = {"shape": 0.05, "digit": 0.35}  # how often a caption says little more than the shape


def article(word: str) -> str:
    """Return the indefinite article that goes before a word of the grammar."""
    return "an" if word[0] in "aeiou" else "a"


def caption(fields: Mapping[str, str], *, show_motion: bool = True) -> str:
    """Write the plain caption of a scene: every field that is worth a word, with `a` or `an`."""
    size = "" if fields["size"] == "medium" else fields["size"]
    texture = "" if fields["texture"] == "plain" else fields["texture"]
    pattern = "" if fields["pattern"] == "plain" else fields["pattern"]
    thing = _phrase("", size, texture, fields["colour"], fields["shape"])
    motion = _motion(fields["motion"]) if show_motion else ""
    ground = _phrase("", pattern, fields["ground"], "background")
    return " ".join(filter(None, [thing, motion, "on", ground]))


def varied_caption(
    fields: Mapping[str, str], rng: random.Random, *, complete: bool = False, says_motion: float = 0.6
) -> str:
    """Write a caption as a user might: articles mixed, some words and phrases left out.

    Size is said in 80 % of the captions of small and large objects, motion in a share of
    `says_motion`; the background is left out in 10 %. Some say next to nothing: `digit 5 moving left`. A
    complete caption leaves out motion alone.
    """
    if not complete and rng.random() < FEW_WORDS["digit" if fields["shape"] in DIGITS else "shape"]:
        return _few_words(fields, rng, says_motion)
    says_size = complete or rng.random() < 0.8
    size = fields["size"] if fields["size"] != "medium" and says_size else ""
    if fields["size"] == "medium" and rng.random() < 0.1:
        size = "medium"
    texture = "" if fields["texture"] == "plain" else fields["texture"]
    pattern = "" if fields["pattern"] == "plain" else fields["pattern"]
    colour = fields["ground"]
    if colour == "grey" and rng.random() < 0.2:
        colour = "gray"
    opening, determiner = rng.choice(OPENINGS), _determiner(rng)
    parts = [opening + _phrase(determiner, size, texture, fields["colour"], fields["shape"])]
    if rng.random() < says_motion:
        parts.append(_motion(fields["motion"]))
    if complete or rng.random() >= 0.1:
        preposition = "over" if rng.random() < 0.2 else "on"
        parts += [preposition, _phrase(_determiner(rng), pattern, colour, "background")]
    return " ".join(parts)


def _few_words(fields: Mapping[str, str], rng: random.Random, says_motion: float) -> str:
    """Name the shape, perhaps its colour, perhaps its motion; half of the time without an article."""
    words = [fields["colour"], fields["shape"]] if rng.random() < 0.3 else [fields["shape"]]
    thing = _phrase(_determiner(rng), *words) if rng.random() < 0.5 else " ".join(words)
    return f"{thing} {_motion(fields['motion'])}" if rng.random() < says_motion else thing


def _determiner(rng: random.Random) -> str:
    return "the" if rng.random() < 0.2 else ""


def _motion(motion: str) -> str:
    return "standing still" if motion == "still" else f"moving {motion}"


def _phrase(determiner: str, *words: str) -> str:
    said = [word for word in words if word]
    return " ".join([determiner or article(said[0]), *said])


def check_words(
    prompt: str,
    known: tuple[str, ...] = WORDS,
    *,
    what: str = "the drawn scenes",
    example: str = 'For example: "a small red circle moving left on a checkered grey background".',
    synonyms: Mapping[str, str] = SYNONYMS,
) -> list[str]:
    """Split a prompt into the grammar's words, or other known ones; refuse it when it holds another word.

    what, example: for the message.
    """
    words = re.findall(r"[a-z]+|[0-9]+|[^\sa-z0-9.,!]", prompt.lower())
    unknown = [word for word in words if word not in known and word not in synonyms]
    if unknown:
        raise UsageError(
            f"{what} {'do' if what.endswith('s') else 'does'} not know {_quoted(unknown)}."
            f"{_nearest(unknown, known)}",
            f"The words {'they know' if what.endswith('s') else 'it knows'}: {', '.join(known)}.",
            example,
        )
    return [synonyms.get(word, word) for word in words]


def _quoted(words: list[str]) -> str:
    return ", ".join(f'"{word}"' for word in dict.fromkeys(words))


def _nearest(unknown: list[str], known: tuple[str, ...]) -> str:
    near = {word: difflib.get_close_matches(word, known, n=1) for word in unknown}
    hints = [f'"{found[0]}"' for found in near.values() if found]
    return f" Did you mean {', '.join(dict.fromkeys(hints))}?" if hints else ""


def parse_caption(prompt: str) -> dict[str, str]:
    """Read the fields that a caption names; fields it does not name are absent.

    Raises UsageError for a word outside the grammar, for two values of one field, for a word on the wrong
    side of `on` and for a caption without a shape.
    """
    words = _join_digits(check_words(prompt), prompt)
    split = next((i for i, word in enumerate(words) if word in ("on", "over")), len(words))
    thing = _read(words[:split], ("shape", "colour", "texture", "size", "motion"), "the object", prompt)
    ground = _read(words[split:], ("ground", "pattern"), "the background", prompt)
    if "shape" not in thing:
        raise UsageError(f'"{prompt}" names no shape.', f"A scene shows one of: {', '.join(SHAPES)}.")
    return {name: {**thing, **ground}[name] for name in FIELDS if name in thing or name in ground}


def _join_digits(words: list[str], prompt: str) -> list[str]:
    """Join `digit` with the numeral after it; refuse one without the other."""
    text = re.sub(r"\bdigit ([0-9])\b", r"digit_\1", " ".join(words))
    joined = [word.replace("_", " ") for word in text.split()]
    alone = [word for word in joined if word == "digit" or word.isdecimal()]
    if alone:
        raise UsageError(
            f'"{prompt}": "{alone[0]}" says no shape by itself.', "A digit is named in two words: digit 5."
        )
    return joined


def _read(words: list[str], names: tuple[str, ...], what: str, prompt: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        if word in FRAME_WORDS:
            continue
        name = next((name for name in names if word in FIELDS[name]), None)
        if name is None:
            raise UsageError(
                f'"{prompt}": "{word}" does not describe {what}.',
                "Known there: " + "; ".join(f"{name} {', '.join(FIELDS[name])}" for name in names) + ".",
            )
        if found.setdefault(name, word) != word:
            raise UsageError(f'"{prompt}" names two values of {name}: {found[name]} and {word}.')
    return found


def is_held_out(fields: Mapping[str, str]) -> bool:
    """Tell whether a scene's shape, colour and background are a triple kept out of training."""
    indices = (FIELDS[name].index(fields[name]) for name in ("shape", "colour", "ground"))
    return is_held_out_triple(*indices)


def is_held_out_triple(shape: int, colour: int, ground: int) -> bool:
    """Hold out 9 % of the shape x colour x background triples; every pair stays in training."""
    return (7 * shape + 3 * colour + 5 * ground) % 11 == 0
