"""A table of clips that the user is entitled to use: one row a caption, clips found by their id.

There is no downloader. WebVid's page says that its URLs and captions are withdrawn at the request
of Shutterstock; a table of ids and captions with one's own copies of the clips works as ever.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vedit import documents
from vedit.data.layout import tidy
from vedit.documents import Kind
from vedit.errors import InputError, UsageError, nearest

SUFFIXES = (".gif", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".apng", ".webp")
TABLE = Kind("a readable table", right="It is CSV, TSV or JSON lines; split a larger one.", largest=2**28)


class Row(NamedTuple):
    """A clip of a table: its id, all its captions in the table's order, further columns of its first row."""

    id: str
    captions: tuple[str, ...]
    facts: Mapping[str, str]


def read_table(path: str | Path) -> Iterator[dict[str, Any]]:
    """Rows of a CSV, TSV or JSON-lines file by its suffix. Raises InputError naming the line."""
    suffix = Path(path).suffix.lower()
    if suffix in (".csv", ".tsv"):
        return iter(documents.read_table(path, TABLE, "\t" if suffix == ".tsv" else ","))
    if suffix in (".jsonl", ".ndjson"):
        return (row for _, row in documents.read_json_lines(path, TABLE))
    raise InputError(
        f"{path}: no table is known by the suffix {suffix or '(none)'}.",
        "A table is a .csv, .tsv or .jsonl file.",
    )


def group(rows: Iterable[dict[str, Any]], id_column: str, caption_column: str, name: str) -> list[Row]:
    """Rows with the same id as one clip with several captions, in the order they first come."""
    captions: dict[str, list[str]] = {}
    facts: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows):
        if number == 0:
            for column in (id_column, caption_column):
                if column not in row:
                    raise UsageError(
                        f"{name} has no column {column!r}{nearest(column, row)}",
                        f"Its columns are: {', '.join(map(str, row))}.",
                    )
        clip, caption = str(row.get(id_column) or "").strip(), tidy(str(row.get(caption_column) or ""))
        if clip:
            known = captions.setdefault(clip, [])
            if caption and caption not in known:
                known.append(caption)
            facts.setdefault(
                clip,
                {
                    str(key): str(value)
                    for key, value in row.items()
                    if key not in (id_column, caption_column) and value
                },
            )
    if not captions:
        raise InputError(f"{name} holds no rows.")
    return [Row(clip, tuple(texts), facts[clip]) for clip, texts in captions.items()]


def index_clips(folder: str | Path) -> dict[str, str]:
    """Clips of a folder and the folders in it, by their name without suffix; the first in sorted order
    counts.
    """
    if not os.path.isdir(folder):
        raise InputError(f"{folder} is not a folder.", "It holds the clips.")
    found: dict[str, str] = {}
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in sorted(files):
            stem, suffix = os.path.splitext(file)
            path = os.path.join(place, file)
            if suffix.lower() in SUFFIXES and not file.startswith(".") and is_regular(path):
                found.setdefault(stem, path)
    return found


def is_regular(path: str | Path) -> bool:
    """Whether a path is a file with an end: not a pipe, a device or a folder that is called like a clip."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def matched(
    rows: Sequence[Row], clips: Mapping[str, str]
) -> tuple[list[tuple[Row, str]], list[tuple[str, str]]]:
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
