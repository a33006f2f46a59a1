"""Benchmarks of editing: V2VBench and the thesis set, as clips with prompts and their edits.

V2VBench (https://huggingface.co/datasets/Wenhao-Sun/V2VBench): frames/VIDEO_ID/NN.png and a YAML
file whose list `data` holds {video_id, prompt, edit: [{prompt}, ...]}.

The thesis set (section 5.1): 8 frames, every stride-th with a stride chosen per clip, 512x512 cut
from the middle or beside it, one source prompt, one target prompt of three kinds (foreground,
background, style). Its list is the same with the keys `stride`, `start` and `offset` per clip and a
`kind` per edit; TOML ([[data]]) and JSON are read too. The text does not say how the kind was drawn:
here it is drawn by the clip's name, so that it can be repeated.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vedit.data.layout import tidy
from vedit.data.table import index_clips
from vedit.documents import Kind, read_json, read_toml, read_yaml
from vedit.errors import InputError

LIST = Kind("a readable list", right="It is YAML, TOML or JSON with a list `data` of clips.")
MOST_FRAMES = 10**9  # that a number in a list may skip
KEYS = ("video_id", "prompt", "edit", "stride", "start", "offset")


class Edit(NamedTuple):
    """A target prompt and what it changes: foreground, background, style; "" where the list does not say."""

    prompt: str
    kind: str = ""


class Entry(NamedTuple):
    """A clip of a benchmark; stride, start and offset as in `app.data_read.Cut`, None where the list is
    silent.
    """

    id: str
    prompt: str
    edits: tuple[Edit, ...]
    stride: int | None = None
    start: int | None = None
    offset: float | None = None


def read_list(path: str | Path) -> list[Entry]:
    """Entries of a YAML, TOML or JSON list. Raises InputError naming the entry that is wrong."""
    read = {".toml": read_toml, ".json": read_json}.get(Path(path).suffix.lower(), read_yaml)
    about = read(path, LIST)
    rows = about.get("data") if isinstance(about, dict) else about
    if not isinstance(rows, list) or not rows:
        raise InputError(
            f"{path}: holds no list `data` of clips.",
            "Each entry has video_id, prompt and edit, as V2VBench's.",
        )
    return [_entry(row, f"{path}: entry {number}") for number, row in enumerate(rows, 1)]


def _entry(row: Any, where: str) -> Entry:
    if not isinstance(row, dict) or "video_id" not in row:
        raise InputError(f"{where} has no video_id.", f"Its keys are: {', '.join(KEYS)}.")
    unknown = sorted(set(row) - set(KEYS) - {"category", "source", "url"})
    if unknown:
        raise InputError(f"{where} has the key {unknown[0]!r}.", f"Its keys are: {', '.join(KEYS)}.")
    try:
        edits = tuple(
            Edit(tidy(edit["prompt"]), str(edit.get("kind", edit.get("type", ""))))
            for edit in row.get("edit") or ()
        )
        numbers = {
            key: row.get(key) if row.get(key) is None else int(row[key]) for key in ("stride", "start")
        }
        offset = None if row.get("offset") is None else float(row["offset"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(
            f"{where} ({row['video_id']}) is not as it should be: {error!r}.",
            "edit is a list of {prompt, kind}.",
        ) from None
    stride, start = numbers["stride"] or 1, numbers["start"] or 0
    if not 1 <= stride <= MOST_FRAMES or not 0 <= start <= MOST_FRAMES or not -1 <= (offset or 0) <= 1:
        raise InputError(
            f"{where} ({row['video_id']}) is out of range.",
            "stride is 1 or more, start 0 or more, offset -1 to 1.",
        )
    return Entry(
        str(row["video_id"]),
        tidy(str(row.get("prompt") or "")),
        edits,
        numbers["stride"],
        numbers["start"],
        offset,
    )


def drawn_edit(entry: Entry, seed: int) -> tuple[Edit, ...]:
    """One edit of the entry, drawn by its name and the seed; () when it has none."""
    if not entry.edits:
        return ()
    digest = hashlib.sha256(f"{seed}:{entry.id}".encode()).digest()
    return (entry.edits[int.from_bytes(digest[:8], "big") % len(entry.edits)],)


def find_videos(folder: str | Path) -> dict[str, str]:
    """Clips of a benchmark folder by id: files anywhere in it, and folders of pictures such as
    frames/ID/01.png.
    """
    found = index_clips(folder)
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if any(name.lower().endswith((".png", ".jpg", ".jpeg")) for name in files) and place != str(folder):
            found.setdefault(os.path.basename(place), place)
    return found


def edit_rows(entry: Entry, file: str) -> list[dict[str, str]]:
    """The rows of edits.jsonl for a clip."""
    return [
        {"video": file, "source_prompt": entry.prompt, "target_prompt": edit.prompt, "kind": edit.kind}
        for edit in entry.edits
    ]


def suite(entries: Sequence[tuple[Entry, str]]) -> str:
    """The same as the index that `vedit score` reads: TOML of entries with their files."""
    lines = []
    for entry, file in entries:
        named = {"id": entry.id, "source": file, "source_prompt": entry.prompt}
        lines += [
            "[[video]]",
            *(f"{key} = {json.dumps(text, ensure_ascii=False)}" for key, text in named.items()),
        ]
        for edit in entry.edits:
            lines += ["[[video.edit]]", f"prompt = {json.dumps(edit.prompt, ensure_ascii=False)}"]
        lines.append("")
    return "\n".join(lines)
