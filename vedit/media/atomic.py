"""Outputs that appear under their name only when complete."""

from __future__ import annotations

import os
import stat
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from vedit.errors import OutputError, UsageError

_unfinished: set[str] = set()  # part files that are being written
_keep: set[str] = set()  # outputs that did not exist when they were checked, and may not be replaced


def check_output(path: str, inputs: tuple[str, ...], overwrite: bool | None, in_place: bool = False) -> None:
    """Refuse an output before any work is done.

    overwrite: True replaces, False refuses, None asks once when a person is there, else refuses.
    What does not exist now and may not be replaced is not replaced later either, see `atomic_path`.
    Raises UsageError when the output is the input, OutputError when it may not or cannot be written.
    """
    if not path:
        raise UsageError("the name of an output is empty.", "A variable of a script may not be set.", "Name a file with -o, or - for standard output")
    if path == "-" or is_special(path):
        return
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path) or path.endswith(("/", os.sep)):
        raise OutputError(f"{path} is a folder.", "", f"Write into it with: -O {path}")
    if not os.path.isdir(folder):
        raise OutputError(f"{path}: there is no folder {folder}.", "", f"Make it with: mkdir -p {folder}")
    _keep.discard(target := os.path.realpath(path))
    if not os.path.exists(path):
        if not (overwrite or in_place):
            _keep.add(target)
        return
    if in_place or overwrite:
        return
    if any(same_file(path, source) for source in inputs):
        raise UsageError(f"{path} is both input and output.", "", "To rewrite it: --in-place (or -y)")
    if overwrite is None and sys.stdin.isatty() and sys.stderr.isatty():
        sys.stderr.write(f"{path} exists. Replace it? [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return
    raise OutputError(f"{path} exists.", "", "Add -y to replace it, or name another output with -o")


def make_folder(folder: str) -> None:
    """Make a folder for outputs, with those above it. Raises OutputError."""
    if not folder:
        raise UsageError("the name of a folder for outputs is empty.", "A variable of a script may not be set.", "Name a folder, or . for this one")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot make the folder: {(error.strerror or str(error)).lower()}.") from None


def refuse_twice(named: Iterable[tuple[str, str | None]]) -> None:
    """Refuse a job in which two outputs are one file, however their names are spelt.

    named: what each is called on the command line, and its path; None and "" are left out.
    """
    seen: dict[tuple[object, str], tuple[str, str]] = {}
    for option, path in named:
        if not path or (path != "-" and is_special(path)):
            continue
        identity = identity_of(path)
        if identity in seen:
            other, first = seen[identity]
            raise UsageError(
                f"{other} {first} and {option} {path} are one file." if path != "-" else f"{other} and {option} would both go to standard output.",
                "Each output has a name of its own.",
            )
        seen[identity] = option, path


def identity_of(path: str) -> tuple[object, str]:
    """Equal for the names of one file, whether it exists or not: through links, and in any case where the disk has one."""
    if path == "-":
        return None, path
    folder, name = os.path.split(os.path.realpath(path))
    try:
        status = os.stat(folder)
    except OSError:
        return folder, name
    swapped = folder.swapcase()
    if swapped != folder and same_file(folder, swapped):
        name = unicodedata.normalize("NFC", name).casefold()
    return (status.st_dev, status.st_ino), name


def same_file(path: str, other: str) -> bool:
    """Whether both names exist and lead to one file."""
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False


def is_special(path: str) -> bool:
    """Whether a path is a device, a pipe or a socket: written directly, never renamed over."""
    try:
        return not stat.S_ISREG(mode := os.stat(path).st_mode) and not stat.S_ISDIR(mode)
    except OSError:
        return False


@contextmanager
def atomic_path(path: str) -> Iterator[str]:
    """A name beside `path` to write to; renamed to `path` on success, removed on any failure.

    The permissions of a file that is replaced are kept. A symbolic link is followed, so the file
    it points to is replaced and the link stays.
    """
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    part = os.path.join(folder, f".{name[:60]}.{os.urandom(4).hex()}.part")  # 60 characters are at most 240 of 255 bytes
    _unfinished.add(part)
    try:
        yield part
        if os.path.exists(target):
            os.chmod(part, stat.S_IMODE(os.stat(target).st_mode))
        os.replace(part, target)
    except BaseException as error:
        try:
            os.unlink(part)
        except OSError:
            pass
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise _cannot_write(path, error) from error
        raise
    finally:
        _unfinished.discard(part)


def remove_unfinished() -> None:
    """Remove the part files of threads that the end of the process, after a signal, leaves no time to finish."""
    for part in list(_unfinished):
        try:
            os.unlink(part)
        except OSError:
            pass


def _cannot_write(path: str, error: OSError) -> OutputError:
    return OutputError(f"{path}: cannot write: {(error.strerror or str(error)).lower()}.")


@contextmanager
def open_output(path: str) -> Iterator[BinaryIO]:
    """Open an output for writing: `-` and special files directly, others atomically."""
    if path == "-":
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _cannot_write("standard output", error) from error
    elif is_special(path):
        try:
            with open(path, "wb") as stream:
                yield stream
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _cannot_write(path, error) from error
    else:
        with atomic_path(path) as part:
            # not created for others to read while it may replace a private file
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
            with open(descriptor, "wb", buffering=1 << 18) as stream:
                yield stream
