"""The folder of a training run: one process at a time trains in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vedit.errors import OutputError, option, reason_of

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Make the run folder, and keep other calls out of it; the system lets go when the process ends, however
    it ends.

    Raises OutputError where the folder cannot be written, or while another call trains in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot write into the run folder: {reason_of(error)}.",
            "",
            f"Name another with {option('folder')}",
        ) from None
    try:
        if fcntl:
            _take(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        who = os.read(descriptor, 20).decode("ascii", "replace").strip()
        by = f" (process {who})" if who.isdigit() else ""
        raise OutputError(
            f"{folder}: another vedit train works in this run folder{by}.",
            "Two would write over each other's states.",
            f"Wait for it or stop it (the state is kept), or name another folder with {option('folder')}",
        ) from None
    except OSError:  # a file system without locks
        return
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
