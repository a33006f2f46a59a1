"""The inversions that edits keep: list and remove them, without loading torch."""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """One inversion kept."""

    key: str
    path: str
    size: int
    model: str
    prompt: str


def folder() -> str:
    """Where inversions are kept: VEDIT_CACHE_DIR, or the XDG place."""
    base = os.environ.get("VEDIT_CACHE_DIR") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "vedit")
    return os.path.join(base, "inversions")


def entries() -> list[Entry]:
    """What is kept, newest first; a file that cannot be read is listed without its facts."""
    found = []
    try:
        names = [entry for entry in os.scandir(folder()) if entry.name.endswith(".inv.safetensors")]
    except FileNotFoundError:
        return []
    for file in sorted(names, key=lambda entry: entry.stat().st_mtime, reverse=True):
        facts = _facts(file.path)
        found.append(Entry(file.name.split(".")[0], file.path, file.stat().st_size, facts.get("model", {}).get("id", "?"), facts.get("prompt", "?")))
    return found


def _facts(path: str) -> dict[str, Any]:
    """The `vedit` object of a safetensors header."""
    try:
        with open(path, "rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        return json.loads(header["__metadata__"]["vedit"])  # type: ignore[no-any-return]
    except (OSError, ValueError, KeyError):
        return {}


def clear() -> tuple[int, int]:
    """Remove everything kept; gives the number of files and bytes."""
    kept = entries()
    for entry in kept:
        os.unlink(entry.path)
    return len(kept), sum(entry.size for entry in kept)
