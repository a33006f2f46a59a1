"""The loop of a batch: hand items to workers, count attempts, and go on until all are done or have failed.

    outcome = run(plan, Local(places()), Policy(), tell)

First Ctrl-C, SIGTERM or SIGUSR1: no new items, those at work finish. Second: workers are ended. `kill -9` at
any moment loses what was at work, and nothing else.
"""

from __future__ import annotations

import os
import queue
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from vedit.errors import InputError, Interrupted, ModelError, OutputError, PartialFailure, Stopped
from vedit.jobs.batch.plan import Item, Plan, in_shard, link_twin, settle_names
from vedit.jobs.batch.progress import Group, Left, pace_of
from vedit.jobs.batch.report import Reports
from vedit.jobs.runners import Crew, Place, Worker
from vedit.media.stopping import begin, interrupt

Tell = Callable[[Mapping[str, Any]], None]
Show = Callable[[bool], None]  # whether it is for the last time
FOR_ANOTHER_TRY = (6, 7)  # memory and services: what may be otherwise next time
LESS = "Where memory is short, a smaller frames_per_call or size in its row takes less."
SAME_FAILURES = 10  # from the start, with one message: the rest would fail too
TOUCH_S = 30.0
LOOK_S = 2.0  # between looks at what other calls have claimed


@dataclass(frozen=True)
class Policy:
    """What happens when items fail.

    retries: of memory, services, and workers that died. most_failures: stop at so many, a number or a
    share below 1, None for never. shard: part i of n. timeout_s: how long a worker may say nothing at an
    item, None for ever. recycle: items after which a worker is replaced. grace_s: how long items at work may
    go on after a signal, None to their end.
    """

    retries: int = 1
    most_failures: float | None = None
    shard: tuple[int, int] | None = None
    timeout_s: float | None = None
    recycle: int | None = None
    grace_s: float | None = None

    def limit(self, total: int) -> float:
        if self.most_failures is None:
            return float("inf")
        return self.most_failures * total if self.most_failures < 1 else self.most_failures


@dataclass
class Outcome:
    """What came of a call. early: why it stopped before the end, or ""."""

    total: int
    done: int = 0
    made: int = 0
    failed: int = 0
    is_stopped: bool = False
    early: str = ""
    seconds: float = 0.0

    def concluded(self, out: str, noun: str, then: str) -> str:
        """How it ended in words; raises PartialFailure and Stopped.

        noun: what the items are called. then: what to do about those that failed.
        """
        told = f"{self.done} of {self.total} {noun} are done, {self.made} of them now"
        if self.early:
            raise PartialFailure(f"stopped early: {self.early}", f"{told}.", f"See {out}/failed.csv")
        if self.is_stopped:
            raise Stopped(f"stopped; {told}.", "", "The same call goes on")
        if self.failed:
            raise PartialFailure(f"{self.failed} of {self.total} {noun} failed.", f"{told}.", then)
        return told


@dataclass
class _At:
    """An item that a worker is at. heard: when it last said something. group: of its pace."""

    item: Item
    attempt: int
    began: float
    heard: float
    group: Group
    step: str = ""


@dataclass
class _Slot:
    place: Place
    worker: Worker | None = None
    at: _At | None = None
    made: int = 0  # items of this worker


@dataclass
class _Signals:
    """How often the user asked to stop. ends_work: whether the second time ends what this process is at."""

    count: int = 0
    ends_work: bool = False


