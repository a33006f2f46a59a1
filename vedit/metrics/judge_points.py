"""Points of a judge that reads, 0 to 3 for each of three questions, and their sum.

The dimensions and the range are those of EditVerseBench's evaluator, in our own words.
"""

from __future__ import annotations

from typing import Any

from vedit.metrics._judging import SCALES, answers_of, judged, scale
from vedit.metrics.base import Clip, Score, Value
from vedit.metrics.types import Options

SUMMARY = "Points of a judge that reads, 0 to 9 (dimensions as in EditVerseBench)."
VERSION = 1
VALUES = (
    Value("judge_points", "0..9", True, "0..9", "Points for the edit, what was kept, and the looks, 3 each."),
)
NEEDS = frozenset({"source", "prompt", "source_prompt", "judge"})
GROUPS = frozenset({"judge"})
TOWERS = ()


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    assert clip.prompt is not None and clip.source_prompt is not None, "asked for by NEEDS"
    questions = [scale(name, clip.source_prompt, clip.prompt, 0, 3) for name in SCALES]
    answers = answers_of(clip, towers, questions)
    return {"judge_points": judged(answers, lambda known: sum(map(int, known)), towers)}
