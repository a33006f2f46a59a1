"""Workers on a Ray cluster: an actor per device, each with a worker process of its own beside it.

Ray Core and threads that wait, not Ray Data: items take minutes and carry paths, so there is nothing to put
into an object store, and one that fails must not end the others. An actor relays the JSON lines of a worker
(see `vedit.jobs.worker`), whose environment is set before torch is imported. A task is tried once by Ray, and
an actor that dies is not brought back by it: who counts attempts is the batch.

RAY_ADDRESS names a cluster; without it Ray runs on this machine for as long as the call does. The folder for
outputs must be shared by all machines.
"""

from __future__ import annotations

import json
import logging
import math
import os
import queue
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from vedit.errors import RemoteError, UsageError, option, reason_of
from vedit.jobs.extras import need
from vedit.jobs.runners import Call, Inbox, Place, ending
from vedit.jobs.runners.local import COMMAND
from vedit.media.window import usable_cores

SUMMARY = "a Ray actor per device, on one machine or many"
MOST = 1024  # workers
ANSWERS_IN_S = 10.0
STARTS_IN_S = 300.0  # a cluster that has no room for an actor in that time has lost a machine
ENDED = "ended"  # key of the last line of a worker that has ended by itself


class Relay:
    """The actor: a worker process, and the lines that go to and fro. It runs on the machine of the device."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str], log: str) -> None:
        with open(log, "ab") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                env={**os.environ, **variables},
                start_new_session=True,
            )

    def begin(self) -> str:
        """The worker's first line; it comes before torch is imported."""
        assert self.process.stdout is not None
        return self.process.stdout.readline() or self._ended()

    def work(self, item: str) -> Iterator[str]:
        """Do an item; gives the lines that the worker says, up to the one that ends it."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(item + "\n")
            self.process.stdin.flush()
        for line in self.process.stdout:
            yield line
            if is_last(line):
                return
        yield self._ended()

    def _ended(self) -> str:
        return json.dumps({ENDED: ending(self.process.wait())})

    def finish(self) -> None:
        """Let the worker end."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)

    def kill(self) -> None:
        """End the worker; it is asked first, so that it removes its part files."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
                return


def is_last(line: str) -> bool:
    """Whether a line of a worker ends its item; a torn one comes from its end."""
    try:
        message = json.loads(line)
    except ValueError:
        return False
    return "done" in message or "failed" in message


class RayWorker:
    """An actor as the batch sees it."""

    def __init__(self, actor: Any, inbox: Inbox) -> None:
        self.actor, self.inbox = actor, inbox
        self.model: str | None = None
        self.pid = 0  # it may be on another machine: the claim is the call's own
        self.items: queue.Queue[str | None] = queue.Queue()
        self.ended = ""
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def send(self, item: Mapping[str, Any]) -> None:
        """Give it an item; one that has ended says so in the inbox."""
        self.items.put(json.dumps(item))

    def _listen(self) -> None:
        import ray

        try:
            self._hear(ray.get(self.actor.begin.remote(), timeout=STARTS_IN_S))
            while not self.ended and (item := self.items.get()) is not None:
                for line in self.actor.work.remote(item):
                    self._hear(ray.get(line))
        except ray.exceptions.GetTimeoutError:
            self.ended = f"the cluster had no room for the worker in {STARTS_IN_S:.0f} seconds"
        except ray.exceptions.RayError as error:
            self.ended = self.ended or f"the worker's actor ended: {_first_line(error)}"
        self.inbox.put((self, None))

    def _hear(self, line: str) -> None:
        with suppress(ValueError):  # torn by its end
            message = json.loads(line)
            if ENDED in message:
                self.ended = message[ENDED]
            else:
                self.inbox.put((self, message))

    def finish(self) -> None:
        """Let it end when its item is done."""
        self.items.put(None)
        self.listener.join()
        self._end("finish", 15)

    def kill(self) -> None:
        """End it now, and its actor with it."""
        self._end("kill", 15)
        self.items.put(None)
        self.listener.join(5)

    def _end(self, how: str, seconds: float) -> None:
        import ray

        with suppress(ray.exceptions.RayError):
            ray.get(getattr(self.actor, how).remote(), timeout=seconds)
        with suppress(ray.exceptions.RayError, ValueError):
            ray.kill(self.actor)

    def how_it_ended(self) -> str:
        return self.ended or "the worker's actor ended"


def _first_line(error: BaseException) -> str:
    """The first words of an error of Ray, whose messages go on for pages."""
    text = (str(error).partition("\n")[0] or type(error).__name__).rstrip(".")
    return text if len(text) <= 200 else text[:199] + "…"


class Ray:
    """Starts actors on the cluster that was reached. command: what a worker is, without its device."""

    def __init__(self, places: Sequence[Place], cpus: float, command: Sequence[str] = COMMAND) -> None:
        self.places, self.cpus, self.command = list(places), cpus, command
        self.inbox: Inbox = queue.Queue()

    def start(self, place: Place, log: str) -> RayWorker:
        import ray

        kind = ray.remote(Relay).options(
            num_cpus=self.cpus,
            num_gpus=1 if place.device == "cuda" else 0,
            max_restarts=0,  # a fresh one is asked for, where there is room
            max_task_retries=0,
            max_concurrency=2,  # `kill` comes in while `work` waits
            scheduling_strategy="SPREAD",
        )
        variables = dict(place.variables)
        actor = kind.remote([*self.command, place.device], variables, os.path.abspath(log))
        return RayWorker(actor, self.inbox)

    def close(self) -> None:
        """Leave the cluster; one that was begun here ends."""
        import ray

        ray.shutdown()


def begin(call: Call) -> Ray:
    """Reach the cluster, and give the crew of a call.

    Raises ModelError where Ray is not installed, RemoteError where no cluster answers, UsageError.
    """
    need("ray")
    devices(call.workers, [MOST])  # what is misspelt is told before a cluster begins
    connect()
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    try:
        names = devices(call.workers, [int(node.get("GPU", 0)) for node in nodes])
    except UsageError:
        ray.shutdown()
        raise
    cpus = share(len(names), len(nodes), min(node.get("CPU", 1.0) for node in nodes))
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, int(cpus))))
    variables = {"OMP_NUM_THREADS": threads}
    places = [Place(f"{number} (ray {name})", name, variables) for number, name in enumerate(names, 1)]
    return Ray(places, cpus, call.worker)


def connect() -> None:
    """Reach the cluster of RAY_ADDRESS, or begin one on this machine. Raises RemoteError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # what Ray will do one day is none of the user's business
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    address = os.environ.get("RAY_ADDRESS") or None
    if address:
        check_address(address)
    own = {} if address else {"num_cpus": usable_cores(), "include_dashboard": False}  # not the machine's
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, OSError, RuntimeError, ValueError, TimeoutError) as error:
        where = f"the cluster at {address}" if address else "Ray on this machine"
        raise RemoteError(
            f"{where} cannot be reached: {_first_line(error) or reason_of(error)}.",
            "A cluster may ask for a token: Ray takes it from RAY_AUTH_TOKEN." if address else "",
            "Unset RAY_ADDRESS to begin one here, or start one with: ray start --head",
        ) from None


