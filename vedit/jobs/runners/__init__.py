"""Who works at a batch, one module each; the registry finds them by listing this folder.

A module has a line `SUMMARY` and a function `begin(call)`. It gives a crew, whose workers this call hands
items to, or a script, in which a queue makes the same call part by part.
"""

from __future__ import annotations

import queue
import signal
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple, Protocol

from vedit.registry import Registry

registry = Registry(__name__, __path__, "vedit.runners")


class Place(NamedTuple):
    """Where a worker works. device: as a request has it. variables: of its environment."""

    name: str
    device: str
    variables: Mapping[str, str]


class Worker(Protocol):
    """Does one item after the other. model: what it has loaded, None before its first item."""

    model: str | None

    @property
    def pid(self) -> int:
        """Its process on this machine, 0 where it is on another."""
        ...

    def send(self, item: Mapping[str, Any]) -> None:
        """Give it an item; one that has ended says so in the inbox."""

    def finish(self) -> None:
        """Let it end when its item is done."""

    def kill(self) -> None:
        """End it and what it started now."""

    def how_it_ended(self) -> str:
        """Why it ended by itself, for a message."""
        ...


Message = tuple[Any, Mapping[str, Any] | None]  # a worker and what it says; None: it has ended
Inbox = queue.Queue[Message]


class Crew(Protocol):
    """Starts workers, a worker per place at most, and hears what they say. log: for words beside items."""

    inbox: Inbox

    @property
    def places(self) -> Sequence[Place]: ...

    def start(self, place: Place, log: str) -> Worker: ...

    def close(self) -> None:
        """Let go of what the crew needed beside its workers."""


class Call(NamedTuple):
    """A call of a batch, as a runner is told of it.

    workers: as `--workers` has them. command: what makes the same on another machine from `folder`: the
    words of the command, then those of each option. out: the folder for outputs. tasks: parts that a queue
    makes, and at_once of them at a time. lines: further options of the queue. template: a script that was
    printed before. worker: what a worker is, without its device; a face that spells
    options its own way has one.
    """

    workers: str = "auto"
    command: Sequence[Sequence[str]] = (("batch", "run"),)
    folder: str = "."
    out: str = "."
    tasks: int = 1
    at_once: int | None = None
    lines: Sequence[str] = ()
    template: str | None = None
    worker: Sequence[str] = (sys.executable, "-m", "vedit.jobs.worker")


class Script(NamedTuple):
    """A script for a queue. submit: the command that takes it on standard input."""

    text: str
    submit: Sequence[str]


def names() -> list[str]:
    """The runners there are, ours and those of other distributions."""
    return registry.names()


def load(name: str) -> ModuleType:
    """The module of a runner. Raises UsageError with the nearest spelling."""
    return registry.load(name)


def ending(code: int) -> str:
    """What the exit code of a worker says, for a message."""
    if code >= 0:
        return f"the worker ended with exit code {code}"
    hint = "; out of memory?" if -code == signal.SIGKILL else ""
    return f"the worker was ended by signal {-code}{hint}"
