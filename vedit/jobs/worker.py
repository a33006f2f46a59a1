"""A worker of a batch: `python -m vedit.jobs.worker` takes one JSON line per item and answers in JSON lines.

    in   {"key": ..., "request": {...}, "output": ..., "out": OUT, "record": done/KEY.json, "log": ...,
    "attempt": 1}
    out  {"ready": PID}   {"loaded": MODEL, "seconds": S}   {"step": N, "total": N, "what": ...}   {"warn":
    ...}
         {"done": KEY, "record": {...}}
         {"failed": KEY, "exit": N, "message": ..., "worn": false, "full": false}

It keeps one model. The record of an item is written here, behind its output, so that what is finished stays
finished when the parent is gone. A worker whose parent is gone ends at its next step.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any

from vedit.errors import MemoryBudgetError, VeditError
from vedit.jobs.batch.state import write_record
from vedit.jobs.edit.request import EditRequest
from vedit.jobs.record import versions
from vedit.media.atomic import make_folder

if TYPE_CHECKING:
    from vedit.models.family import Model

Work = Callable[[EditRequest, "Told"], Any]  # makes the output of a request
Message = Mapping[str, Any]
BETWEEN_S = 0.2  # steps that come quicker are not told


class Told:
    """A sink that tells the parent."""

    def __init__(self, lines: IO[str]) -> None:
        self.lines = lines
        self.loading_s = 0.0  # of models, for the item at work

    def send(self, message: Message) -> None:
        """Send a line; a parent that is gone ends the worker."""
        try:
            self.lines.write(json.dumps(message) + "\n")
            self.lines.flush()
        except BrokenPipeError:
            raise SystemExit(0) from None

    def log(self, text: str) -> None:
        """Write words into the item's log, which standard error is."""
        print(text, file=sys.stderr, flush=True)

    def warn(self, message: str) -> None:
        self.log(message)
        self.send({"warn": message})

    def steps(self, steps: Iterable[Any], total: int | None, what: str) -> Iterator[Any]:
        told = 0.0
        for done, step in enumerate(steps, 1):
            if done == total or time.monotonic() - told > BETWEEN_S:
                told = time.monotonic()
                self.send({"step": done, "total": total, "what": what})
            yield step


class Editor:
    """Makes edits with one model, which is loaded when the first item asks for it."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.loaded: tuple[Any, ...] = ()
        self.model: Model | None = None

    def __call__(self, request: EditRequest, sink: Told) -> None:
        from dataclasses import replace

        from vedit.jobs.edit.plan import plan

        request = replace(request, device=self.device)
        plan(request, sink).run(sink, self._model(request, sink))

    def _model(self, request: EditRequest, sink: Told) -> Any:
        from vedit.jobs.edit.plan import load

        wanted: tuple[Any, ...] = (request.model, request.revision, request.dtype, request.offload)
        wanted += (request.lora, request.method == "instruct", request.backend, request.set.get("backend"))
        if wanted != self.loaded:
            self.model, self.loaded = None, ()  # room for the next
            began = time.monotonic()
            self.model, self.loaded = load(request, sink), wanted
            took = time.monotonic() - began
            sink.loading_s += took
            sink.send({"loaded": request.model, "seconds": round(took, 3)})
        return self.model


def serve(work: Work, items: Iterable[str], sink: Told) -> None:
    """Do the items that come line by line, until there are no more."""
    sink.send({"ready": os.getpid()})
    for line in items:
        item = json.loads(line)
        log = os.open(item["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(log, 2)
        os.close(log)
        sink.send(done(work, item, sink))


def done(work: Work, item: Mapping[str, Any], sink: Told) -> Message:
    """Do one item; returns what to tell of it."""
    try:
        return {"done": item["key"], "record": _record(work, item, sink)}
    except VeditError as error:
        sink.log(str(error))
        failed = {"failed": item["key"], "exit": error.exit_code, "message": str(error), "worn": False}
        return {**failed, "full": _is_full(error)}
    except Exception as error:  # an item that breaks the code fails alone
        sink.log(traceback.format_exc())
        is_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        code = MemoryBudgetError.exit_code if is_memory else 1
        what = f"{type(error).__name__}: {error}"
        is_worn = is_memory or "CUDA" in what
        failed = {"failed": item["key"], "exit": code, "message": what, "worn": is_worn}
        return {**failed, "full": _is_full(error)}


def _is_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error: then nothing is wrong with the item."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


def _record(work: Work, item: Mapping[str, Any], sink: Told) -> dict[str, Any]:
    """Make the output, then write its record; nobody may take an output for done before it is whole."""
    began, sink.loading_s = time.monotonic(), 0.0
    target = os.path.join(item["out"], item["output"])
    make_folder(os.path.dirname(target) or ".")
    request = EditRequest.from_json({**item["request"], "output": target, "overwrite": True})
    work(request, sink)
    with open(target, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    record = {
        "key": item["key"],
        "output": item["output"],
        "bytes": os.path.getsize(target),
        "sha256": digest,
        "seconds": round(time.monotonic() - began - sink.loading_s, 3),
        "loading": round(sink.loading_s, 3),
        "attempts": item["attempt"],
        "host": platform.node(),
        "pid": os.getpid(),
        "finished": round(time.time(), 3),
        "versions": versions("torch", "diffusers"),
    }
    write_record(item["record"], record)
    return record


def run(work: Work) -> None:
    """Serve over standard input and output; what libraries print goes to the log."""
    from vedit.media import stopping

    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    stopping.install()
    try:
        serve(work, sys.stdin, Told(lines))
    finally:
        if "vedit.media.atomic" in sys.modules:
            sys.modules["vedit.media.atomic"].remove_unfinished()


if __name__ == "__main__":
    run(Editor(sys.argv[1] if len(sys.argv) > 1 else "auto"))
