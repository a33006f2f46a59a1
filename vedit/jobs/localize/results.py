"""A localisation whose words are there, and what came of its branches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vedit.documents import Kind
from vedit.errors import InputError
from vedit.jobs.localize.recipe import ENDED, Branch, Recipe
from vedit.jobs.localize.request import LocalizeRequest

SCORES = "scores"  # the folder of the reports
REPORT = Kind("a report of vedit score", InputError)


@dataclass(frozen=True)
class Localisation:
    """A localisation whose words are there. stride: of the frames that are taken."""

    request: LocalizeRequest
    recipe: Recipe
    words: Mapping[str, Any]
    stride: int

    @property
    def out(self) -> str:
        return self.request.output_dir


@dataclass
class Result:
    """What came of a branch. output: its clip; error: why there is none. means: by metric. asked: what
    decided a generated clip, scored: what decided the numbers, in short.
    """

    branch: Branch
    prompt: str = ""
    output: str = ""
    error: str = ""
    means: dict[str, float] = field(default_factory=dict)
    score_error: str = ""
    asked: str = ""
    scored: str = ""

    def json(self) -> dict[str, Any]:
        own = self.branch
        told = {
            "branch": own.name,
            "title": own.title,
            "command": own.command,
            "method": own.given.get("method") or own.given.get("model", ""),
            "prompt": self.prompt,
            "output": self.output,
            "error": self.error,
            "scores": self.means,
            "score_error": self.score_error,
            "asked": self.asked,
            "scored": self.scored,
        }
        return {**told, "note": ENDED} if own.generates else told
