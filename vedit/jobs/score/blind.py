"""A blind sheet: two methods on the same videos, side by side, in an order that nobody sees.

The page shows pairs of edits without names, the sides drawn from the seed, and gathers for each which one is
better, or that none is. The key, a file beside it, says which side was which method, and is of no use before
the answers are in. `agree` reads both.
"""

from __future__ import annotations

import hashlib
import html
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from vedit.documents import Kind, parse_json, read_text, validated
from vedit.errors import InputError
from vedit.jobs.pages.page import data, page
from vedit.jobs.pages.player import controls, pane
from vedit.jobs.score.clips import read_frames
from vedit.jobs.score.compare import pair_rows
from vedit.jobs.score.html import picture
from vedit.jobs.score.results import Results, Row

KEY = Kind(
    "the key of a blind sheet", next_step="Make one with: vedit score blind A.json B.json -o SHEET.html"
)
ANSWERS = Kind("the answers to a blind sheet", next_step="Save them from the sheet")
VALUES = {"left": 1.0, "right": -1.0, "same": 0.0}
QUESTION = "Which edit is better?"


class _Pair(TypedDict):
    video_id: str
    edit_id: str
    left: str
    right: str


class _Key(TypedDict):
    sheet: str
    pairs: list[_Pair]


class _Answers(TypedDict):
    sheet: str
    rater: NotRequired[str]
    answers: dict[str, Literal["left", "right", "same"]]


@dataclass(frozen=True)
class Shown:
    """A pair on the sheet: the edit of each side, and whose it is."""

    left: Row
    right: Row
    left_name: str
    right_name: str

    def key(self) -> _Pair:
        video, edit = self.left.id
        return {"video_id": video, "edit_id": edit, "left": self.left_name, "right": self.right_name}


def drawn(a: Results, b: Results, *, seed: int = 0, limit: int | None = None) -> list[Shown]:
    """The pairs of two reports in a random order on random sides. Raises InputError where there are none."""
    pairs, _ = pair_rows(a.rows, b.rows)
    dice = random.Random(seed)
    chosen = dice.sample(pairs, len(pairs))[:limit]
    if not chosen:
        raise InputError(
            f"{a.name} and {b.name} have no video in common.", "Pairs have the same video_id and edit_id."
        )
    return [
        Shown(y, x, b.name, a.name) if dice.random() < 0.5 else Shown(x, y, a.name, b.name) for x, y in chosen
    ]


def sheet_of(shown: Sequence[Shown]) -> tuple[str, dict[str, Any]]:
    """The page and its key. Raises InputError for a clip that cannot be read."""
    pairs = [pair.key() for pair in shown]
    name = hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:12]
    questions = "".join(_question(number, pair) for number, pair in enumerate(shown, 1))
    body = (
        f"<p>{len(shown)} pairs. Look at both as long as you like, choose, and save the answers at the end."
        f' Nothing is sent anywhere.</p><p><label>your name (may be left out) <input data-do="rater"></label>'
        f'</p>{questions}<div class="save"><output data-do="count"></output><a data-do="save"'
        f' download="answers-{name}.json" href="#">Save answers</a></div>{data({"sheet": name}, "id=sheet")}'
    )
    here = Path(__file__)
    made = page(QUESTION, body, [here.with_name("blind.css")], [here.with_name("blind.js")])
    return made, {"sheet": name, "pairs": pairs}


def _question(number: int, pair: Shown) -> str:
    frames: dict[str, list[str]] = {}
    panes = []
    named = (("source", "source", _path(pair.left, "source")), ("left", "left", _path(pair.left, "edited")))
    for name, label, path in (*named, ("right", "right", _path(pair.right, "edited"))):
        if path is None:
            continue
        frames[name] = [picture(frame) for frame in read_frames(path)]
        content = f'<img data-frames="{name}" src="{frames[name][0]}" alt="{label}, first frame">'
        panes.append(pane(name, label, content))
    prompt = html.escape(str(pair.left.facts.get("prompt") or ""))
    choices = "".join(
        f'<label><input type="radio" name="{number}" value="{value}"> {text}</label>'
        for value, text in (("left", "left"), ("same", "none is better"), ("right", "right"))
    )
    count = max(map(len, frames.values()))
    return (
        f'<section><h2>{number}</h2><p class="prompt">{prompt}</p><div class="player" data-mode="side"'
        f' data-count="{count}" style="--shown:320px"><div class="stage"'
        f' data-mode="side">{"".join(panes)}</div>'
        f"{controls(has_both=False)}{data(frames, 'class=frames')}</div><fieldset><legend>{QUESTION}</legend>"
        f"{choices}</fieldset></section>"
    )


def _path(row: Row, name: str) -> str | None:
    path = row.facts.get(name)
    if isinstance(path, str) and path != "-":
        return path
    if name == "source":
        return None
    raise InputError(
        f"{row.label}: the report does not say where the edited clip is.",
        "A blind sheet shows the clips; reports in CSV and of standard input name none.",
    )


def read_choices(key_path: str, answer_paths: Sequence[str]) -> dict[tuple[str, str, str, str], float]:
    """What was chosen: by first method, second method, video and edit; 1 for the first, -1 for the second,
    the mean over raters. Raises InputError.
    """
    key = validated(parse_json(read_text(key_path, KEY), key_path, KEY), _Key, key_path, KEY)
    given: dict[int, list[float]] = {}
    for path in answer_paths:
        found = validated(parse_json(read_text(path, ANSWERS), path, ANSWERS), _Answers, path, ANSWERS)
        if found["sheet"] != key["sheet"]:
            raise InputError(
                f"{path} answers the sheet {found['sheet']}, and {key_path} is the key of {key['sheet']}.",
                "A sheet, its key and its answers belong together.",
            )
        for place, choice in found["answers"].items():
            if not (place.isdecimal() and 1 <= int(place) <= len(key["pairs"])):
                raise ANSWERS.refusal(path, f"there is no pair {place!r} on the sheet")
            given.setdefault(int(place), []).append(VALUES[choice])
    choices = {}
    for number, values in given.items():
        pair = key["pairs"][number - 1]
        first, second = sorted((pair["left"], pair["right"]))
        turn = 1 if first == pair["left"] else -1
        choices[first, second, pair["video_id"], pair["edit_id"]] = turn * sum(values) / len(values)
    return choices


def differences(
    reports: Mapping[str, Results], choices: Mapping[tuple[str, str, str, str], float]
) -> tuple[Results, dict[tuple[str, str, str], dict[str, float]]]:
    """A report of the differences of the two methods on each video, and the choices as its labels.

    Raises InputError where a method of the key is in no report.
    """
    from dataclasses import replace

    from vedit.jobs.score.results import Number

    rows, labels = [], {}
    for (first, second, video, edit), choice in choices.items():
        for name in (first, second):
            if name not in reports:
                raise InputError(
                    f"the key names the method {name!r}, and the reports are of {', '.join(reports)}."
                )
        found = [
            next((row for row in reports[name].rows if row.id == (video, edit)), None)
            for name in (first, second)
        ]
        if found[0] is None or found[1] is None:
            continue
        numbers = {}
        for key in found[0].numbers:
            x, y = found[0].counted(key), found[1].counted(key)
            if x is not None and y is not None and x.is_finite and y.is_finite:
                numbers[key] = Number(x.value - y.value)
        rows.append(Row(video, edit, numbers))
        labels["", video, edit] = {"choice": choice}
    first_report = next(iter(reports.values()))
    return replace(first_report, rows=tuple(rows)), labels
