"""The page of a localisation: the source and what each branch made of it, in step, with words and scores."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vedit.documents import read_json
from vedit.errors import VeditError
from vedit.jobs.clips import Selection, read_pixels
from vedit.jobs.localize.recipe import ENDED
from vedit.jobs.localize.results import REPORT, SCORES, Localisation, Result
from vedit.jobs.pages.page import data, page
from vedit.jobs.pages.player import controls, pane
from vedit.jobs.score.html import SHOWN, picture
from vedit.jobs.score.render import figure
from vedit.jobs.sink import Sink

MOST = 64  # frames of a clip that the page holds
SOURCE = "source"


def write_page(path: str, plan: Localisation, results: Sequence[Result], sink: Sink) -> None:
    """Write the page. Raises OutputError."""
    from vedit.media.atomic import open_output

    words = plan.words
    body = "\n".join(
        [
            _words(plan),
            "<h2>Clips</h2>",
            _player(plan, results, sink),
            _scores(plan, results),
            _calls(plan, results),
        ]
    )
    heading = f"{os.path.basename(plan.request.input.rstrip('/'))}: {words['instruction']}"
    style = Path(__file__).with_name("report.css")
    with open_output(path) as stream:
        stream.write(page(heading, body, [style]).encode("utf-8", "backslashreplace"))


def _words(plan: Localisation) -> str:
    words = plan.words
    told = [("it shows", words["caption"])]
    if words["detailed"] != words["caption"]:
        told.append(("in full", words["detailed"]))
    told.append(("asked for", words["instruction"]))
    for mode, made in words["prompts"].items():
        by = f" ({made['method']}, distance {made['distance']})" if "method" in made else ""
        told.append((f"prompt, {mode}{by}", made.get("target") or made.get("error", "")))
    rows = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(str(text))}</dd>" for name, text in told)
    return f'<h2>Words</h2><dl class="words">{rows}</dl>'


def _player(plan: Localisation, results: Sequence[Result], sink: Sink) -> str:
    """The source and every branch in step; a branch without a clip says why."""
    frames: dict[str, list[str]] = {}
    panes = [_clip_pane(SOURCE, "source", plan.words["caption"], _pictures(plan, None, sink), frames)]
    for one in results:
        name, title = f"b-{one.branch.name}", one.branch.title
        shown = _pictures(plan, one, sink) if one.output else one.error
        panes.append(_clip_pane(name, title, one.prompt, shown, frames))
    count = max([1, *map(len, frames.values())])
    inside = data(frames, 'class="frames"')
    return (
        f'<div class="player localize" data-mode="side" data-count="{count}" style="--shown:{SHOWN}px">'
        f'<div class="stage" data-mode="side">{"".join(panes)}</div>{controls(has_both=False)}'
        f"{inside}</div>"
    )


def _clip_pane(
    name: str, title: str, prompt: str, shown: list[str] | str, frames: dict[str, list[str]]
) -> str:
    if isinstance(shown, str):
        content = f'<div class="missing">{html.escape(shown)}</div>'
    else:
        frames[name] = shown
        content = (
            f'<img data-frames="{html.escape(name)}" class="small" src="{shown[0]}"'
            f' alt="{html.escape(title)}, first frame">'
        )
    return pane(html.escape(name), f"{title}: {prompt}" if prompt else title, content)


def _pictures(plan: Localisation, result: Result | None, sink: Sink) -> list[str] | str:
    """The frames of the source that were taken, or of a branch's clip, as data addresses; else why not."""
    own = result is None
    path = plan.request.input if result is None else result.output
    count = plan.recipe.input.get("frames") or MOST
    stride = plan.stride if own else 1
    square = own and plan.recipe.input.get("crop") == "square"

    def choose(size: tuple[int, int]) -> Selection:
        scale = min(1.0, 512 / max(size))
        side: Any = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        return Selection(0, stride, min(count, MOST) if own else MOST, min(side) if square else side)

    try:
        return [picture(frame) for frame in read_pixels(path, choose, warn=sink.warn).frames_FYX3]
    except VeditError as error:
        return str(error)


def _scores(plan: Localisation, results: Sequence[Result]) -> str:
    """A row per metric, a column per branch; the best of each in bold."""
    scored = [one for one in results if one.means]
    if not scored:
        return ""
    higher = _directions(plan, scored)
    heads = "".join(f"<th>{html.escape(one.branch.title)}</th>" for one in scored)
    rows = "".join(
        f'<tr><th scope="row">{html.escape(key)}</th><td>{"higher" if higher[key] else "lower"}</td>'
        f"{''.join(_cells(key, scored, higher[key]))}</tr>"
        for key in higher
    )
    lost = "".join(
        f"<p>{html.escape(one.branch.title)}: not scored: {html.escape(one.score_error)}</p>"
        for one in results
        if one.score_error
    )
    return (
        '<h2>Scores</h2><div class="scroll"><table><thead><tr><th>metric</th><th>better</th>'
        f"{heads}</tr></thead><tbody>{rows}</tbody></table></div>{lost}"
        "<p>A generated clip has no frame of the source in it: numbers that compare with the source are not"
        " there. One clip says nothing about methods.</p>"
    )


def _cells(key: str, scored: Sequence[Result], is_higher: bool) -> Iterator[str]:
    values = [one.means.get(key) for one in scored]
    there = [value for value in values if value is not None]
    best = (max if is_higher else min)(there) if len(set(there)) > 1 else None
    for value in values:
        mark = ' class="best"' if value is not None and value == best else ""
        yield f"<td{mark}>{'' if value is None else figure(value)}</td>"


def _directions(plan: Localisation, scored: Sequence[Result]) -> dict[str, bool]:
    """Whether higher is better, for every metric that a branch has, in the order of the reports."""
    found: dict[str, bool] = {}
    for one in scored:
        path = os.path.join(plan.out, SCORES, f"{one.branch.name}.json")
        facts = read_json(path, REPORT)["metrics"]
        found |= {key: bool(facts.get(key, {}).get("higher_is_better", True)) for key in one.means}
    return found


def _calls(plan: Localisation, results: Sequence[Result]) -> str:
    """What made each clip; its run record lies beside it."""
    rows = []
    for one in results:
        note = f" ({html.escape(ENDED)})" if one.branch.generates else ""
        if one.output:
            again = html.escape(f"vedit replay {os.path.relpath(one.output, plan.out)} -o again.gif")
            rows.append(f"<li>{html.escape(one.branch.title)}{note}: <code>{again}</code></li>")
        else:
            rows.append(f"<li>{html.escape(one.branch.title)}{note}: failed</li>")
    return f'<h2>How each was made</h2><ul class="calls">{"".join(rows)}</ul>'