class Loop:
    """One call on one folder."""

    def __init__(
        self, plan: Plan, runner: Crew, policy: Policy, tell: Tell, show: Show | None = None
    ) -> None:
        self.plan, self.runner, self.policy, self.state = plan, runner, policy, plan.state
        self.tell_face, self.show = tell, show
        self.items = plan.items if policy.shard is None else in_shard(plan.items, policy.shard)
        mine = {item.key for item in self.items}
        self.pending = [item for item in plan.open() if item.key in mine]
        self.outcome = Outcome(len(self.items))
        self.attempts: Counter[str] = Counter()
        self.messages: list[str] = []
        self.pace = pace_of(plan)
        self.last_left: Left | None = None
        self.next_look = 0.0
        self.slots = [_Slot(place) for place in runner.places]
        self.signals = _Signals()
        self.stopping_since: float | None = None
        self.refused: Exception | None = None  # ends the call when those at work have finished
        self.touched = self.looked = time.monotonic()
        self.largest = max((int(record["bytes"]) for record in plan.done.values()), default=0)
        self.reports = Reports(plan)

    # --- the loop ---------------------------------------------------------------------------------

    def run(self) -> Outcome:
        began = time.monotonic()
        self._tell(
            "start", total=len(self.items), done=self._done(), failed=self._failed(), workers=len(self.slots)
        )
        self.plan.forget_failures(self.items)
        self._fail_missing()
        self._show(is_last=False)
        try:
            with _listening(self.signals):
                while self._goes_on():
                    self._hand_out()
                    self._hear()
                    self._keep_house()
        finally:
            self._end_workers()
            self.plan.refresh()  # the reports are those of all calls, whoever writes them last
            self._link_twins()
            self.reports.write()
            self._show(is_last=True)
        self.outcome.done, self.outcome.failed = self._done(), self._failed()
        self.outcome.seconds = time.monotonic() - began
        self.outcome.is_stopped = self.signals.count > 0 and bool(self.pending)
        self._tell(
            "summary",
            total=len(self.items),
            done=self.outcome.done,
            failed=self.outcome.failed,
            made=self.outcome.made,
            seconds=round(self.outcome.seconds, 1),
        )
        if self.refused is not None:
            raise self.refused
        return self.outcome

    def pulse(self) -> None:
        """Hear what is said, and look after the rest, while this process is at an item itself."""
        self._hear(0.0)
        self._keep_house()

    def _goes_on(self) -> bool:
        if self.signals.count > 1:
            raise Interrupted("interrupted.", "", "The same call goes on")
        if self._is_out_of_grace():
            return False
        return any(slot.at for slot in self.slots) or (bool(self.pending) and not self._is_ending())

    def _is_out_of_grace(self) -> bool:
        """Whether the items at work have had their time since a signal; what is left of them stays open."""
        if self.stopping_since is None or self.policy.grace_s is None:
            return False
        if time.monotonic() - self.stopping_since < self.policy.grace_s:
            return False
        for slot in self.slots:
            if slot.at:
                self._replace(slot)
                self.state.release(slot.at.item.key)
                self.pending.append(slot.at.item)
                slot.at = None
        return True

    def _is_ending(self) -> bool:
        return bool(self.signals.count or self.refused or self.outcome.early)

    def _hand_out(self) -> None:
        """Give every idle worker an item that nobody else has."""
        if self._is_ending() or time.monotonic() < self.looked:
            return
        for slot in self.slots:
            if slot.at is None and self.pending:
                if not self._has_room():
                    return
                if not self._begin(slot):
                    self.looked = time.monotonic() + LOOK_S  # all that is left is claimed by other calls
                    return

    def _begin(self, slot: _Slot) -> bool:
        if slot.worker is None:
            slot.worker = self.runner.start(slot.place, str(self.state.folder / "log" / "workers.txt"))
            slot.made = 0
            self._tell("worker", worker=slot.place.name, pid=slot.worker.pid, what="started")
        for item in self._in_turn(slot.worker.model):
            if self._is_made(item):
                continue
            if self.state.claim(item.key, slot.worker.pid):
                if item.key not in self.redone and self.state.is_done(
                    self.state.record("done", item.key)
                ):  # by another call, between our look and our claim
                    self.state.release(item.key)
                    self._is_made(item)
                    return True
                self._send(slot, item)
                return True
        return not self.pending

    def _in_turn(self, model: str | None) -> list[Item]:
        """What is open, that of a model that is loaded first, unless the rows' own order was asked for."""
        if self.plan.order == "given":
            return list(self.pending)
        return sorted(self.pending, key=lambda item: item.request.model != model)  # stable

    def _is_made(self, item: Item) -> bool:
        """Whether another call made, or lost, an item that we had open; then it is ours no more."""
        if item.key in self.redone or not os.path.exists(self.state.path("done", item.key)):
            return False
        record = self.state.record("done", item.key)
        if not self.state.is_done(record) or record is None:
            return False
        self.plan.done[item.key] = record
        self.pending.remove(item)
        return True

    @property
    def redone(self) -> set[str]:
        return self.plan.redone

    def _send(self, slot: _Slot, item: Item) -> None:
        assert slot.worker is not None
        self.pending.remove(item)
        self.attempts[item.key] += 1
        if item.key in self.redone:
            self.plan.redone.discard(item.key)
            self.state.remove("done", item.key)
        attempt = self.attempts[item.key]
        now = time.monotonic()
        step = "" if slot.worker.model == item.request.model else "loading"
        slot.at = _At(item, attempt, now, now, self.pace.begin(item), step)
        slot.worker.model = item.request.model
        slot.worker.send(
            {
                "key": item.key,
                "request": item.request.json(),
                "output": item.output,
                "out": self.state.out,
                "record": self.state.path("done", item.key),
                "log": self.state.log(item.key, attempt),
                "attempt": attempt,
            }
        )

    # --- what workers say -------------------------------------------------------------------------

    def _hear(self, wait_s: float = 0.25) -> None:
        try:
            worker, message = self.runner.inbox.get(timeout=wait_s)
        except queue.Empty:
            return
        slot = next((slot for slot in self.slots if slot.worker is worker), None)
        if slot is None:  # one that was replaced
            return
        if slot.at:
            slot.at.heard = time.monotonic()
        if message is None:
            self._lost(slot)
        elif "done" in message and slot.at:
            self._finished(slot, message["record"])
        elif message.get("full") and slot.at:
            self._stop_full(slot)
        elif "failed" in message and slot.at:
            self._went_wrong(slot, int(message["exit"]), str(message["message"]), bool(message["worn"]))
        elif "step" in message and slot.at:
            slot.at.step = f"{message['step']}/{message['total']}"
            self._tell_face("step", slot, step=message["step"], total=message["total"], what=message["what"])
        elif "loaded" in message:
            if slot.at:
                slot.at.step = ""
            self._tell(
                "worker",
                worker=slot.place.name,
                what="loaded",
                model=message["loaded"],
                seconds=message["seconds"],
            )
        elif "warn" in message and slot.at:
            self._tell_face("warning", slot, message=message["warn"])

    def _finished(self, slot: _Slot, record: dict[str, Any]) -> None:
        assert slot.at is not None
        item = slot.at.item
        self.state.release(item.key)
        self.state.remove("failed", item.key)
        self.plan.done[item.key] = record
        self.outcome.made += 1
        self.pace.add(slot.at.group, float(record["seconds"]))
        self.largest = max(self.largest, int(record["bytes"]))
        slot.at = None
        slot.made += 1
        self.next_look = 0.0
        if self.policy.recycle is not None and slot.made >= self.policy.recycle and slot.worker is not None:
            slot.worker.finish()
            slot.worker = None
        self._tell(
            "item",
            key=item.key,
            row=item.row.number,
            output=item.output,
            seconds=record["seconds"],
            worker=slot.place.name,
            left=self._left_told(),
        )

    def _went_wrong(self, slot: _Slot, code: int, message: str, is_worn: bool = False) -> None:
        assert slot.at is not None
        at, slot.at = slot.at, None
        if code in FOR_ANOTHER_TRY or is_worn:
            self._replace(slot)
        if code in FOR_ANOTHER_TRY and self._tries_again(at, message):
            return
        self._failed_for_good(at.item, code, message, at.attempt)

    def _stop_full(self, slot: _Slot) -> None:
        """The disk is full: the item stays open, and nothing else is begun."""
        assert slot.at is not None
        self.state.release(slot.at.item.key)
        self.pending.append(slot.at.item)
        slot.at = None
        self.refused = OutputError(
            f"{self.state.out}: the disk is full.", "", "Make room, and call again: it goes on"
        )

    def _lost(self, slot: _Slot) -> None:
        """A worker has ended by itself."""
        assert slot.worker is not None
        why = slot.worker.how_it_ended()
        self._tell("worker", worker=slot.place.name, what="ended", message=why)
        slot.worker = None
        if slot.at is None:
            self.outcome.early = self.outcome.early or f"{why} before it had an item"
            return
        at, slot.at = slot.at, None
        record = self.state.record("done", at.item.key)
        if self.state.is_done(record):  # it died behind its work
            slot.at = at
            self._finished(slot, record or {})
        elif not self._tries_again(at, why):
            self._failed_for_good(at.item, 1, f"{why}\n{LESS}", at.attempt)

    def _tries_again(self, at: _At, why: str) -> bool:
        self.state.release(at.item.key)
        if at.attempt > self.policy.retries:
            return False
        self._tell("retry", key=at.item.key, output=at.item.output, attempt=at.attempt, message=why)
        self.pending.append(at.item)
        return True

    def _failed_for_good(self, item: Item, code: int, message: str, attempts: int) -> None:
        log = os.path.relpath(self.state.log(item.key, attempts), self.state.out) if attempts else ""
        record = {
            "key": item.key,
            "exit": code,
            "message": message,
            "attempts": attempts,
            "log": log,
            "time": round(time.time(), 3),
        }
        self.state.write("failed", item.key, record)
        self.state.release(item.key)
        self.plan.failed[item.key] = record
        self.messages.append(message)
        self.plan.refresh_failed()
        self.reports.write_failed()
        self._tell(
            "failed",
            key=item.key,
            row=item.row.number,
            where=item.row.where,
            output=item.output,
            exit=code,
            message=message,
            log=log,
        )
        self._check_failures(code, message)

    def _check_failures(self, code: int, message: str) -> None:
        if code == ModelError.exit_code and not self.outcome.made and len(self.messages) == 1:
            self.refused = ModelError(message)
        elif len(self.messages) == SAME_FAILURES and not self.outcome.made and len(set(self.messages)) == 1:
            self.outcome.early = f"the first {SAME_FAILURES} items failed with one message: {message}"
        elif len(self.messages) >= self.policy.limit(len(self.items)):
            self.outcome.early = f"{len(self.messages)} items failed, the last with: {message}"

    # --- around it --------------------------------------------------------------------------------

    def _fail_missing(self) -> None:
        """Clips that are not there, and outputs that may not be replaced, need no worker."""
        for item in [item for item in self.pending if item.key in self.plan.refused]:
            self.pending.remove(item)
            self._failed_for_good(item, OutputError.exit_code, self.plan.refused[item.key], 0)
        missing = [item for item in self.pending if not os.path.exists(item.request.input)]
        if missing and len(missing) == len(self.items):
            raise InputError(
                f"none of the {len(missing)} clips is there: {missing[0].request.input} and so on.",
                "Paths in a list are seen from its folder.",
            )
        for item in missing:
            self.pending.remove(item)
            self._failed_for_good(
                item, InputError.exit_code, f"{item.request.input}: there is no such clip.", 0
            )

    def _has_room(self) -> bool:
        try:
            free = shutil.disk_usage(self.state.out).free
        except OSError:
            return True
        if free >= 2 * self.largest:
            return True
        self.refused = OutputError(
            f"{self.state.out}: {free} bytes are free, and the largest output so far has {self.largest}.",
            "",
            "Make room, and call again: it goes on",
        )
        return False

    def _keep_house(self) -> None:
        now = time.monotonic()
        if self.signals.count and self.stopping_since is None:
            self.stopping_since = now
            self._tell("stopping", running=self._running())
        self._end_silent(now)
        if now - self.touched > TOUCH_S:
            self.touched = now
            self.state.touch(slot.at.item.key for slot in self.slots if slot.at)
            self.reports.write()
            self._show(is_last=False)
        self.tell_face(
            {
                "event": "tick",
                "done": self._done(),
                "total": len(self.items),
                "failed": self._failed(),
                "running": self._running(),
                "left": self.left(),
            }
        )

    def _left_told(self) -> list[float] | None:
        """Seconds that are left, with the quartiles around, for programs."""
        left = self.left()
        return None if left is None else [round(seconds, 1) for seconds in left]

    def _end_silent(self, now: float) -> None:
        """Replace workers that have said nothing for too long."""
        for slot in self.slots:
            at, limit = slot.at, self.policy.timeout_s
            if at is None or limit is None or now - at.heard < limit:
                continue
            slot.at = None
            self._replace(slot)
            why = f"the worker said nothing for {limit:g} s, and was ended"
            self._tell("worker", worker=slot.place.name, what="ended", message=why)
            if not self._tries_again(at, why):
                self._failed_for_good(at.item, 1, why, at.attempt)

    def left(self) -> Left | None:
        now = time.monotonic()
        if now < self.next_look:
            return self.last_left
        at_work = [(slot.at.group, now - slot.at.began) for slot in self.slots if slot.at]
        self.last_left = self.pace.left(self.pending, at_work, len(self.slots))
        # ten thousand items take a while to add up
        self.next_look = now + max(0.5, 50 * (time.monotonic() - now))
        return self.last_left

    def _running(self) -> list[str]:
        return [f"{slot.at.item.output} {slot.at.step}".strip() for slot in self.slots if slot.at]

    def _done(self) -> int:
        return sum(item.key in self.plan.done for item in self.items)

    def _failed(self) -> int:
        return sum(item.key in self.plan.failed and item.key not in self.plan.done for item in self.items)

    def _replace(self, slot: _Slot) -> None:
        if slot.worker is not None:
            slot.worker.kill()
            slot.worker = None

    def _end_workers(self) -> None:
        """Let workers end; those that are still at an item are being interrupted."""
        for slot in self.slots:
            if slot.worker is None:
                continue
            if slot.at is None:
                slot.worker.finish()
            else:
                slot.worker.kill()
                self.state.release(slot.at.item.key)

    def _show(self, is_last: bool) -> None:
        """Keep the page fresh; a call that found nothing to do leaves it as it is."""
        if self.show is not None and (self.pending or self.outcome.made or self.messages):
            self.show(is_last)

    def _link_twins(self) -> None:
        for item in self.items:
            if item.twin and item.key in self.plan.done:
                link_twin(self.state, self.plan.done[item.key], item.output)

    def _tell(self, event: str, **facts: Any) -> None:
        self.state.event({"event": event, **facts})
        self.tell_face({"event": event, **facts})

    def _tell_face(self, event: str, slot: _Slot, **facts: Any) -> None:
        assert slot.at is not None
        self.tell_face({"event": event, "key": slot.at.item.key, "output": slot.at.item.output, **facts})


