"""A worker that is this process: for a call that makes a few edits with one model, without a child."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, Any

from vedit.errors import Interrupted
from vedit.jobs import worker
from vedit.jobs.batch.plan import Plan
from vedit.jobs.batch.run import Loop, Outcome, Policy, Tell, prepare
from vedit.jobs.runners import Inbox, Place
from vedit.jobs.sink import Quiet, Sink


class Worker:
    """Does an item when it is sent, and says of each step what a child would say."""

    def __init__(self, crew: Here) -> None:
        import os

        self.crew, self.pid = crew, os.getpid()
        self.model: str | None = None
        self.work = crew.work()

    def send(self, item: Mapping[str, Any]) -> None:
        """Do an item. What it says is heard at once, but its end, which the loop waits for."""
        with open(item["log"], "w", encoding="utf-8", errors="surrogateescape") as log:
            told = Told(self, log)
            self.crew.inbox.put((self, worker.done(self.work, item, told)))

    def finish(self) -> None:
        """There is nothing to end."""

    kill = finish

    def how_it_ended(self) -> str:
        return "it did not end"


class Told(worker.Told):
    """A sink that tells the loop, which shows it and looks after the rest while an item is made."""

    def __init__(self, own: Worker, log: IO[str]) -> None:
        super().__init__(log)
        self.own = own

    def send(self, message: Mapping[str, Any]) -> None:
        self.own.crew.inbox.put((self.own, message))
        self.own.crew.pulse()

    def warn(self, message: str) -> None:
        super().warn(message)
        self.own.crew.sink.warn(message)

    def steps(self, steps: Iterable[Any], total: int | None, what: str) -> Iterator[Any]:
        yield from self.own.crew.sink.steps(super().steps(steps, total, what), total, what)

    def log(self, text: str) -> None:
        self.lines.write(f"{text}\n")
        self.lines.flush()


class Here:
    """One place, this process. work: gives what makes edits; one is made for each worker. sink: hears of each
    edit what it would hear if it were made alone.
    """

    def __init__(self, work: Callable[[], worker.Work], device: str = "auto", sink: Sink = Quiet()) -> None:
        self.work, self.sink = work, sink
        self.places = [Place(device, device, {})]
        self.inbox: Inbox = queue.Queue()
        self.pulse: Callable[[], None] = lambda: None

    def start(self, place: Place, log: str) -> Worker:
        return Worker(self)

    def close(self) -> None:
        """It needs nothing beside its worker."""


def run_here(
    plan: Plan,
    device: str = "auto",
    policy: Policy = Policy(),
    tell: Tell = lambda event: None,
    sink: Sink = Quiet(),
) -> Outcome:
    """Make what is open in a plan, in this process. Raises as `vedit.jobs.batch.run.run` does."""
    crew = Here(lambda: worker.Editor(device), device, sink)
    prepare(plan)
    loop = Loop(plan, crew, policy, tell)
    crew.pulse, loop.signals.ends_work = loop.pulse, True
    try:
        return loop.run()
    except (KeyboardInterrupt, SystemExit):  # the second signal, in the middle of an item
        raise Interrupted("interrupted.", "", "The same call goes on") from None
