"""What is to be made, and the run that makes it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from vedit.errors import UsageError
from vedit.ui.controls import FORMATS, Spec

Event = dict[str, Any]
QUIET_S = 0.1  # between two events of progress


class Aim(NamedTuple):
    """Where results go. mode: "file" into `target` alone, "folder" into that folder, "" to downloads. fixed:
    the format that the name behind -o asks for, or "".
    """

    mode: str = ""
    target: str = ""
    fixed: str = ""

    def name_for(self, source: str, format: str) -> str:
        """What a result of a source is saved as."""
        if self.mode == "file":
            return os.path.basename(self.target)
        return f"{os.path.splitext(os.path.basename(source))[0]}-edited.{format}"


def aim_at(mode: str, target: str) -> Aim:
    """Raises UsageError for a format that the page cannot make."""
    from vedit.media.formats import output_format

    if mode != "file":
        return Aim(mode, target)
    format = output_format(target)
    format = {"png": "apng"}.get(format, format)
    if format not in FORMATS:
        raise UsageError(f"{target}: the page makes {', '.join(FORMATS)}.")
    return Aim(mode, target, format)


class Superseded(Exception):
    """A newer run takes the place of this one, or nobody waits for it."""


class Source(NamedTuple):
    """A clip. name: as the user calls it. digest: the hash of its bytes, "" for a file that is read in place
    and may change.
    """

    id: str
    name: str
    path: str
    digest: str = ""

    @property
    def identity(self) -> str:
        """Another text whenever the content may be another."""
        if self.digest:
            return self.digest
        status = os.stat(self.path)
        return f"{os.path.realpath(self.path)} {status.st_size} {status.st_mtime_ns} {status.st_ino}"


class File(NamedTuple):
    """A logo, a font, captions. path: where it lies; name: as the user calls it."""

    name: str
    path: str
    digest: str


class Job(NamedTuple):
    """What is to be made of a source.

    chain: as the page has it; specs: with the paths of files. output: with the user's names for them; fields:
    of the request that makes it.
    """

    revision: str
    source: Source
    chain: list[Spec]
    specs: list[Spec]
    output: dict[str, str]
    fields: dict[str, Any]
    first: int

    @property
    def offset(self) -> int:
        """How many stages are put in front of those of the page."""
        has_part = any(self.fields.get(key) is not None for key in ("start", "end", "duration"))
        return (self.first > 0) + has_part

    def request(self, target: str) -> Any:
        from vedit.jobs.media.gif import GifRequest

        part = [("frames", {"keep": f"1-{self.first}"})] if self.first else []
        return GifRequest(
            (self.source.path,), tuple([*part, *self.specs]), output=target, overwrite=True, **self.fields
        )

    def place(self, stage: int | None) -> int | None:
        """The place in the page's chain of a stage that runs; None for one that the page has not."""
        place = None if stage is None else stage - self.offset
        return place if place is not None and 0 <= place < len(self.chain) else None


class Run:
    """A job at work for a page."""

    def __init__(self, job: Job, page: str) -> None:
        self.job, self.page = job, page
        self.is_over = threading.Event()
        self.warnings: list[dict[str, Any]] = []


class PageSink:
    """Whom a run tells: it passes frames on until nobody waits for them.

    named: a text with the user's names for files. emit: told how far it is.
    """

    def __init__(self, run: Run, named: Callable[[str], str], emit: Callable[[Event], None]) -> None:
        self.run, self.named, self.emit = run, named, emit

    def warn(self, message: str) -> None:
        from vedit.media.pipeline import stage_at_work

        text = message.removeprefix(f"{self.run.job.source.path}: ")
        warning = {"text": self.named(text), "stage": self.run.job.place(stage_at_work())}
        if warning not in self.run.warnings:
            self.run.warnings.append(warning)

    def look(self, frames: Iterator[Any]) -> Iterator[Any]:
        """The frames that a stage sees before the clip is made, until nobody waits for it."""
        for frame in frames:
            if self.run.is_over.is_set():
                raise Superseded
            yield frame

    def steps(self, steps: Iterable[Any], total: int | None, what: str) -> Iterator[Any]:
        told_s = time.monotonic()
        for image, step in enumerate(steps, 1):
            if self.run.is_over.is_set():
                raise Superseded
            yield step
            if time.monotonic() - told_s > QUIET_S:
                told_s = time.monotonic()
                self.emit({"revision": self.run.job.revision, "image": image, "total": total})
