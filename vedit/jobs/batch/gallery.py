"""A batch as a page: rows of clips, columns of what was varied, pictures that move under the pointer.

    Gallery(plan).write()        OUT/gallery.html, and posters that are missing below OUT/.vedit-batch/thumb

The page holds its data and loads pictures from beside it, when they are seen. Without scripts it is a table
of posters. See gallery.js for what it does with the data.
"""

from __future__ import annotations

import base64
import html
import json
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from vedit.errors import VeditError
from vedit.jobs.batch.plan import Item, Plan
from vedit.jobs.batch.thumbs import Part, Thumb, Thumbs, part_of, source_name
from vedit.jobs.edit.request import EditRequest
from vedit.jobs.pages.page import asset, data, page
from vedit.jobs.pages.player import controls
from vedit.jobs.record import SUFFIX
from vedit.media.atomic import open_output
from vedit.plain import plain

NAME = "gallery.html"
DONE, FAILED, OPEN, RUNNING = range(4)
TOLD_ELSEWHERE = ("input", "prompt", "source_prompt", "output", "overwrite", "set")
SECONDS_BETWEEN, SECONDS_AT_LAST = 1.0, 20.0
REST = 20  # times what the page took: so it is never more than a twentieth of a batch
STANDALONE_BYTES = 50 * 2**20


class Dimension(NamedTuple):
    """What tells items of a batch apart. value: of an item, as it is shown."""

    name: str
    value: Callable[[Item], str]