def check_address(address: str) -> None:
    """Refuse an address where nobody listens: Ray would try for minutes. Raises RemoteError."""
    match = re.fullmatch(r"(?:ray://)?\[?([^/\]]+?)\]?:(\d{1,5})", address)
    if not match:
        return  # a word such as auto, which Ray knows
    try:
        socket.create_connection((match[1], int(match[2])), timeout=ANSWERS_IN_S).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise RemoteError(
            f"the cluster at {address} (RAY_ADDRESS) does not answer: {reason_of(error)}.",
            "",
            "Unset RAY_ADDRESS to begin one here, or start one with: ray start --head",
        ) from None


def devices(asked: str, gpus: Sequence[int]) -> list[str]:
    """The device of each worker: `auto`, a number, or cpu*N and cuda*N. gpus: of each machine.

    auto is an actor per GPU, or one per machine where there are none. Raises UsageError.
    """
    have = sum(gpus)
    if asked == "auto":
        return ["cuda"] * have or ["cpu"] * len(gpus)
    match = re.fullmatch(r"(?:(cpu|cuda)\*)?(\d{1,4})|(cpu|cuda)", asked)
    if not match:
        raise UsageError(
            f"{option('workers', asked)}: the devices of a cluster are numbered by Ray.",
            "Write auto, a number, cuda*4 or cpu*2.",
        )
    count = int(match[2] or 1)
    device = match[1] or match[3] or ("cuda" if have else "cpu")
    if not 1 <= count <= MOST:
        raise UsageError(f"{option('workers', asked)}: {count} is not from 1 to {MOST}.")
    if device == "cuda" and count > have:
        raise UsageError(f"{option('workers', asked)}: the cluster has {have} GPUs.", "", "Or use cpu*N")
    return [device] * count


def share(workers: int, machines: int, cores: float) -> float:
    """The cores that Ray sets aside for a worker, so that all find room; less than one where there are more
    workers than cores.
    """
    each = cores / max(1, math.ceil(workers / max(1, machines)))
    return float(int(each)) if each >= 1 else math.floor(each * 1000) / 1000
