"""What edits and scores keep for the next time: list and remove it, without loading torch."""

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


def base() -> str:
    """Where everything is kept: VEDIT_CACHE_DIR, or the XDG place."""
    return os.environ.get("VEDIT_CACHE_DIR") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "vedit")


def folder() -> str:
    """Where inversions are kept."""
    return os.path.join(base(), "inversions")


def features_folder() -> str:
    """Where `vedit score --cache` keeps what its networks computed."""
    return os.path.join(base(), "score", "features")


def features() -> list[tuple[str, int]]:
    """Path and size of each file of kept features."""
    try:
        return [(entry.path, entry.stat().st_size) for entry in os.scandir(features_folder()) if entry.name.endswith(".features.safetensors")]
    except FileNotFoundError:
        return []


def entries() -> list[Entry]:
    """What is kept, newest first; a file that cannot be read is listed without its facts."""
    found = []
    try:
        names = [entry for entry in os.scandir(folder()) if entry.name.endswith(".inv.safetensors")]
    except FileNotFoundError:
        return []
    for file in sorted(names, key=lambda entry: entry.stat().st_mtime, reverse=True):
        facts = _facts(file.path)
        found.append(Entry(file.name.split(".")[0].partition("-")[0], file.path, file.stat().st_size, facts.get("model", {}).get("id", "?"), facts.get("prompt", "?")))
    return found


def _facts(path: str) -> dict[str, Any]:
    """The `vedit` object of a safetensors header."""
    try:
        with open(path, "rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        return json.loads(header["__metadata__"]["vedit"])  # type: ignore[no-any-return]
    except (OSError, ValueError, KeyError):
        return {}


def clear() -> tuple[int, int, int]:
    """Remove everything kept; gives the numbers of inversions and of features, and the bytes of both."""
    kept, of_scores = entries(), features()
    for path in [*(entry.path for entry in kept), *(path for path, _ in of_scores)]:
        os.unlink(path)
    return len(kept), len(of_scores), sum(entry.size for entry in kept) + sum(size for _, size in of_scores)
