"""Lists of clips and edits that words are added to: read, filled and written as they came.

A list is CSV (also with ; or tabs) or JSON lines: of edits, as `vedit batch` takes them, or of clips, as
`vedit data` writes them. Columns that nobody here knows stay as they are.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

from vedit.documents import Kind, cell, read_json_lines, read_table, read_text, uncell
from vedit.errors import InputError, UsageError
from vedit.plain import json_text

MANIFEST = Kind(
    "a list of edits",
    UsageError,
    'It is CSV, JSON lines, TOML or an index, in UTF-8; spreadsheets save it as "CSV UTF-8".',
    largest=2**28,
    names_files=True,
)
SUFFIXES = (".csv", ".tsv", ".jsonl")
CLIP_KEYS = ("input", "video", "file")
Values = dict[str, Any]


def is_list(name: str) -> bool:
    """Whether a name is that of a list."""
    return name.lower().endswith(SUFFIXES) and not os.path.isdir(name)


def read_list(path: str) -> list[Values]:
    """The rows of a list, in their order; empty ones are left out. Raises UsageError, InputError."""
    if not os.path.exists(path):
        raise InputError(f"{path}: there is no such file.", "", "Check the name")
    if not (rows := _rows(path)):
        raise UsageError(f"{path} has no rows.", "A list has a line of keys, then a row a line.")
    return rows


def _rows(path: str) -> list[Values]:
    if path.lower().endswith(".jsonl"):
        return [row for _, row in read_json_lines(path, MANIFEST)]
    header = read_text(path, MANIFEST).lstrip("\n").partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    rows = read_table(path, MANIFEST, delimiter, is_strict=True)
    return [
        {key.strip(): uncell(text) for key, text in row.items()}
        for row in rows
        if any(map(str.strip, row.values()))
    ]


def check_list(path: str) -> None:
    """Refuse a name that does not tell its form. Raises UsageError."""
    if not is_list(path):
        raise UsageError(f"{path} is not the name of a list.", f"It ends in {' '.join(SUFFIXES)}.")


def write_list(path: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows in the form that the name tells; a column is there when any row has it."""
    from vedit.media.atomic import open_output

    with open_output(path) as stream:
        stream.write(_text(path.lower(), rows).encode("utf-8", "surrogateescape"))


def _text(path: str, rows: Sequence[Mapping[str, Any]]) -> str:
    if path.endswith(".jsonl"):
        return "".join(f"{json_text(row)}\n" for row in rows)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter="\t" if path.endswith(".tsv") else ",", lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(key)) for key in columns] for row in rows)
    return buffer.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return cell(value) if isinstance(value, str) else json_text(value)


def clip_of(row: Mapping[str, Any], path: str) -> str | None:
    """The clip that a row of the list at a path names, as seen from here; None where it names none."""
    name = next((row[key] for key in CLIP_KEYS if isinstance(row.get(key), str) and row[key]), None)
    return None if name is None else os.path.join(os.path.dirname(path), name)


def moved(row: Mapping[str, Any], path: str, output: str) -> Values:
    """A row of the list at a path for a list at another place, so that its clip is found from there."""
    here, there = (os.path.dirname(os.path.abspath(name)) for name in (path, output))
    if here == there:
        return dict(row)
    return {
        key: os.path.relpath(os.path.join(here, value), there)
        if key in CLIP_KEYS and isinstance(value, str) and value and not os.path.isabs(value)
        else value
        for key, value in row.items()
    }


def caption_key(row: Mapping[str, Any]) -> str:
    """Where a row says what its clip shows: an edit's source, a clip's captions."""
    if "file" in row and not any(row.get(key) for key in ("input", "video")):
        return "captions"
    return next((key for key in ("source_prompt", "source-prompt") if key in row), "source")
