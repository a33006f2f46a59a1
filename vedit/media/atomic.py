"""Outputs that appear under their name only when complete."""

from __future__ import annotations

import os
import re
import stat
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from vedit.errors import OutputError, UsageError, may_replace, option, reason_of
from vedit.media.stopping import finish, held

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

RECORD_SUFFIX = ".vedit.json"  # of the run record beside an output, see `vedit.jobs.record`
PART_NAME = r"\..*\.vedit-[0-9a-f]{8}\.part"  # compiled when a name may be one

_unfinished: set[_Part] = set()  # what is being written
_cleared: set[str] = set()  # folders without parts of killed runs
_local = threading.local()  # parts: those of `together`, on the thread that is in it
_keep: set[str] = set()  # outputs that did not exist when they were checked, and may not be replaced


def check_output(path: str, inputs: tuple[str, ...], overwrite: bool | None, in_place: bool = False) -> None:
    """Refuse an output before any work is done.

    overwrite: True replaces, False refuses, None lets the face at work decide, see `errors.answer`.
    What does not exist now and may not be replaced is not replaced later either, see `atomic_path`.
    Raises UsageError when the output is the input, OutputError when it may not or cannot be written.
    """
    if not path:
        raise UsageError(
            "the name of an output is empty.",
            "A variable of a script may not be set.",
            f"Name a file with {option('output')}, or - for standard output",
        )
    if path == "-" or is_special(path):
        return
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path) or path.endswith(("/", os.sep)):
        raise OutputError(f"{path} is a folder.", "", f"Write into it with: {option('output_dir', path)}")
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
        ways = f"{option('in_place', True)} (or {option('overwrite', True)})"
        raise UsageError(f"{path} is both input and output.", "", f"To rewrite it: {ways}")
    if overwrite is None and may_replace(path):
        return
    raise OutputError(f"{path} exists.", "", replace_or_rename())


def stands_in_the_way(path: str) -> bool:
    """Whether there is now, under a name that was free when it was checked, what may not be replaced."""
    return os.path.realpath(path) in _keep and os.path.lexists(path)


def replace_or_rename() -> str:
    """What to do about an output that is in the way."""
    return f"Add {option('overwrite', True)} to replace it, or name another output with {option('output')}"


def make_folder(folder: str) -> None:
    """Make a folder for outputs, with those above it. Raises OutputError."""
    if not folder:
        raise UsageError(
            "the name of a folder for outputs is empty.",
            "A variable of a script may not be set.",
            "Name a folder, or . for this one",
        )
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot make the folder: {reason_of(error)}.") from None


def refuse_twice(named: Iterable[tuple[str, str | None]]) -> None:
    """Refuse a job in which two outputs are one file, however their names are spelt.

    named: what each is called in messages, and its path; None and "" are left out.
    """
    seen: dict[tuple[object, str], tuple[str, str]] = {}
    for name, path in named:
        if not path or (path != "-" and is_special(path)):
            continue
        identity = identity_of(path)
        if identity in seen:
            other, first = seen[identity]
            raise UsageError(
                (
                    f"{other} {first} and {name} {path} are one file."
                    if path != "-"
                    else f"{other} and {name} would both go to standard output."
                ),
                "Each output has a name of its own.",
            )
        seen[identity] = name, path


def identity_of(path: str) -> tuple[object, str]:
    """Equal for the names of one file, whether it exists or not: through links, and in any case where the
    disk has one.
    """
    if path == "-":
        return None, path
    folder, name = os.path.split(os.path.realpath(path))
    try:
        status = os.stat(folder)
    except OSError:
        return folder, name
    swapped = folder.swapcase()
    if swapped != folder and same_file(folder, swapped):
        import unicodedata

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


