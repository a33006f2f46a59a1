"""The layout of a data set on disk: NAME.gif (or NAME.mp4) beside NAME.txt, and what is known of each.

dataset.json     kind, settings, licence; written first, so a folder tells what it is meant to hold
NAME.gif         the clip
NAME.txt         its captions, UTF-8, one a line
manifest.jsonl   one row a clip: what it shows, where it comes from, its hash
rejected.tsv     what was left out, and why
journal.jsonl    rows of a conversion that has not ended; gone when it has
.inspected.jsonl what is known of each clip of a folder that was looked through
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from vedit.documents import Kind, read_bytes, whole_lines
from vedit.errors import InputError, reason_of
from vedit.plain import digest

if TYPE_CHECKING:
    import numpy as np

MANIFEST, JOURNAL, REJECTED, SETTINGS = "manifest.jsonl", "journal.jsonl", "rejected.tsv", "dataset.json"
INSPECTED = ".inspected.jsonl"
FORMAT, VERSION = "vedit-dataset", 1
ROWS = Kind("the rows of a data set", largest=2**30, names_files=True)
CAPTIONS = Kind("captions", right="They stand one a line in NAME.txt.", largest=2**20)


class Pictures(NamedTuple):
    """A clip in memory: frames_FYX3 uint8 RGB, and how long each is shown in centiseconds.

    captions: those that were read from the pixels.
    """

    frames_FYX3: np.ndarray
    delays_cs: list[int]
    captions: tuple[str, ...] = ()


class Item(NamedTuple):
    """One clip that a data set is to hold.

    name: of its files, without a suffix. source: where it comes from, for the manifest.
    stamp: changes when the source does. read: decodes it; raises VeditError for a corrupt clip.
    facts: further columns of its row.
    """

    name: str
    captions: tuple[str, ...]
    source: str
    stamp: str
    read: Callable[[], Pictures]
    facts: Mapping[str, Any] = MappingProxyType({})

    def key(self, settings: Mapping[str, Any]) -> str:
        """A hash of all that its files depend on: a row with the same key need not be made again."""
        parts = [self.name, self.captions, self.source, self.stamp, dict(self.facts), dict(settings)]
        return digest(parts)[:32]


def file_stamp(path: str | Path) -> str:
    """Size and time of the last change of a file, or of the files of a folder."""
    place = Path(path)
    files = sorted(place.iterdir()) if place.is_dir() else [place]
    try:
        return ",".join(f"{(facts := file.stat()).st_size}:{facts.st_mtime_ns}" for file in files)
    except OSError as error:
        raise InputError(f"{path}: cannot read: {reason_of(error)}.") from None


def clip_name(text: str) -> str:
    """A file name for a clip: letters, digits, dash, dot and underscore of any script; never hidden."""
    return re.sub(r"[^\w.-]+", "_", text.replace(os.sep, "__")).lstrip(".")[:120] or "clip"


def unique(names: Iterable[str]) -> Iterator[str]:
    """The names in order, a second one of the same spelling (in any case) as NAME-2."""
    taken: set[str] = set()
    for name in names:
        candidate, number = name, 1
        while candidate.lower() in taken:
            number += 1
            candidate = f"{name}-{number}"
        taken.add(candidate.lower())
        yield candidate


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON-lines file, [] when there is none; a line torn by a kill is left out."""
    try:
        return list(whole_lines(path, ROWS)) if path.exists() else []
    except OSError:
        return []


def as_lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows).encode()


def tidy(caption: str) -> str:
    """A caption on one line, without characters that are not shown."""
    return " ".join("".join(char if char.isprintable() else " " for char in caption).split())


def read_captions(path: Path) -> tuple[str, ...]:
    """The captions of a side file, one a line; () when it is absent or empty."""
    try:
        text = read_bytes(path, CAPTIONS).decode("utf-8-sig", "replace") if path.exists() else ""
    except OSError:
        return ()
    return tuple(caption for line in text.splitlines() if (caption := tidy(line)))
