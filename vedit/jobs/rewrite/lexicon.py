"""Phrases that stand for one another in another place, season or time: `make it Japanese`, `make it winter`.

The lexicon is ours (lexicon.toml) and whatever the user adds. Of an instruction only the places that the
lexicon knows are read: the last that is named is where to, those before it where from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from vedit.data import grammar
from vedit.documents import Kind, read_toml
from vedit.errors import UsageError

OWN = Path(__file__).with_name("lexicon.toml")
LEXICON = Kind(
    "a lexicon", UsageError, 'It has tables [category.from.to] of "phrase" = "phrase".', largest=2**20
)
CALLED = "called"


class Entry(NamedTuple):
    """One phrase for another."""

    category: str
    origin: str
    target: str
    phrase: str
    stands_for: str


class Lexicon(NamedTuple):
    """entries: in their order, the user's first. called: lower-case words for a place, by each word."""

    entries: tuple[Entry, ...]
    called: Mapping[str, str]

    def asked(self, instruction: str) -> tuple[set[str], str, set[str]]:
        """The categories, the target and the origins that an instruction names; "" for no target."""
        words = re.findall(r"[^\W_]+", instruction.lower())
        places = [self.called[word] for word in words if word in self.called]
        categories = {entry.category for entry in self.entries} & set(words)
        target = places[-1] if places else ""
        return categories, target, {place for place in places if place != target}

    def rewritten(self, source: str, instruction: str) -> str | None:
        """The source with its phrases replaced; None where the instruction names nothing that is known.

        Longest phrases first, each place once, as whole words; case, plural s and articles follow. Raises
        UsageError where no phrase stands in the source.
        """
        categories, target, origins = self.asked(instruction)
        chosen = [
            entry
            for entry in self.entries
            if entry.target == target
            and (not origins or entry.origin in origins)
            and (not categories or entry.category in categories)
        ]
        if not chosen:
            return None
        stands = {entry.phrase.lower(): entry.stands_for for entry in reversed(chosen)}
        made = replaced(source, stands)
        if made == source:
            raise UsageError(
                f'none of the words of "{source}" has a counterpart for {target}.',
                f"The lexicon has {len(stands)} phrases for it, such as {', '.join(sorted(stands)[:4])}.",
                'Write the swap: "replace A with B"',
            )
        return made


def replaced(source: str, stands: Mapping[str, str]) -> str:
    """A text with phrases replaced in one pass, the longest first."""
    phrases = "|".join(re.escape(phrase) for phrase in sorted(stands, key=lambda one: (-len(one), one)))
    pattern = rf"(?P<article>\ban?\s+)?\b(?P<old>{phrases})(?P<plural>s|es)?\b"

    def put(found: re.Match[str]) -> str:
        new = stands[found["old"].lower()]
        if found["plural"] and not new.endswith("s"):
            new += "es" if new.endswith(("x", "ch", "sh")) else "s"
        if found["old"][:1].isupper():
            new = new[:1].upper() + new[1:]
        if not found["article"]:
            return new
        article = grammar.article(new.lower())
        return f"{article.capitalize() if found['article'][0].isupper() else article} {new}"

    return re.sub(pattern, put, source, flags=re.IGNORECASE)


def load_lexicon(path: str | None = None) -> Lexicon:
    """Our lexicon, behind one of the user's where there is one. Raises UsageError."""
    own = _own()
    if path is None:
        return own
    table = read_toml(path, LEXICON)
    called = {**own.called, **_called(path, table)}
    return Lexicon((*_entries(path, table), *own.entries), {**_named(path, table), **called})


@cache
def _own() -> Lexicon:
    table = read_toml(OWN, LEXICON)
    return Lexicon(tuple(_entries(OWN.name, table)), _called(OWN.name, table))


def _entries(name: str, table: Mapping[str, object]) -> Iterator[Entry]:
    for category, origins in table.items():
        if category == CALLED:
            continue
        for origin, targets in _table(name, category, origins).items():
            for target, phrases in _table(name, f"{category}.{origin}", targets).items():
                for phrase, other in _table(name, f"{category}.{origin}.{target}", phrases).items():
                    if not (isinstance(other, str) and other.strip() and phrase.strip()):
                        raise LEXICON.refusal(name, f"{phrase!r} stands for no phrase")
                    yield Entry(category, origin, target, phrase, other)


def _called(name: str, table: Mapping[str, object]) -> dict[str, str]:
    """Words by place, as the table `called` has them."""
    found = {}
    for place, words in _table(name, CALLED, table.get(CALLED, {})).items():
        for word in words if isinstance(words, list) else [words]:
            if not isinstance(word, str):
                raise LEXICON.refusal(name, f"{place} is called {word!r}, which is not a word")
            found[word.lower()] = place
    return found


def _named(name: str, table: Mapping[str, object]) -> dict[str, str]:
    """The targets of a lexicon by themselves, for one without a table `called`."""
    return {place.lower(): place for entry in _entries(name, table) for place in (entry.origin, entry.target)}


def _table(name: str, where: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise LEXICON.refusal(name, f"{where} is not a table")
    return value
