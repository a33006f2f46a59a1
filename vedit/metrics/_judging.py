"""What a judge that reads is asked about an edit, in our own words, and what its answers are worth.

A judge sees a few frames, evenly taken, and answers in words. An answer that is not one of those asked for is
unparsable: it is counted, and gives no number. Who answers stands outside this package (`Judge`); metrics ask
through `answers_of`, which asks each question once for the same pictures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vedit.media.timing import evenly
from vedit.metrics.base import Clip, Score
from vedit.metrics.types import Pixels

FRAMES = 4  # that a judge is shown of a clip
NO_JUDGE = "needs a judge"


@dataclass(frozen=True)
class Asked:
    """One question. kind: "yes-no", "choice", "scale" or "checklist". about: what it is about, for a judge
    that knows the truth: prompts or a question by name, and of a scale its name. answers: those that are
    understood. needs_source: the source's frames are shown before the edit's.
    """

    kind: str
    text: str
    about: Mapping[str, str]
    answers: tuple[str, ...]
    needs_source: bool = False


class Judge(Protocol):
    """Who answers. name: for reports, without secrets."""

    @property
    def name(self) -> str: ...

    def answer(self, asked: Asked, edited_TYX3: Pixels, source_TYX3: Pixels | None) -> str:
        """The answer in words. Raises RemoteError."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """What the answers cost so far."""
        ...


def yes_no(prompt: str) -> Asked:
    """Whether a clip shows what a prompt says."""
    text = (
        "These are frames of one video, in order. Look at what they show, not at what might be meant.\n"
        f'Does the video show this: "{prompt}"?\nAnswer with one word, yes or no.'
    )
    return Asked("yes-no", text, {"prompt": prompt}, ("yes", "no"))


def checked(question: str) -> Asked:
    """A question of somebody's own about a clip."""
    text = (
        "These are frames of one video, in order. Look at what they show, not at what might be meant.\n"
        f"{question}\nAnswer with one word, yes or no."
    )
    return Asked("checklist", text, {"question": question}, ("yes", "no"))


def choice(source_prompt: str, prompt: str) -> Asked:
    """Which of two prompts a clip shows; the second is the edit's."""
    text = (
        "These are frames of one video, in order. Which line describes them better?\n"
        f"a) {source_prompt}\nb) {prompt}\nAnswer with one letter, a or b."
    )
    return Asked("choice", text, {"source_prompt": source_prompt, "prompt": prompt}, ("a", "b"))


SCALES = {  # what each asks; {prompt}: the edit's
    "following": 'How well was this carried out: the video should now show "{prompt}"?',
    "keeping": 'How well was everything kept that "{prompt}" does not ask to change?',
    "looks": "How clean and steady does the second video look by itself?",
}


def scale(name: str, source_prompt: str, prompt: str, low: int, high: int) -> Asked:
    """A grade from low to high; the first half of the frames is the source."""
    text = (
        "The first half of these frames is a video, the second half the same video after an edit.\n"
        f'Before the edit it shows "{source_prompt}".\n{SCALES[name].format(prompt=prompt)}\n'
        f"Answer with one whole number from {low} (not at all) to {high} (fully)."
    )
    about = {"scale": name, "source_prompt": source_prompt, "prompt": prompt}
    return Asked("scale", text, about, tuple(map(str, range(low, high + 1))), needs_source=True)


def understood(asked: Asked, answer: str) -> str | None:
    """The answer as one of those asked for, None where it is unparsable: none of them, or several."""
    words = re.findall(r"[a-z0-9.]+", answer.lower()[:2000])
    found = {word.strip(".") for word in words} & set(asked.answers)
    if asked.kind == "scale":  # 4/5 and 4 of 5 are 4
        match = re.match(r"\W*(\d+(?:\.\d+)?)\s*(?:(?:/|of|out of)\s*\d+)?\W*$", answer.strip().lower())
        found = {match[1]} & set(asked.answers) if match else found
    if asked.kind == "choice":  # the article a is not an answer
        match = re.match(r"\W*([ab])\b", answer.strip().lower())
        found = {match[1]} if match and (len(words) == 1 or answer.strip()[1:2] in ").:,") else set()
    return found.pop() if len(found) == 1 else None


def shown(frames_TYX3: Pixels, count: int = FRAMES) -> Pixels:
    """Frames evenly taken, first and last among them."""
    return frames_TYX3[evenly(len(frames_TYX3), count)]


def answers_of(clip: Clip, towers: Any, questions: Sequence[Asked]) -> list[str | None]:
    """What the judge says to each question, understood."""
    judge: Judge = towers.judge
    found = []
    for asked in questions:
        source = None
        if asked.needs_source:
            assert clip.source is not None, "asked for by NEEDS"
            source = shown(clip.source.frames_TYX3)
        found.append(understood(asked, judge.answer(asked, shown(clip.edited_TYX3), source)))
    return found


def judged(answers: Sequence[str | None], value: Callable[[Sequence[str]], float], towers: Any) -> Score:
    """A score out of answers, NaN where one is unparsable."""
    extra = {
        "judge": towers.judge.name,
        "answers": list(answers),
        "unparsable": sum(answer is None for answer in answers),
    }
    known = [answer for answer in answers if answer is not None]
    if len(known) < len(answers):
        return Score(float("nan"), extra={**extra, "why": "the judge's answer is not one of those asked for"})
    return Score(float(value(known)), (), extra)
