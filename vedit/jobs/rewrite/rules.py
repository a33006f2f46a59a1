"""Rewriting by rules, without a language model: drawn scenes in their grammar, and swaps spelled out.

A drawn scene's caption keeps its wording: the word of a field is put in the place of the old one, or where
that field is said when it was not. In any other prompt "replace A with B", "turn A into B", "change A to B",
"swap A for B" and "B instead of A" put B for A, where A stands in the prompt as whole words; and "make it
Japanese" or "make it winter" put the counterparts of a lexicon.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from vedit.data import grammar
from vedit.data.instructions import MADE_OF, WHEN
from vedit.data.instructions import SYNONYMS as SAID_FOR
from vedit.errors import UsageError
from vedit.jobs.rewrite.lexicon import load_lexicon

MATERIALS = {word: value for value, word in MADE_OF.items()}  # "stripes": "striped"
GROW, SHRINK = ("larger", "bigger", "grow"), ("smaller", "shrink")
OF_GROUND = ("ground", "pattern")
OLD, NEW, END = r"(?:the\s+|an?\s+)?(?P<old>.+?)", r"(?:the\s+|an?\s+)?(?P<new>.+?)", r"\s*[.!]?$"
# tried in this order: "by" may be part of what is replaced, "instead of" of what replaces it
SWAPS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\bsubstitute\s+{NEW}\s+for\s+{OLD}{END}",
        rf"^(?:(?:put|use|show|have)\s+)?{NEW}\s+(?:instead|in(?:\s+the)?\s+place)\s+of\s+{OLD}{END}",
        rf"\b(?:replace|turn|change|swap|exchange|convert|transform|make)\s+{OLD}\s+"
        rf"(?:with|into|to|for)\s+{NEW}{END}",
        rf"\breplace\s+{OLD}\s+by\s+{NEW}{END}",
        rf"\b(?:make|turn)\s+(?:the\s+)?(?P<old>.+?)\s+(?:an?)\s+(?P<new>.+?){END}",
    )
)
COLOURS = (
    "red", "orange", "yellow", "green", "blue", "purple", "violet", "pink", "brown", "black", "white", "grey",
    "gray", "golden", "silver", "turquoise", "teal", "navy", "beige", "crimson", "scarlet", "magenta", "cyan",
)  # fmt: skip
RECOLOUR = re.compile(
    r"\b(?:make|turn|paint|dye|colou?r)\s+(?:the\s+)?(?P<old>.+?)\s+"
    rf"(?P<new>(?:(?:dark|light|bright|pale)\s+)?(?:{'|'.join(COLOURS)}))\s*[.!]?$",
    re.IGNORECASE,
)


def rewritten(source: str, instruction: str, lexicon: str | None = None) -> str:
    """The source prompt after an instruction. lexicon: a file of phrases of the user's.

    Raises UsageError for what the rules do not understand.
    """
    try:
        fields = grammar.parse_caption(source)
    except UsageError:
        return swapped_or_placed(source, instruction, lexicon)
    wanted = wanted_fields(fields, instruction)
    if not wanted:
        raise UsageError(
            f'"{instruction}" changes nothing of "{source}".',
            "The rules know the colours, shapes, sizes and motions of drawn scenes, and their backgrounds.",
            'For example: "make the circle blue"',
        )
    words = source.lower().replace(",", " ").replace(".", " ").split()
    for name, value in wanted.items():
        words = with_field(words, name, value)
    return " ".join(with_articles(words))


def wanted_fields(fields: Mapping[str, str], instruction: str) -> dict[str, str]:
    """The fields of a drawn scene that an instruction sets to another value, by name.

    fields: those that the source names. A time, as in "from the middle on", is left out: a prompt is about
    all of a clip.
    """
    text = f" {' '.join(re.findall(r'[a-z]+|[0-9]+', instruction.lower()))} "
    for times in WHEN.values():
        for said in times:
            text = text.replace(f" {said} ", " ")
    text = re.sub(r" digit ([0-9]) ", r" digit_\1 ", text)
    words = [SAID_FOR.get(word, word).replace("_", " ") for word in text.split()]
    has = {"size": "medium", "texture": "plain", "pattern": "plain", "motion": "still", **fields}
    wanted = {name: value for name, value in _named(words, has) if value != has.get(name)}
    sizes = grammar.SIZES
    step = any(word in words for word in GROW) - any(word in words for word in SHRINK)
    if step:
        wanted["size"] = sizes[min(max(sizes.index(has["size"]) + step, 0), len(sizes) - 1)]
        wanted = {name: value for name, value in wanted.items() if value != has.get(name)}
    return {name: wanted[name] for name in grammar.FIELDS if name in wanted}


def _named(words: Sequence[str], has: Mapping[str, str]) -> list[tuple[str, str]]:
    """Every field that the words name, with its value, in their order."""
    is_ground, removes = "background" in words, "remove" in words
    found = []
    for word in words:
        word = MATERIALS.get(word, word)
        if word == "plain":
            found.append(("pattern" if is_ground else "texture", "plain"))
            continue
        name = next((name for name, values in grammar.FIELDS.items() if word in values), None)
        if word == "stop":
            found.append(("motion", "still"))
        elif name is not None and removes and word == has.get(name) and name in ("texture", "pattern"):
            found.append((name, "plain"))
        elif name is not None:
            found.append((name, word))
    return found


def with_field(words: Sequence[str], name: str, value: str) -> list[str]:
    """A caption's words with a field set: in the place of its word, or where it is said."""
    split = next((place for place, word in enumerate(words) if word in ("on", "over")), len(words))
    thing, ground = list(words[:split]), list(words[split:])
    part = ground if name in OF_GROUND else thing
    if name == "ground" and not ground:
        ground += ["on", "a", value, "background"]
    elif name == "motion":
        _set_motion(thing, value)
    elif name == "shape":
        _set_shape(thing, value)
    else:
        _set_word(part, name, value)
    return [*thing, *ground]