class _Part:
    """A file or a folder beside its target, locked by this process until it takes the target's name or goes.

    The lock tells the parts of killed runs from those in work. path: as the caller named the target.
    """

    def __init__(self, path: str, is_folder: bool = False) -> None:
        self.path = path
        self.target = os.path.realpath(path)
        self.is_folder = is_folder
        folder, name = os.path.split(self.target)
        _remove_abandoned(folder)
        while True:
            # 55 characters are at most 220 of the 255 bytes that a name may have
            self.part = os.path.join(folder, f".{name[:55]}.vedit-{os.urandom(4).hex()}.part")
            self.lock = self._make()
            if self.lock is None or _is_same(
                self.part, self.lock
            ):  # else another process took it for abandoned
                break
            os.close(self.lock)
        _unfinished.add(self)

    def _make(self) -> int | None:
        if self.is_folder:
            os.mkdir(self.part)
        else:
            # not open to others while it may replace a private file
            mode = (
                stat.S_IMODE(os.stat(self.target).st_mode) | 0o600 if os.path.isfile(self.target) else 0o666
            )
            os.close(os.open(self.part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        if not fcntl:
            return None
        descriptor = os.open(self.part, os.O_RDONLY)
        with suppress(OSError):  # a file system without locks: its abandoned parts stay
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return descriptor

    def take_name(self) -> None:
        """Give the part its target's name. A target that was not there when it was checked is kept."""
        if self.is_folder:
            self._take_folder_name()
        elif self.target in _keep:
            _rename_new(self.part, self.target, self.path)
            _keep.discard(self.target)
        else:
            if os.path.exists(self.target):
                os.chmod(self.part, stat.S_IMODE(os.stat(self.target).st_mode))
            os.replace(self.part, self.target)
        for name in {self.path.rstrip(os.sep), self.target}:
            if not name.endswith(RECORD_SUFFIX):  # the record of what was there before does not describe this
                with suppress(OSError):
                    os.unlink(name + RECORD_SUFFIX)
        self._close()

    def _take_folder_name(self) -> None:
        if not os.path.isdir(self.target):
            os.rename(self.part, self.target)
        else:
            _move_into(self.part, self.target)

    def remove(self) -> None:
        with suppress(OSError):
            _remove(self.part, self.is_folder)
        self._close()

    def _close(self) -> None:
        _unfinished.discard(self)
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None


def _remove(path: str, is_folder: bool) -> None:
    if not is_folder:
        os.unlink(path)
        return
    import shutil  # with the archives it knows it costs every start 3 ms

    shutil.rmtree(path)


def _is_same(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False


def _rename_new(part: str, target: str, path: str) -> None:
    """Give a file a name that nobody has. Raises OutputError when somebody took it meanwhile."""
    try:
        try:
            os.link(part, target)
        except FileExistsError:
            raise
        except OSError:  # no hard links here: take the name, then replace what we put there
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            os.replace(part, target)
            return
    except FileExistsError:
        raise OutputError(
            f"{path} appeared while its content was being made, and is left as it is.",
            "",
            replace_or_rename(),
        ) from None
    os.unlink(part)


def _move_into(part: str, folder: str) -> None:
    """Move files into a folder that holds others: all of them, or after an error none."""
    moved: list[tuple[str, str | None]] = []
    try:
        for name in sorted(os.listdir(part)):
            target, kept = os.path.join(folder, name), None
            if os.path.lexists(target):
                kept = os.path.join(part, f".{len(moved)}.old")
                os.rename(target, kept)
            moved.append((target, kept))
            os.rename(os.path.join(part, name), target)
    except OSError:
        for target, kept in reversed(moved):
            with suppress(OSError):
                os.unlink(target) if kept is None else os.replace(kept, target)
        raise
    with suppress(OSError):
        _remove(part, is_folder=True)


def _is_part(name: str) -> bool:
    return name.endswith(".part") and re.fullmatch(PART_NAME, name, re.DOTALL) is not None


def _remove_abandoned(folder: str) -> None:
    """Remove the part files of killed runs: those that nobody holds a lock on.

    Once per folder and process.
    """
    if folder in _cleared or not fcntl:
        return
    _cleared.add(folder)
    with suppress(OSError):
        for name in filter(_is_part, os.listdir(folder)):
            path = os.path.join(folder, name)
            with suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(path, stat.S_ISDIR(os.fstat(descriptor).st_mode))
                finally:
                    os.close(descriptor)


@contextmanager
def together(is_last: bool = False) -> Iterator[None]:
    """Let the outputs that this thread writes inside take their names at the end: all of them, or none.

    is_last: nothing else is to be done, so that a signal from then on changes nothing: the job is
    whole, and the process exits 0.
    """
    if getattr(_local, "parts", None) is not None:
        yield
        return
    parts: list[_Part] = []
    _local.parts = parts
    try:
        yield
        with held():
            for part in parts:
                _refuse_new(part)
            for part in parts:
                with _told(part.path):
                    part.take_name()
            if is_last:
                finish()
    finally:
        _local.parts = None
        for part in parts:
            if part in _unfinished:
                part.remove()


@contextmanager
def apart() -> Iterator[None]:
    """Let the outputs written inside take their names at once, also within `together`: what a cache keeps is
    read soon.
    """
    kept, _local.parts = getattr(_local, "parts", None), None
    try:
        yield
    finally:
        _local.parts = kept


def _refuse_new(part: _Part) -> None:
    if part.target in _keep and os.path.lexists(part.target):
        _rename_new(part.part, part.target, part.path)  # which raises


def whereabouts(path: str) -> str:
    """Where the content of an output lies by now: under its name, or inside `together` still in its part."""
    target = os.path.realpath(path)
    return next((part.part for part in getattr(_local, "parts", None) or () if part.target == target), path)


@contextmanager
def atomic_path(path: str, is_folder: bool = False) -> Iterator[str]:
    """A file or folder beside `path` to write to; it gets the name `path` on success, and goes on any
    failure.

    The permissions of a file that is replaced are kept. A symbolic link is followed, so the file
    it points to is replaced and the link stays. A folder gets the files, all or none.
    """
    with _told(path):
        part = _Part(path, is_folder)
        try:
            yield part.part
            if getattr(_local, "parts", None) is not None:
                _local.parts.append(part)
                return
            with held():
                part.take_name()
        except BaseException:
            part.remove()
            raise


@contextmanager
def _told(path: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _cannot_write(path, error) from error


def remove_unfinished() -> None:
    """Remove the part files of threads that a signal's end of the process leaves no time to finish."""
    for part in list(_unfinished):
        part.remove()


def _cannot_write(path: str, error: OSError) -> OutputError:
    return OutputError(f"{path}: cannot write: {reason_of(error)}.")


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
        with atomic_path(path) as part, open(part, "wb", buffering=1 << 18) as stream:
            yield stream
