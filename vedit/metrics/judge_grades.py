"""Grades of a judge that reads, 1 to 5: the edit carried out, the rest kept, the looks.

The dimensions are those of OpenVE-Bench's evaluator, in our own words; as there, the second and third grade
are not above the first. judge_grade is the mean of the three.
"""

from __future__ import annotations

from typing import Any

from vedit.metrics._judging import SCALES, answers_of, judged, scale
from vedit.metrics.base import Clip, Score, Value
from vedit.metrics.types import Options

SUMMARY = "Grades of a judge that reads, 1 to 5 (dimensions as in OpenVE-Bench)."
VERSION = 1
VALUES = (
    Value("judge_following", "1..5", True, "1..5", "How well the edit was carried out."),
    Value("judge_keeping", "1..5", True, "1..5", "How well the rest was kept; at most the first grade."),
    Value("judge_looks", "1..5", True, "1..5", "How clean and steady it looks; at most the first grade."),
    Value("judge_grade", "1..5", True, "1..5", "The mean of the three grades."),
)
NEEDS = frozenset({"source", "prompt", "source_prompt", "judge"})
GROUPS = frozenset({"judge"})
TOWERS = ()


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    assert clip.prompt is not None and clip.source_prompt is not None, "asked for by NEEDS"
    questions = [scale(name, clip.source_prompt, clip.prompt, 1, 5) for name in SCALES]
    answers = answers_of(clip, towers, questions)
    grades = {
        name: judged((answers[0], answers[place]), lambda known: min(map(int, known)), towers)
        for place, name in enumerate(SCALES)
    }

    def mean(known: Any) -> float:
        return sum(min(int(known[0]), int(grade)) for grade in known) / len(known)

    return {f"judge_{name}": found for name, found in grades.items()} | {
        "judge_grade": judged(answers, mean, towers)
    }
