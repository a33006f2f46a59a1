"""Work under way that lies in a folder, each piece with a lock: what no process holds was left by a call that
ended.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from vedit.errors import InputError, reason_of


def remove(path: Path) -> None:
    """Remove a file or a folder; one that is gone already is no error."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


class Lock:
    """One process at a time: held until it is released, and gone with the process."""

    def __init__(self, path: Path) -> None:
        self.descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self.is_held = True
        try:
            import fcntl

            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # no such locks on this system: work is kept all the same
            pass
        except OSError:
            self.is_held = False

    def release(self) -> None:
        """Let another run go on with the work; a second time does nothing."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def __del__(self) -> None:
        self.release()


class Work(NamedTuple):
    """What a call that was stopped has done. paths: its files, or its folder. size: bytes on disk."""

    paths: tuple[Path, ...]
    size: int

    def remove(self) -> None:
        """Remove it, its lock last."""
        for path in self.paths:
            remove(path)


def left(place: Path) -> list[Work]:
    """The work in a folder that no call is at now. Raises InputError when the folder cannot be read."""
    try:
        entries = sorted(place.iterdir(), key=lambda path: path.suffix == ".lock") if place.is_dir() else []
    except OSError as error:
        raise InputError(f"{place}: cannot read the folder: {reason_of(error)}.") from None
    found: dict[str, list[Path]] = {}
    for entry in entries:
        found.setdefault(entry.name.partition(".")[0], []).append(entry)
    return [
        Work(tuple(paths), sum(map(_size, paths)))
        for name, paths in found.items()
        if not is_claimed(place / name)
    ]


def is_claimed(path: Path) -> bool:
    """Whether a process works on what has this path."""
    file = path.with_suffix(".lock")
    if not file.exists():
        return False
    lock = Lock(file)
    lock.release()
    return not lock.is_held


def _size(path: Path) -> int:
    """Bytes on disk of a file or of the files in a folder: arrays are made at their full length."""
    return sum(file.stat().st_blocks * 512 for file in (path, *path.rglob("*")) if file.is_file())