@contextmanager
def _listening(signals: _Signals) -> Iterator[None]:
    """Count the signals that ask to stop, instead of being ended by them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    begin()

    def arrived(number: int, frame: Any) -> None:
        signals.count += 1
        if signals.count > 1 and signals.ends_work:
            interrupt(number)

    kept = {}
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
        if (number := getattr(signal, name, None)) is not None and signal.getsignal(
            number
        ) is not signal.SIG_IGN:
            kept[number] = signal.signal(number, arrived)
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _untold(event: Mapping[str, Any]) -> None:
    """Nobody is told."""


def run(
    plan: Plan,
    runner: Crew,
    policy: Policy = Policy(),
    tell: Tell = _untold,
    show: Show | None = None,
) -> Outcome:
    """Make what is open in a plan. show: keeps a page of it fresh, see `vedit.jobs.batch.gallery`.

    Raises InputError, OutputError and ModelError for what stops all of it, and Interrupted at the
    second signal.
    """
    prepare(plan)
    return Loop(plan, runner, policy, tell, show).run()


def prepare(plan: Plan) -> None:
    """Make the folder, write the plan, and give outputs their names of now."""
    plan.state.make()
    plan.contents.save()
    if plan.refused or not plan.is_as_before:
        plan.state.write_plan(plan.lines())
    settle_names(plan)