def _set_word(part: list[str], name: str, value: str) -> None:
    usual = {"size": "medium", "texture": "plain", "pattern": "plain"}.get(name)
    place = next(
        (at for at, word in enumerate(part) if grammar.SYNONYMS.get(word, word) in grammar.FIELDS[name]), None
    )
    said = [] if value == usual else [value]
    if place is not None:
        part[place : place + 1] = said
    elif said:
        part[_before(part, name) : _before(part, name)] = said


def _before(part: Sequence[str], name: str) -> int:
    """Where a field is said that is not yet: fields stand in the order size, texture, colour, shape."""
    order = {
        "size": ("texture", "colour", "shape"), "texture": ("colour", "shape"), "colour": ("shape",),
        "pattern": ("ground",), "ground": (),
    }[name]  # fmt: skip
    later = {word for field in order for value in grammar.FIELDS[field] for word in value.split()[:1]}
    synonyms = {word for word, means in grammar.SYNONYMS.items() if means in later}
    fallback = part.index("background") if "background" in part else len(part)
    return next((at for at, word in enumerate(part) if word in later | synonyms), fallback)


def _set_shape(thing: list[str], value: str) -> None:
    for place, word in enumerate(thing):
        if word in grammar.SHAPES or word == "digit":
            thing[place : place + 1 + (word == "digit")] = value.split()
            return


def _set_motion(thing: list[str], value: str) -> None:
    moves = ["standing", "still"] if value == "still" else ["moving", value]
    for place, word in enumerate(thing):
        if word in ("moving", "standing"):
            thing[place : place + 2] = moves
            return
    thing += moves


def with_articles(words: Sequence[str]) -> list[str]:
    """Words in which `a` and `an` follow the word behind them."""
    pairs = zip(words, [*words[1:], ""], strict=True)
    return [grammar.article(after) if word in ("a", "an") and after else word for word, after in pairs]


def swapped_or_placed(source: str, instruction: str, lexicon: str | None = None) -> str:
    """A prompt of no drawn scene: a swap that is spelled out, else the phrases of a lexicon.

    Raises UsageError.
    """
    if made := recoloured(source, instruction):
        return made
    try:
        return swapped(source, instruction)
    except UsageError:
        made = load_lexicon(lexicon).rewritten(source, instruction)
        if made is None:
            raise
        return made


def recoloured(source: str, instruction: str) -> str | None:
    """A prompt in which a thing has another colour; None where the instruction asks for none of one there."""
    found = RECOLOUR.search(instruction.strip())
    thing = found and re.search(rf"\b{re.escape(found['old'])}\b", source, re.IGNORECASE)
    if not found or not thing:
        return None
    words, after = source[: thing.start()].split(), source[thing.start() :]
    if words and words[-1].lower() in COLOURS:
        words.pop()
    if words and words[-1].lower() in ("a", "an"):
        article = grammar.article(found["new"].lower())
        words[-1] = article.capitalize() if words[-1][0].isupper() else article
    return " ".join([*words, found["new"].lower(), after])


def swapped(source: str, instruction: str) -> str:
    """A prompt in which the words that an instruction names stand for others. Raises UsageError."""
    swaps = [found for pattern in SWAPS if (found := pattern.search(instruction.strip()))]
    places = [re.search(rf"\b{re.escape(swap['old'])}\b", source, re.IGNORECASE) for swap in swaps]
    found, place = next(((swap, at) for swap, at in zip(swaps, places, strict=True) if at), (None, None))
    if found is None or place is None:
        old = swaps[0]["old"] if swaps else ""
        what = f'"{old}" does not stand in "{source}".' if swaps else f'"{instruction}" is not a swap.'
        raise UsageError(
            f"the rules cannot follow the instruction: {what}",
            'They know drawn scenes, swaps such as "replace the wolf with a fox", and the places and times of'
            ' their lexicon, as in "make it Japanese" or "make it winter".',
        )
    made = f"{source[: place.start()]}{found['new']}{source[place.end() :]}"
    # the article before what was swapped; the rest of the prompt keeps its own
    before, _, after = made[: place.start()].rstrip().rpartition(" ")
    if after.lower() in ("a", "an"):
        lead = f"{before} " if before else ""
        follows = grammar.article(found["new"].lower())
        made = f"{lead}{follows.capitalize() if after[0].isupper() else follows} {made[place.start() :]}"
    return made
