"""A table of clips that the user is entitled to use: one row a caption, clips found by their id.

There is no downloader. WebVid's page says that its URLs and captions are withdrawn at the request
of Shutterstock; a table of ids and captions with one's own copies of the clips works as ever.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vedit.data.layout import tidy
from vedit.errors import InputError, UsageError, nearest

SUFFIXES = (".gif", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".apng", ".webp")


class Row(NamedTuple):
    """A clip of a table: its id, all its captions in the table's order, further columns of its first row."""

    id: str
    captions: tuple[str, ...]
    facts: Mapping[str, str]


def read_table(path: str | Path) -> Iterator[dict[str, Any]]:
    """Rows of a CSV, TSV or JSON-lines file by its suffix. Raises InputError naming the line."""
    suffix = Path(path).suffix.lower()
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            if suffix in (".csv", ".tsv"):
                yield from csv.DictReader(file, delimiter="\t" if suffix == ".tsv" else ",")
                return
            if suffix not in (".jsonl", ".ndjson"):
                raise InputError(f"{path}: no table is known by the suffix {suffix or '(none)'}.", "A table is a .csv, .tsv or .jsonl file.")
            for number, line in enumerate(file, 1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise InputError(f"{path}: line {number} is no JSON object.")
                    yield row
    except OSError as error:
        raise InputError(f"{path}: cannot read: {(error.strerror or str(error)).lower()}.") from None
    except (ValueError, RecursionError, csv.Error) as error:
        raise InputError(f"{path}: not a readable table: {error}.") from None


def group(rows: Iterator[dict[str, Any]], id_column: str, caption_column: str, name: str) -> list[Row]:
    """Rows with the same id as one clip with several captions, in the order they first come."""
    captions: dict[str, list[str]] = {}
    facts: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows):
        if number == 0:
            for column in (id_column, caption_column):
                if column not in row:
                    raise UsageError(f"{name} has no column {column!r}{nearest(column, row)}", f"Its columns are: {', '.join(map(str, row))}.")
        clip, caption = str(row.get(id_column) or "").strip(), tidy(str(row.get(caption_column) or ""))
        if clip:
            known = captions.setdefault(clip, [])
            if caption and caption not in known:
                known.append(caption)
            facts.setdefault(clip, {str(key): str(value) for key, value in row.items() if key not in (id_column, caption_column) and value})
    if not captions:
        raise InputError(f"{name} holds no rows.")
    return [Row(clip, tuple(texts), facts[clip]) for clip, texts in captions.items()]


def index_clips(folder: str | Path) -> dict[str, str]:
    """Clips of a folder and the folders in it, by their name without suffix; the first in sorted order counts."""
    if not os.path.isdir(folder):
        raise InputError(f"{folder} is no folder.", "It holds the clips.")
    found: dict[str, str] = {}
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in sorted(files):
            stem, suffix = os.path.splitext(file)
            if suffix.lower() in SUFFIXES and not file.startswith("."):
                found.setdefault(stem, os.path.join(place, file))
    return found


def matched(rows: Sequence[Row], clips: Mapping[str, str]) -> tuple[list[tuple[Row, str]], list[tuple[str, str]]]:
    """Rows with their clips; and (id, reason) of rows without a clip or without a caption."""
    pairs, rejected = [], []
    for row in rows:
        path = clips.get(row.id) or clips.get(os.path.splitext(row.id)[0])
        if path is None:
            rejected.append((row.id, "no clip of this name"))
        elif not row.captions:
            rejected.append((row.id, "no caption"))
        else:
            pairs.append((row, path))
    return pairs, rejected
