"""The state of a batch as files: what is planned, done, failed and at work, one JSON a file.

    OUT/.vedit-batch/plan.jsonl       the items, with key and name
                     done/KEY.json    written by the worker, behind its output
                     failed/KEY.json  exit code, message, attempts, log
                     claim/KEY        host and process that is at it
                     log/KEY.N.txt    what the worker said at attempt N
                     events.jsonl     what happened, in order

Files appear by rename or by an exclusive link, so that a call that is killed at any moment leaves nothing
that
stops the next, and several calls on one folder share the work, on a file server too.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vedit.documents import Kind, add_line, read_bytes, read_json
from vedit.errors import OutputError, VeditError, reason_of
from vedit.media.atomic import make_folder, open_output
from vedit.plain import json_text

FOLDER = ".vedit-batch"
RECORD = Kind("a record of a batch", largest=2**20, names_files=True)
PLAN = Kind("the plan of a batch", largest=2**30, names_files=True)
STALE_S = 600.0
LINE = {
    "row", "where", "key", "output", "twin", "label", "axes", "video", "edit", "request", "written", "extra",
}  # fmt: skip  # keys of a line of the plan
PARTS = ("done", "failed", "claim", "log")


class State:
    """The state below an output folder."""

    def __init__(self, out: str) -> None:
        self.out = out
        self.folder = Path(out) / FOLDER
        self.host = platform.node()
        self.space = pid_space()

    def make(self) -> None:
        """Make the folders. Raises OutputError."""
        make_folder(self.out)
        for part in PARTS:
            make_folder(str(self.folder / part))
        for left in (self.folder / "claim").glob(".*.claim"):  # of calls that were killed while they claimed
            with suppress(OSError):
                if self._now() - left.stat().st_mtime > STALE_S:
                    left.unlink()

    @property
    def exists(self) -> bool:
        return (self.folder / "plan.jsonl").exists()

    def path(self, part: str, key: str) -> str:
        return str(self.folder / part / (key if part == "claim" else f"{key}.json"))

    def log(self, key: str, attempt: int) -> str:
        return str(self.folder / "log" / f"{key}.{attempt}.txt")

    # --- the plan -----------------------------------------------------------------------------

    def write_plan(self, items: Iterable[Mapping[str, Any]]) -> None:
        with open_output(str(self.folder / "plan.jsonl")) as stream:
            for item in items:
                stream.write((json_text(item) + "\n").encode())

    def read_plan(self) -> list[dict[str, Any]]:
        """The items of the last plan, without lines that a bad disk has torn."""
        path = self.folder / "plan.jsonl"
        lines = read_bytes(path, PLAN).splitlines() if path.exists() else []
        return [line for text in lines if (line := _table(text)) and line.keys() >= LINE]

    # --- records ------------------------------------------------------------------------------

    def keys(self, part: str) -> set[str]:
        """The keys that have a record in "done" or "failed"."""
        folder = self.folder / part
        names = os.listdir(folder) if folder.is_dir() else []
        return {name.removesuffix(".json") for name in names if name[0] != "."}

    def records(self, part: str, only: Set[str] | None = None) -> dict[str, dict[str, Any]]:
        """The records of "done" or "failed" by key, all or some; one that cannot be read is missing."""
        found = {}
        folder = str(self.folder / part)
        for key in self.keys(part) if only is None else self.keys(part) & only:
            with suppress(OSError), open(f"{folder}/{key}.json", "rb") as file:
                if record := _table(file.read(RECORD.largest)):
                    found[key] = record
        return found

    def record(self, part: str, key: str) -> dict[str, Any] | None:
        try:
            found = read_json(self.path(part, key), RECORD)
        except VeditError:
            return None
        return found if isinstance(found, dict) else None

    def write(self, part: str, key: str, record: Mapping[str, Any]) -> None:
        write_record(self.path(part, key), record)

    def remove(self, part: str, key: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self.path(part, key))

    def is_done(self, record: Mapping[str, Any] | None, output: str | None = None) -> bool:
        """Whether a record is there, and its output, or another of the same bytes, with the size it had."""
        if record is None:
            return False
        try:
            found = os.stat(os.path.join(self.out, output or str(record["output"])))
            return bool(found.st_size == record["bytes"])
        except (OSError, KeyError, ValueError):
            return False

    # --- claims -------------------------------------------------------------------------------

    def claim(self, key: str, pid: int) -> bool:
        """Take an item for a process of this call; False when another has it."""
        path = self.path("claim", key)
        content = json.dumps(
            {
                "host": self.host,
                "space": self.space,
                "pid": os.getpid(),
                "began": began(os.getpid()),
                "worker": pid,
                "worker_began": began(pid),
            }
        )
        for _ in range(2):
            if self._place(path, content):
                return True
            if not self.is_stale(key):
                return False
            with suppress(FileNotFoundError):
                os.unlink(path)
        return False

    def _place(self, path: str, content: str) -> bool:
        """Put a whole file where nobody has one."""
        part = str(self.folder / "claim" / f".{os.urandom(6).hex()}.claim")
        try:
            with open(part, "w", encoding="utf-8") as file:
                file.write(content)
            try:
                os.link(part, path)
            except FileExistsError:
                return False
            except OSError:  # a mount without hard links
                try:
                    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    return False
                os.replace(part, path)
            return True
        except OSError as error:
            raise OutputError(f"{path}: cannot write: {reason_of(error)}.") from None
        finally:
            with suppress(OSError):
                os.unlink(part)

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Do what one call at a time may do, on whatever machine; wait for another that is at it."""
        while not self.claim(what, os.getpid()):
            time.sleep(0.1)
        try:
            yield
        finally:
            self.release(what)

    def release(self, key: str) -> None:
        self.remove("claim", key)

    def touch(self, keys: Iterable[str]) -> None:
        for key in keys:
            with suppress(OSError):
                os.utime(self.path("claim", key))

    def is_stale(self, key: str) -> bool:
        """Whether nobody is at a claimed item any more: its processes, where they are seen from here, have
        ended, or it was not touched for ten minutes by the clock of the file server.
        """
        path = self.path("claim", key)
        try:
            touched = os.stat(path).st_mtime
            with open(path, encoding="utf-8") as file:
                claim = json.loads(file.read(4096) or "{}")
        except FileNotFoundError:
            return True
        except (OSError, ValueError):
            claim, touched = {}, os.stat(path).st_mtime if os.path.exists(path) else 0.0
        is_here = isinstance(claim, dict) and claim.get("host") == self.host
        if is_here and claim.get("space", self.space) == self.space:
            ids = (("pid", "began"), ("worker", "worker_began"))
            return not any(is_alive(claim.get(pid), claim.get(start)) for pid, start in ids)
        return self._now() - touched > STALE_S

    def _now(self) -> float:
        clock = self.folder / "claim" / ".clock"
        clock.touch()
        return clock.stat().st_mtime

    # --- events -------------------------------------------------------------------------------

    def event(self, event: Mapping[str, Any]) -> None:
        """Add a line to what happened; a disk that is full does not end the batch here."""
        line = {"time": round(time.time(), 3), "host": self.host, "pid": os.getpid(), **event}
        with suppress(OSError):
            add_line(self.folder / "events.jsonl", line)


def _table(text: bytes) -> dict[str, Any] | None:
    """The table that a line of ours holds; there may be many thousands, which are not looked at further."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def made_in(out: str) -> set[str]:
    """The real paths of what batches made in a folder, or were to make."""
    outputs = [str(line.get("output")) for line in State(out).read_plan() if not line.get("is_refused")]
    return {os.path.realpath(os.path.join(out, output)) for output in outputs}


def write_record(path: str, record: Mapping[str, Any]) -> None:
    with open_output(path) as stream:
        stream.write((json_text(record) + "\n").encode())


def began(pid: int) -> str:
    """When a process began, where the system says; a number that is used again is another process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def pid_space() -> str:
    """What tells containers on one host apart: the processes of one are not those of another."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def has_ended(pid: int) -> bool:
    """Whether a process is a mere entry that nobody has asked for, as all are that end in a container whose
    first process asks for none.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except (OSError, IndexError):
        return False


def is_alive(pid: Any, start: Any) -> bool:
    if not isinstance(pid, int) or pid <= 0 or has_ended(pid):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        pass
    return not start or began(pid) in ("", start)