class Gallery:
    """The page of a plan. page: where it goes, beside the outputs by default. scores: numbers by output."""

    def __init__(
        self,
        plan: Plan,
        path: str | None = None,
        scores: Mapping[str, Mapping[str, float]] | None = None,
        lower_is_better: Sequence[str] = (),
    ) -> None:
        self.plan, self.state = plan, plan.state
        self.path = path or os.path.join(self.state.out, NAME)
        self.base = os.path.dirname(os.path.abspath(self.path))
        self.thumbs = Thumbs(self.state)
        self.scores, self.lower_is_better = scores or {}, lower_is_better

    # --- posters ------------------------------------------------------------------------------

    def make_thumbs(self, seconds: float | None = None) -> bool:
        """Make the posters that are missing, for at most so many seconds; whether all are there."""
        ends = None if seconds is None else time.monotonic() + seconds
        for name, content, clip, part in self._wanted():
            if self.thumbs.is_known(name, content):
                continue
            if ends is not None and time.monotonic() > ends:
                return False
            with suppress(VeditError):  # a disk that is full: the page is there without them
                self.thumbs.make(name, content, clip, part)
        return True

    def _wanted(self) -> Iterator[tuple[str, str, str, Part]]:
        """Name, content, clip and part of every thumb, sources first."""
        seen = set()
        for item in self.plan.items:
            name, content = source_name(item.request)
            if name not in seen and content != "missing":
                seen.add(name)
                yield name, content, item.request.input, part_of(item.request)
        for item in self.plan.items:
            record = self.plan.done.get(item.key)
            if record is not None and not item.twin:
                clip = os.path.join(self.state.out, str(record["output"]))
                yield item.key, str(record.get("sha256")), clip, Part()

    # --- the page -----------------------------------------------------------------------------

    def write(self, *, is_standalone: bool = False) -> None:
        """Write the page, with the posters that there are. Raises OutputError."""
        with open_output(self.path) as stream:
            stream.write(self.page(is_standalone).encode("utf-8", "backslashreplace"))

    def page(self, is_standalone: bool = False) -> str:
        """The page as text."""
        link = Embedded(self.base) if is_standalone else Linked(self.base)
        facts = self.facts(link)
        here = Path(__file__)
        heading = plain(os.path.basename(os.path.abspath(self.state.out)) or self.state.out)
        skeleton = asset(here.with_name("gallery.html"))
        skeleton = skeleton.replace("<!-- controls -->", controls(has_both=True, has_own_speed=True))
        body = "\n".join([skeleton, self._plain_table(facts), data(facts, 'id="batch"')])
        return page(
            f"{heading}: {len(self.plan.items)} edits",
            body,
            [here.with_name("gallery.css")],
            [here.with_name("gallery.js")],
        )

    def facts(self, link: Linked) -> dict[str, Any]:
        """What the page knows, as JSON has it."""
        dimensions = dimensions_of(self.plan.items)
        values: list[list[str]] = [[] for _ in dimensions]
        places: list[dict[str, int]] = [{} for _ in dimensions]
        sources: dict[str, int] = {}
        told_sources: list[dict[str, Any]] = []
        cells = []
        running = self._running()
        for item in self.plan.items:
            at = []
            for number, dimension in enumerate(dimensions):
                value = plain(dimension.value(item))
                place = places[number].setdefault(value, len(values[number]))
                if place == len(values[number]):
                    values[number].append(value)
                at.append(place)
            name, content = source_name(item.request)
            if name not in sources:
                sources[name] = len(told_sources)
                told_sources.append(self._source(item.request, name, content, link))
            cells.append({**self._cell(item, link, running), "v": at, "c": sources[name]})
        return {
            "out": plain(self.state.out),
            "written": round(time.time()),
            "dimensions": [{"name": d.name, "values": v} for d, v in zip(dimensions, values)],
            "sources": told_sources,
            "cells": cells,
            "scores": sorted({name for numbers in self.scores.values() for name in numbers}),
            "lower": list(self.lower_is_better),
            "left": link.left,
        }

    def _source(self, request: EditRequest, name: str, content: str, link: Linked) -> dict[str, Any]:
        return {
            "name": plain(request.input),
            "prompt": plain(request.source_prompt),
            "href": link.to(request.input),
            **self._picture(self.thumbs.of(name, content), link),
        }

    def _picture(self, thumb: Thumb | None, link: Linked) -> dict[str, Any]:
        if thumb is None:
            return {}
        return {
            "poster": link.picture(self.thumbs.path(thumb.poster)),
            "strip": link.picture(self.thumbs.path(thumb.strip)),
            "w": thumb.width,
            "h": thumb.height,
            "clip": thumb.clip,
            "ms": thumb.delays,
        }

    def _cell(self, item: Item, link: Linked, running: set[str]) -> dict[str, Any]:
        cell: dict[str, Any] = {
            "key": item.key[:12],
            "name": plain(item.output),
            "prompt": plain(item.request.prompt or ""),
            "asked": asked_of(item),
        }
        path = os.path.join(self.state.out, item.output)
        if (record := self.plan.done.get(item.key)) is not None:
            cell |= {
                "s": DONE,
                "t": record.get("seconds"),
                "tries": record.get("attempts"),
                "host": plain(str(record.get("host", ""))),
                "href": link.to(path),
                "scores": self.scores.get(os.path.splitext(item.output)[0], {}),
                **self._picture(self.thumbs.of(item.key, str(record.get("sha256"))), link),
            }
            if item.request.metadata:
                again = f"again{os.path.splitext(item.output)[1]}"
                cell["line"] = plain(f"vedit replay {shlex.quote(path)} -o {again}")
                cell["record"] = link.to(path + SUFFIX)
        elif (record := self.plan.failed.get(item.key)) is not None:
            cell |= {"s": FAILED, "why": plain(str(record.get("message", ""))), "exit": record.get("exit")}
            cell["tries"] = record.get("attempts")
            if record.get("log"):
                cell["log"] = link.to(os.path.join(self.state.out, str(record["log"])))
                cell["log_name"] = plain(str(record["log"]))
        else:
            cell["s"] = RUNNING if item.key in running else OPEN
        return {key: value for key, value in cell.items() if value not in (None, "", {})}

    def _running(self) -> set[str]:
        folder = self.state.folder / "claim"
        claimed = {name for name in os.listdir(folder) if name[0] != "."} if folder.is_dir() else set()
        return {key for key in claimed if not self.state.is_stale(key)}

    def _plain_table(self, facts: Mapping[str, Any]) -> str:
        """What stands there without scripts: a row per clip."""
        rows: dict[int, list[str]] = {}
        for cell in facts["cells"]:
            rows.setdefault(cell["c"], []).append(_plain_cell(cell))
        lines = "".join(
            f'<tr><th scope="row">{_escaped(facts["sources"][place]["name"])}</th>{"".join(cells)}</tr>'
            for place, cells in rows.items()
        )
        return f'<noscript><div class="scroll"><table>{lines}</table></div></noscript>'


def keep_fresh(plan: Plan) -> Callable[[bool], None]:
    """What writes the page of a batch while it runs, and for the last time.

    A poster takes some hundredths of a second: while items are at work, a few are made each time. A page of
    many thousands is written less often, so that workers need not wait for it.
    """
    gallery = Gallery(plan)
    rests_until = 0.0

    def show(is_last: bool) -> None:
        nonlocal rests_until
        began = time.monotonic()
        if began < rests_until and not is_last:
            return
        gallery.make_thumbs(SECONDS_AT_LAST if is_last else SECONDS_BETWEEN)
        with suppress(VeditError):  # a page that cannot be written is no reason to end a batch
            gallery.write()
        now = time.monotonic()
        rests_until = now + REST * (now - began)

    return show


