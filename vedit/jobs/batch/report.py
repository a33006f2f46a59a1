"""What came of a batch, for people and for the next program: results.jsonl, failed.csv, index.toml."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from vedit.documents import cell
from vedit.jobs.batch.plan import Item, Plan
from vedit.media.atomic import open_output
from vedit.models import images
from vedit.models.controls import with_names
from vedit.plain import json_text

TOLD = ("_error", "_exit", "_attempts", "_log", "_key")


class Reports:
    """The reports of a plan, as its state is."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def write(self) -> None:
        """Write all three, unless they say this already."""
        if self.plan.is_as_before and self._are_newest():
            return
        _write(self._path("results.jsonl"), "".join(json_text(row) + "\n" for row in self.results()))
        _write(self._path("index.toml"), self.index())
        self.write_failed()

    def _are_newest(self) -> bool:
        """Whether no record has come or gone since they were written."""
        try:
            written = os.stat(self._path("results.jsonl")).st_mtime_ns
            os.stat(self._path("index.toml"))
            folders = [os.stat(self.plan.state.folder / part) for part in ("done", "failed")]
        except OSError:
            return False
        return all(folder.st_mtime_ns < written for folder in folders)

    def _path(self, name: str) -> str:
        return os.path.join(self.plan.state.out, name)

    def results(self) -> Iterator[dict[str, Any]]:
        """A line per item: what was asked for, and what became of it."""
        for item in self.plan.items:
            done, failed = self.plan.done.get(item.key), self.plan.failed.get(item.key)
            request = item.request
            asked = {
                "input": request.input,
                "source_prompt": request.source_prompt,
                "prompt": request.prompt,
                "method": request.method,
                "preset": request.preset,
                "seed": request.seed,
                "set": dict(request.set),
                "label": item.row.label,
            }
            row = {"row": item.row.number, "key": item.key, "output": item.output, **asked, **item.row.extra}
            if done is not None:
                yield {
                    **row,
                    "status": "done",
                    "seconds": done.get("seconds"),
                    "attempts": done.get("attempts"),
                    "sha256": done.get("sha256"),
                }
            elif failed is not None:
                yield {
                    **row,
                    "status": "failed",
                    "exit": failed.get("exit"),
                    "message": failed.get("message"),
                    "attempts": failed.get("attempts"),
                    "log": failed.get("log"),
                }
            else:
                yield {**row, "status": "open"}

    def write_failed(self) -> None:
        """failed.csv: a list of edits that can be mended and called again; none where nothing failed."""
        failed = [
            item
            for item in self.plan.items
            if item.key in self.plan.failed and item.key not in self.plan.done
        ]
        path = self._path("failed.csv")
        if not failed:
            with suppress(FileNotFoundError):
                os.unlink(path)
            return
        rows = [self._failed_row(item) for item in failed]
        columns = list(dict.fromkeys(key for row in rows for key in row if key not in TOLD))
        text = io.StringIO()
        writer = csv.DictWriter(text, [*columns, *TOLD], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: cell(str(value)) for key, value in row.items()} for row in rows)
        _write(path, text.getvalue())

    def _failed_row(self, item: Item) -> dict[str, Any]:
        record = self.plan.failed[item.key]
        told = {
            "_error": " ".join(str(record.get("message", "")).split()),
            "_exit": record.get("exit"),
            "_attempts": record.get("attempts"),
            "_log": record.get("log"),
            "_key": item.key,
        }
        extra = {key: value for key, value in item.row.extra.items() if key not in TOLD}
        return {**_row_keys(item, self.plan.state.out), "output": item.output, **extra, **told}

    def index(self) -> str:
        """What is done, as `vedit score --index OUT/index.toml --edited OUT` reads it."""
        videos: dict[tuple[str, str, str], list[Item]] = {}
        for item in self.plan.items:
            if item.key in self.plan.done:
                request = item.request
                name = item.row.video or os.path.splitext(os.path.basename(request.input))[0]
                videos.setdefault((name, request.input, request.source_prompt), []).append(item)
        lines: list[str] = []
        taken: set[str] = set()
        for (name, path, source), items in videos.items():
            unique = next(found for found in _numbered(name) if found not in taken)
            taken.add(unique)
            lines += [
                "[[video]]",
                f"id = {_text(unique)}",
                f"source = {_text(os.path.relpath(path, self.plan.state.out))}",
                f"source_prompt = {_text(source)}",
            ]
            for item in items:
                edit = os.path.splitext(item.output)[0]
                lines += [
                    "[[video.edit]]",
                    f"id = {_text(edit)}",
                    f"prompt = {_text(item.request.prompt or '')}",
                    f"edited = {_text(item.output)}",
                ]
            lines.append("")
        return "\n".join(lines)


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1


def _text(value: str) -> str:
    """A text as TOML has it: JSON's escapes are TOML's too."""
    return json_text(value)


def _row_keys(item: Item, out: str) -> dict[str, Any]:
    """The request as columns, those that are not as usual; paths as seen from the list's folder."""
    from dataclasses import fields

    usual = {field.name: field.default for field in fields(item.request)}
    columns: dict[str, Any] = {}
    for key, value in item.request.json().items():
        is_apart = key in ("output", "overwrite", "set", "mask", "lora", "control")
        if is_apart or value is None or value == usual.get(key) or value == []:
            continue
        columns[key] = os.path.relpath(value, out) if key in ("input", "inversion", "ref") else value
    columns["input"] = os.path.relpath(item.request.input, out)
    if item.request.mask:
        columns["mask"] = ";".join(_mask(mask, out) for mask in item.request.mask)
    if item.request.lora:
        columns["lora"] = ";".join(_lora(lora, out) for lora in item.request.lora)
    if item.request.control:
        columns["control"] = ";".join(
            with_names(net, lambda name: _seen(name, out)) for net in item.request.control
        )
    if image := item.request.image_prompt:
        columns["image_prompt"] = images.with_name(image, lambda name: _seen(name, out))
    if (flow := item.request.flow) and ":" in flow:
        name, _, file = flow.partition(":")
        columns["flow"] = f"{name}:{_seen(file, out)}"
    if adapter := item.request.image_adapter:
        columns["image_adapter"] = _seen(adapter, out)
    settings = dict(item.request.set)
    if os.path.isdir(weights := str(settings.get("weights", ""))):
        settings["weights"] = os.path.relpath(weights, out)
    columns |= {f"set.{key}": _toml(value) for key, value in settings.items()}
    return columns if item.row.label == item.request.method else {**columns, "label": item.row.label}


def _mask(mask: str, out: str) -> str:
    from vedit.jobs.masks import file_of

    file = file_of(mask)
    return mask if file is None else mask.replace(file, os.path.relpath(file, out))


def _lora(lora: str, out: str) -> str:
    from vedit.models.adapters import with_name

    return with_name(lora, lambda name: _seen(name, out))


def _seen(name: str, out: str) -> str:
    """A name of a file as seen from the list's folder; one of the Hub stays."""
    return os.path.relpath(name, out) if os.path.exists(name) else name


def _toml(value: Any) -> str:
    """A parameter as TOML reads it again."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_text(str(key))} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json_text(value)


def _write(path: str, text: str) -> None:
    with open_output(path) as stream:
        stream.write(text.encode("utf-8", "surrogateescape"))
