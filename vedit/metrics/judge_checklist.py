"""How many questions about an edit a judge that reads answers as they should be: a checklist for each edit.

The form is CoVEBench's, questions with yes or no for each edit; ours stand in the index, in the words of who
made it. A question without an answer that is understood does not count, and is counted as unparsable.
"""

from __future__ import annotations

from typing import Any

from vedit.metrics._judging import answers_of, checked
from vedit.metrics.base import Clip, Score, Value
from vedit.metrics.types import Options

SUMMARY = "Share of the questions about an edit that a judge answers rightly (a checklist, as in CoVEBench)."
VERSION = 1
VALUES = (
    Value(
        "judge_checklist",
        "",
        True,
        "0..1",
        "Share of the index's questions about the edit that the judge answers as they should be.",
    ),
)
NEEDS = frozenset({"questions", "judge"})
GROUPS = frozenset({"judge"})
TOWERS = ()


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    answers = answers_of(clip, towers, [checked(text) for text, _ in clip.questions])
    right = [
        answer == wanted
        for answer, (_, wanted) in zip(answers, clip.questions, strict=True)
        if answer is not None
    ]
    extra = {
        "judge": towers.judge.name,
        "questions": [text for text, _ in clip.questions],
        "answers": list(answers),
        "unparsable": len(answers) - len(right),
    }
    if not right:
        why = "none of the judge's answers is yes or no"
        return {"judge_checklist": Score(float("nan"), extra={**extra, "why": why})}
    return {"judge_checklist": Score(sum(right) / len(right), (), extra)}
