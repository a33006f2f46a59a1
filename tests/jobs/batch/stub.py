"""A worker whose edits are written in no time: `python stub.py DEVICE`. Words of the prompt say what goes wrong."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from vedit.errors import InputError, MemoryBudgetError, OutputError
from vedit.jobs import worker
from vedit.jobs.edit.request import EditRequest
from vedit.media.atomic import atomic_path

PAUSE_S = float(os.environ.get("STUB_PAUSE_S", "0"))


def work(request: EditRequest, sink: worker.Told) -> None:
    assert request.output is not None and request.prompt is not None
    if "kill" in request.prompt:
        os.kill(os.getpid(), signal.SIGKILL)
    if "warn" in request.prompt:
        sink.warn("the clip is odd")
    if "bad" in request.prompt:
        raise InputError("the prompt is bad.")
    if "hang" in request.prompt:
        time.sleep(60)
    if "full" in request.prompt:
        raise OutputError("cannot write: no space left on device.") from OSError(errno.ENOSPC, "full")
    mark = Path(os.environ.get("STUB_MARKS", "/nonexistent")) / f"{request.seed}"
    if "memory once" in request.prompt and not mark.exists():
        mark.touch()
        raise MemoryBudgetError("too much.")
    for _ in sink.steps(range(2), 2, "edit"):
        time.sleep(PAUSE_S / 2)
    with atomic_path(request.output) as part, open(part, "wb") as file:
        file.write(f"{request.prompt} {request.seed} ".encode())
        with open(request.input, "rb") as source:
            shutil.copyfileobj(source, file)
    with open(os.environ.get("STUB_LOG", os.devnull), "a") as file:
        file.write(f"{request.output}\n")


if __name__ == "__main__":
    worker.run(work)