def _plain_cell(cell: Mapping[str, Any]) -> str:
    if cell["s"] == FAILED:
        return f"<td>{_escaped(cell['name'])}<br>failed: {_escaped(cell.get('why', ''))}</td>"
    if cell["s"] != DONE:
        return f"<td>{_escaped(cell['name'])}<br>not made yet</td>"
    picture = f'<img src="{_escaped(cell["poster"])}" alt="" loading="lazy">' if cell.get("poster") else ""
    return f'<td>{picture}<br><a href="{_escaped(cell["href"])}">{_escaped(cell["name"])}</a></td>'


def _escaped(text: Any) -> str:
    return html.escape(str(text))


# --- what tells items apart --------------------------------------------------------------------------


def dimensions_of(items: Sequence[Item]) -> list[Dimension]:
    """The clip, and what items differ in besides: method, edit or prompt, seed, axes."""
    clips = _clip_names(items)
    candidates = [
        Dimension("method", lambda item: item.row.label),
        _prompts(items),
        Dimension("seed", lambda item: str(item.request.seed)),
    ]
    taken = {"label", "method", "prompt", "seed", "source", "source_prompt", "input"}
    axes = list(dict.fromkeys(name for item in items for name in item.row.axes if name not in taken))
    candidates += [Dimension(name, lambda item, name=name: item.row.axes.get(name, "–")) for name in axes]  # type: ignore[misc]
    varied = [one for one in candidates if len({one.value(item) for item in items}) > 1]
    return [Dimension("clip", lambda item: clips[item.request.input]), *varied]


def _clip_names(items: Sequence[Item]) -> dict[str, str]:
    """What clips are called: by their own names, or with folders where two have one name."""
    paths = {item.request.input: item.row.video for item in items}
    names = {path: video or os.path.basename(path.rstrip("/")) for path, video in paths.items()}
    if len(set(names.values())) == len(names):
        return names
    common = os.path.commonpath(list(map(os.path.abspath, paths)))
    return {path: os.path.relpath(path, common) for path in paths}


def _prompts(items: Sequence[Item]) -> Dimension:
    """Prompts by their words where clips share them, else by their number among those of a clip."""
    if all(item.row.edit for item in items):
        return Dimension("edit", lambda item: str(item.row.edit))
    of_clip: dict[str, dict[str, int]] = {}
    for item in items:
        numbers = of_clip.setdefault(item.request.input, {})
        numbers.setdefault(item.request.prompt or "", len(numbers) + 1)
    every = {prompt for numbers in of_clip.values() for prompt in numbers}
    if len(every) == max((len(numbers) for numbers in of_clip.values()), default=0):
        return Dimension("prompt", lambda item: item.request.prompt or "")
    return Dimension("prompt", lambda item: str(of_clip[item.request.input][item.request.prompt or ""]))


_USUAL = {field.name: field.default for field in fields(EditRequest)}


def asked_of(item: Item) -> dict[str, str]:
    """What was asked for that is not as usual, and the method's parameters, as texts."""
    given = item.request.json()
    asked = {
        key: value
        for key, value in given.items()
        if key not in TOLD_ELSEWHERE and value not in (None, []) and value != _USUAL.get(key)
    }
    asked |= {"method": item.request.method, "seed": item.request.seed}
    asked |= {f"set.{key}": value for key, value in item.request.set.items()}
    return {
        key: plain(value if isinstance(value, str) else json.dumps(value)) for key, value in asked.items()
    }


def read_scores(path: str) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Numbers by the output that they judge, without its extension, from a report of `vedit score --index`;
    and which of them are better when lower. Raises InputError.
    """
    from vedit.jobs.score.results import read_results

    results = read_results(path)
    numbers = {
        row.edit_id: {key: number.value for key, number in row.numbers.items() if number.is_finite}
        for row in results.rows
    }
    return numbers, [key for key, fact in results.metrics.items() if not fact.value.higher_is_better]


# --- links -------------------------------------------------------------------------------------------


class Linked:
    """Links from a page in a folder to files beside it. left: pictures that could not be put in."""

    left = 0

    def __init__(self, base: str) -> None:
        self.base = base

    def to(self, path: str) -> str:
        """The address of a file, as seen from the page."""
        relative = os.path.relpath(os.path.abspath(path), self.base)
        return quote(os.fsencode(relative.replace(os.sep, "/")))

    def picture(self, path: str) -> str | None:
        return self.to(path)


class Embedded(Linked):
    """Pictures inside the page, up to a size: posters and strips as they come."""

    def __init__(self, base: str, room: int = STANDALONE_BYTES) -> None:
        super().__init__(base)
        self.room = room

    def picture(self, path: str) -> str | None:
        with suppress(OSError):
            content = Path(path).read_bytes()
            address = f"data:image/{path.rpartition('.')[2]};base64,{base64.b64encode(content).decode()}"
            if len(address) <= self.room:
                self.room -= len(address)
                return address
            self.left += 1
        return None
