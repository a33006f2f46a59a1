"""The journal of a suite: one JSON line per video and metric as soon as it is known, so that nothing is
computed twice.

A line counts only when its key matches: the key is a hash of the files (path, size, time of
change), prompts, options, weights and version of the metric, so a clip that was rendered again
or a metric that changed is computed anew. The last line may be torn by a crash; it is skipped.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vedit.documents import Kind, add_line, whole_lines
from vedit.errors import OutputError, option, reason_of
from vedit.jobs.recorded import SUFFIX
from vedit.jobs.score.clips import Item, Reading
from vedit.jobs.score.results import Number, finite, number_json, number_of
from vedit.plain import digest


class Journal:
    """Numbers by key. path: None keeps none."""

    def __init__(self, path: str | None, resume: bool) -> None:
        self.path = path
        self.known: dict[str, dict[str, Any]] = _read(path) if path and resume else {}
        self._is_new = not resume

    def numbers(self, key: str) -> dict[str, Number] | None:
        """The numbers of a metric on a video, if they were written before."""
        line = self.known.get(key)
        return None if line is None else {name: number_of(number) for name, number in line["values"].items()}

    def facts(self, key: str) -> tuple[dict[str, Any], str]:
        """What the report says about the video of a known line, and why the metric was skipped, or ""."""
        return dict(self.known[key]["facts"]), str(self.known[key]["skipped"])

    def add(
        self,
        key: str,
        item: Item,
        metric: str,
        numbers: Mapping[str, Number],
        facts: Mapping[str, Any],
        skipped: str = "",
    ) -> None:
        """Write a line, handed to the system at once."""
        if self.path is None:
            return
        values = {name: number_json(number) for name, number in numbers.items()}
        line = finite(
            {
                "key": key,
                "video_id": item.video_id,
                "edit_id": item.edit_id,
                "metric": metric,
                "values": values,
                "skipped": skipped,
                "facts": facts,
            }
        )
        try:
            if self._is_new:
                open(self.path, "wb").close()
                self._is_new = False
            add_line(self.path, line)
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot write the journal: {reason_of(error)}.",
                "",
                f"Name another with {option('journal')}",
            ) from None


def _read(path: str) -> dict[str, dict[str, Any]]:
    if not os.path.exists(path):
        return {}
    kind = Kind(
        "a journal of vedit score",
        OutputError,
        next_step=f"Name another with {option('journal')}",
        largest=2**30,
        names_files=True,
    )
    return {line["key"]: line for line in whole_lines(path, kind) if _is_entry(line)}


def _is_entry(line: Mapping[str, Any]) -> bool:
    """Whether a line is one of ours, so that its numbers can be taken over."""
    try:
        for number in line["values"].values():
            number_of(number)
        return isinstance(line["key"], str) and isinstance(line["facts"], dict) and "skipped" in line
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return False


def journal_key(
    item: Item,
    reading: Reading,
    metric: str,
    version: int,
    options: Mapping[str, Any],
    weights: Mapping[str, str],
) -> str:
    """What the numbers of a metric on a video depend on, as a hash."""
    files = [item.edited, item.edited.rstrip("/") + SUFFIX, item.source, item.truth, item.mask]
    parts = [
        _deciding(asdict(item), metric),
        asdict(reading),
        [_state(file) for file in files],
        metric,
        version,
        dict(options),
        dict(weights),
    ]
    return digest(parts)


def _deciding(item: dict[str, Any], metric: str) -> dict[str, Any]:
    """What of an item decides the numbers of a metric: tags and instructions none, questions their own."""
    own = {key: value for key, value in item.items() if key not in ("tags", "instruction", "questions")}
    return {**own, "questions": item["questions"]} if metric == "judge_checklist" else own


def _state(path: str | None) -> Any:
    """Size and time of change of a file, or of the files of a folder; None for what is no file."""
    if path is None or not os.path.exists(path):
        return None
    if os.path.isdir(path):
        return sorted(
            (entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in os.scandir(path)
        )
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns]
