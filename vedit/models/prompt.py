"""A prompt as a model reads it: words, and the tokens of each."""

from __future__ import annotations

import string
from dataclasses import dataclass

from vedit.errors import UsageError, nearest


@dataclass(frozen=True)
class Prompt:
    """A prompt as words and tokens.

    words: as typed. ids: token ids with the marks of begin, where there is one, and end, without padding.
    places: for each word the positions of its tokens; a begin token is position 0.
    length: tokens that the model reads, padding included.
    """

    text: str
    words: tuple[str, ...]
    ids: tuple[int, ...]
    places: tuple[tuple[int, ...], ...]
    length: int

    def tokens_of(self, word: str) -> tuple[int, ...]:
        """The tokens of every occurrence of a word; raises UsageError where there is none."""
        found = self.find(word)
        if not found:
            raise UsageError(
                f"the word {word!r} does not occur in the prompt"
                f" {self.text!r}{nearest(word, self.words) or '.'}",
                f"Its words are {', '.join(self.words)}.",
            )
        return found

    def find(self, word: str) -> tuple[int, ...]:
        """The tokens of every occurrence of a word, in any case, by any punctuation; empty for none."""
        exact = [place for place, known in enumerate(self.words) if known.casefold() == word.casefold()]
        near = [
            place for place, known in enumerate(self.words) if _bare(known) == _bare(word) and _bare(word)
        ]
        return tuple(token for place in exact or near for token in self.places[place])


def _bare(word: str) -> str:
    return word.casefold().strip(string.punctuation)
