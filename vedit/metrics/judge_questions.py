"""Whether a judge that reads finds the edit done: yes or no, and one of two lines.

Source: FiVE-Bench's accuracy, with questions in our own words. judge_yes_no: "no" to the source prompt and
"yes" to the target prompt. judge_choice: the target's line is chosen over the source's. judge_accuracy: the
mean of both, of either, and of both together, so that a mean over clips is the mean of the four averages.
"""

from __future__ import annotations

from typing import Any

from vedit.metrics._judging import answers_of, choice, judged, yes_no
from vedit.metrics.base import Clip, Score, Value
from vedit.metrics.types import Options

SUMMARY = "Whether a judge that reads finds the edit done (questions as in FiVE-Bench)."
VERSION = 1
VALUES = (
    Value(
        "judge_yes_no", "0 or 1", True, "0..1", "The judge no longer sees the source, and sees the target."
    ),
    Value("judge_choice", "0 or 1", True, "0..1", "The judge finds the target's line the better one."),
    Value(
        "judge_accuracy",
        "",
        True,
        "0..1",
        "Mean of both answers, of either and of both together; 1 means that all say the edit is done.",
        ("FiVE-Acc",),
    ),
)
NEEDS = frozenset({"prompt", "source_prompt", "judge"})
GROUPS = frozenset({"judge"})
TOWERS = ()


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    assert clip.prompt is not None and clip.source_prompt is not None, "asked for by NEEDS"
    questions = (yes_no(clip.source_prompt), yes_no(clip.prompt), choice(clip.source_prompt, clip.prompt))
    answers = answers_of(clip, towers, questions)

    def is_done(known: Any) -> bool:
        return list(known[:2]) == ["no", "yes"]

    def accuracy(known: Any) -> float:
        both = (is_done(known), known[2] == "b")
        return (sum(both) + any(both) + all(both)) / 4

    return {
        "judge_yes_no": judged(answers[:2], is_done, towers),
        "judge_choice": judged(answers[2:], lambda known: known[0] == "b", towers),
        "judge_accuracy": judged(answers, accuracy, towers),
    }
