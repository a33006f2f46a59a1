"""The journal of the drawn-scene benchmark: a line for each score as soon as it is known.

A run that was stopped goes on from it, and the journals of several runs may be joined. A line counts
where its key is the same: a hash of the case, the method and its parameters, the frames and the
model's weights. Code that changed does not change the key: take the method's lines out.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vedit.data.cases import Case
from vedit.documents import Kind, read_bytes, validated, whole_lines
from vedit.errors import OutputError, VeditError, option, reason_of

JOURNAL = Kind(
    "a journal of vedit bench scenes",
    OutputError,
    "Another name begins another journal.",
    largest=2**28,
)


@dataclass(frozen=True)
class Score:
    """The scores of one method on one case."""

    method: str
    case: str
    kind: str
    whole: float
    unchanged: float
    edited: float
    success: float
    flicker: float


class Journal:
    """Scores by key. path: None keeps none. Raises OutputError for a file that is something else."""

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.known: dict[str, Score] = {}
        if path is None or not os.path.exists(path):
            return
        for line in whole_lines(path, JOURNAL):
            try:
                self.known[str(line["key"])] = validated(line["score"], Score, path, JOURNAL)
            except (KeyError, VeditError):
                continue
        if not self.known and read_bytes(path, JOURNAL).strip():
            raise JOURNAL.refusal(path, "no line of it holds a score")

    def add(self, key: str, score: Score) -> None:
        """Keep a score, handed to the system at once."""
        self.known[key] = score
        if self.path is None:
            return
        try:
            with open(self.path, "a+b") as file:
                line = json.dumps({"key": key, "score": asdict(score)}).encode() + b"\n"
                file.write(line if _ends_well(file) else b"\n" + line)  # behind a line that was torn
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot write the journal: {reason_of(error)}.",
                "",
                f"Name another with {option('journal', 'FILE')}",
            ) from None


def _ends_well(file: Any) -> bool:
    if not file.seek(0, os.SEEK_END):
        return True
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) == b"\n")


def score_key(
    case: Case, method: str, values: Mapping[str, Any], frames: int, model: Mapping[str, Any]
) -> str:
    """What a score depends on, but for the program itself, as a hash."""
    facts = [case.to_json(), method, dict(values), frames, dict(model)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
