"""Workers on this machine: one child process per device, over JSON lines on pipes.

The environment is set before torch is imported, so a child sees one GPU, and shares the cores.
"""

from __future__ import annotations

import glob
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from vedit.errors import UsageError, option
from vedit.jobs.runners import Call, Inbox, Place, ending
from vedit.media.window import usable_cores

SUMMARY = "a child process per device of this machine"
COMMAND = (sys.executable, "-m", "vedit.jobs.worker")
COUNT_GPUS = "import torch; print(torch.cuda.device_count())"


class Worker:
    """A child process that does one item after the other."""

    def __init__(self, place: Place, command: Sequence[str], log: str, inbox: Inbox) -> None:
        self.place = place
        self.model: str | None = None
        with open(log, "ab") as errors:
            self.process = subprocess.Popen(
                [*command, place.device],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                env={**os.environ, **place.variables},
                start_new_session=True,  # Ctrl-C is for the parent to tell
            )
        self.inbox = inbox
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _listen(self) -> None:
        assert self.process.stdout is not None and self.process.stdin is not None
        with self.process.stdout as lines:
            for line in lines:
                with suppress(ValueError):  # torn by its end
                    self.inbox.put((self, json.loads(line)))
        self.process.wait()
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.inbox.put((self, None))

    def send(self, item: Mapping[str, Any]) -> None:
        """Give it an item; one that has ended says so in the inbox."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError, ValueError):  # ValueError: closed behind its end
            self.process.stdin.write(json.dumps(item) + "\n")
            self.process.stdin.flush()

    def finish(self) -> None:
        """Let it end when its item is done."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.listener.join()

    def kill(self) -> None:
        """End it and what it started now; it is asked first, so that it removes its part files."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
                self.listener.join(5)
                return

    def how_it_ended(self) -> str:
        """What its exit says, for a message."""
        return ending(self.process.wait())


class Local:
    """Starts workers. command: what a worker is, without its device."""

    def __init__(self, places: Sequence[Place], command: Sequence[str] = COMMAND) -> None:
        self.places = list(places)
        self.command = command
        self.inbox: Inbox = queue.Queue()

    def start(self, place: Place, log: str) -> Worker:
        return Worker(place, self.command, log, self.inbox)

    def close(self) -> None:
        """Its workers are all there is."""


def begin(call: Call) -> Local:
    """The crew of a call. Raises UsageError for devices that are not there."""
    return Local(places(call.workers), call.worker)


def places(asked: str = "auto") -> list[Place]:
    """The places of `--workers`: auto, a number, or names such as cuda:0,cuda:1 and cpu*2.

    A number shares the GPUs out in turn; without GPUs its workers share the cores. Raises UsageError.
    """
    gpus = visible_gpus() if not _is_cpu(asked) else []
    if asked == "auto":
        named = [f"cuda:{number}" for number in range(len(gpus))] or ["auto"]
    elif asked.isdigit():
        count = _counted(asked, asked)
        named = [f"cuda:{number % len(gpus)}" for number in range(count)] if gpus else ["auto"] * count
    else:
        named = [name for part in asked.split(",") for name in _repeated(part.strip(), asked)]
    threads = str(max(1, usable_cores() // len(named)))
    return [_place(name, number, gpus, threads) for number, name in enumerate(named, 1)]


def _is_cpu(asked: str) -> bool:
    return all(part.strip().startswith("cpu") for part in asked.split(","))


def _repeated(part: str, asked: str) -> list[str]:
    match = re.fullmatch(r"(auto|cpu|mps|cuda|cuda:\d+)(?:\*(\d+))?", part)
    if not match:
        raise UsageError(
            f"{option('workers', asked)}: {part!r} is not a device.",
            "Write auto, a number, cuda:0,cuda:1 or cpu*2.",
        )
    return [match[1]] * _counted(match[2] or "1", asked)


def _counted(text: str, asked: str) -> int:
    if not 1 <= int(text) <= 64:
        raise UsageError(f"{option('workers', asked)}: {text} is not from 1 to 64.")
    return int(text)


def _place(name: str, number: int, gpus: Sequence[str], threads: str) -> Place:
    variables = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads)}
    if not name.startswith("cuda"):
        return Place(f"{number} ({name})", name, variables)
    gpu = int(name.partition(":")[2] or 0)
    if gpu >= len(gpus):
        raise UsageError(f"{option('workers')}: there is no {name}.", f"GPUs that can be seen: {len(gpus)}.")
    return Place(f"{number} ({name})", "cuda", {**variables, "CUDA_VISIBLE_DEVICES": gpus[gpu]})


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES may be set to, an entry per GPU: those of the variable if it is set, else as
    many as a short-lived child counts.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [entry.strip() for entry in given.split(",") if entry.strip() not in ("", "-1")]
    if sys.platform.startswith("linux") and not glob.glob("/dev/nvidia[0-9]*"):
        return []  # nothing to count: torch takes seconds to say so
    if sys.platform == "darwin":
        return []
    found = subprocess.run([sys.executable, "-c", COUNT_GPUS], capture_output=True, text=True, timeout=120)
    return [str(number) for number in range(int(found.stdout or 0))] if not found.returncode else []
