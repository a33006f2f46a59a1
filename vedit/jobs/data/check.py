"""Read a data set again and tell what is wrong with it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from vedit.data.folder import uneven_share
from vedit.data.layout import MANIFEST, read_captions, read_rows
from vedit.data.table import SUFFIXES, is_regular
from vedit.errors import InputError, VeditError, reason_of
from vedit.jobs.data.read import Cut, read_cut
from vedit.jobs.watch import Watch, unwatched

LONGEST = 400  # characters of a caption; CLIP reads about 300, T5 2000
UNEVEN = 0.1


class Findings(NamedTuple):
    """What a data set holds: counts by number of frames and by size, captions, and (name, fault) of what is
    wrong.
    """

    folder: str
    clips: int
    frames: dict[int, int]
    sizes: dict[str, int]
    captions: int
    faults: tuple[tuple[str, str], ...]

    @property
    def line(self) -> str:
        def counted(table: dict[int, int] | dict[str, int]) -> str:
            return ", ".join(
                f"{value} ({count})" if len(table) > 1 else str(value)
                for value, count in list(table.items())[:5]
            )

        return (
            f"{self.folder}: {self.clips} clips, {self.captions} captions; frames {counted(self.frames)};"
            f" size {counted(self.sizes)}"
        )


def check_set(folder: str, *, watch: Watch = unwatched) -> Findings:
    """Look at every clip and caption of a folder. Raises InputError when there are no clips."""
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder}: cannot read: {reason_of(error)}.") from None
    clips = [name for name in names if name.lower().endswith(SUFFIXES)]
    if not clips:
        raise InputError(f"{folder} holds no clips.", "A data set is NAME.gif with NAME.txt beside it.")
    rows = {
        file: row for row in read_rows(Path(folder, MANIFEST)) if isinstance(file := row.get("file"), str)
    }
    frames: Counter[int] = Counter()
    sizes: Counter[str] = Counter()
    same: dict[str, str] = {}
    faults: list[tuple[str, str]] = []
    captions = 0
    for name in watch(clips, len(clips), "check"):
        path = Path(folder, name)
        if not is_regular(path):
            faults.append((name, "is not a file with an end"))
            continue
        try:
            texts = read_captions(path.with_suffix(".txt"))
        except InputError as error:
            faults.append((name, error.what.rstrip(".")))
            continue
        captions += len(texts)
        faults += [(name, fault) for fault in _caption_faults(path, texts)]
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if name in rows and rows[name].get("sha256") != digest:
            faults.append((name, "differs from what the manifest says"))
        if digest in same:
            faults.append((name, f"is the same file as {same[digest]}"))
        same.setdefault(digest, name)
        try:
            pictures = read_cut(str(path), Cut())
        except VeditError as error:
            faults.append((name, error.what.removeprefix(f"{path}: ").rstrip(".")))
            continue
        count, height, width = pictures.frames_FYX3.shape[:3]
        frames[count] += 1
        sizes[f"{width}x{height}"] += 1
        if (uneven := uneven_share([delay / 100 for delay in pictures.delays_cs])) > UNEVEN:
            faults.append((name, f"{uneven:.0%} of the frames have another delay than the rest"))
    faults += [(name, "in the manifest, and not there") for name in rows if name not in clips]
    return Findings(
        folder, len(clips), dict(frames.most_common()), dict(sizes.most_common()), captions, tuple(faults)
    )


def _caption_faults(path: Path, texts: tuple[str, ...]) -> list[str]:
    if not path.with_suffix(".txt").exists():
        return ["has no caption file"]
    if not texts:
        return ["its caption file is empty"]
    return [f"a caption of {len(text)} characters" for text in texts if len(text) > LONGEST]
