"""A batch as its folder tells it, without its list: how far it is, its reports anew, several folders as
one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vedit.errors import InputError, OutputError
from vedit.jobs.batch.plan import Item, Plan, item_of, link_twin
from vedit.jobs.batch.report import Reports
from vedit.jobs.batch.state import State
from vedit.jobs.record import SUFFIX, find_record, write_record


@dataclass(frozen=True)
class Status:
    """Counts of items. running: outputs that somebody is at. reasons: of failures, by how many share one."""

    total: int
    done: int
    failed: int
    open: int
    running: tuple[str, ...]
    reasons: tuple[tuple[str, int], ...]

    def json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.done}/{self.total} done, {self.failed} failed, {self.open} open"]
        lines += [f"  at {output}" for output in self.running]
        lines += [f"  failed {count} x: {' '.join(reason.split())}" for reason, count in self.reasons]
        return "\n".join(lines)


def read(out: str) -> Plan:
    """The plan of a folder and what is done of it. Raises InputError for a folder without one."""
    state = State(out)
    if not state.exists:
        raise InputError(
            f"{out}: no batch has been made in it.", "It is the folder of: vedit batch JOBS -O DIR"
        )
    items = [item_of(line) for line in state.read_plan()]
    asked = {item.key for item in items}
    done = {
        key: record for key, record in state.records("done").items() if key in asked and state.is_done(record)
    }
    failed = state.records("failed")
    return Plan(state, items, done, {key: failed[key] for key in failed if key in asked and key not in done})


def status(out: str) -> Status:
    """How far the batch in a folder is. Raises InputError."""
    plan = read(out)
    counts: dict[str, int] = {}
    for record in plan.failed.values():
        counts[str(record.get("message"))] = counts.get(str(record.get("message")), 0) + 1
    done = sum(item.key in plan.done for item in plan.items)
    failed = sum(item.key in plan.failed for item in plan.items)
    return Status(
        len(plan.items),
        done,
        failed,
        len(plan.items) - done - failed,
        tuple(_running(plan)),
        tuple(sorted(counts.items(), key=lambda found: -found[1])),
    )


def _running(plan: Plan) -> list[str]:
    folder = plan.state.folder / "claim"
    claimed = set(os.listdir(folder)) if folder.is_dir() else set()
    return [
        item.output
        for item in plan.items
        if not item.twin and item.key in claimed and not plan.state.is_stale(item.key)
    ]


def collect(out: str) -> Plan:
    """Write the reports of a folder anew. Raises InputError."""
    plan = read(out)
    Reports(plan).write()
    return plan


def merge(folders: Sequence[str], out: str) -> Plan:
    """Bring what lies in several folders into one, by keys; the first that has an item gives it.

    Raises InputError for a folder without a batch, OutputError for one name with two contents.
    """
    plans = [read(folder) for folder in folders]
    items: dict[tuple[str, str], Item] = {}
    for plan in plans:
        for item in plan.items:
            items.setdefault((item.key, item.output), item)
    _refuse_two(list(items.values()))
    state = State(out)
    state.make()
    made = Plan(state, list(items.values()))
    for plan in plans:
        for key, record in plan.done.items():
            if key not in made.done:
                _bring(plan.state, state, record)
                state.write("done", key, record)
                made.done[key] = record
        for key, record in plan.failed.items():
            made.failed.setdefault(key, record)
    made.failed = {key: record for key, record in made.failed.items() if key not in made.done}
    for key, record in made.failed.items():
        state.write("failed", key, record)
    for item in made.items:
        if item.key in made.done:
            link_twin(state, made.done[item.key], item.output)
    state.write_plan(item.json() for item in made.items)
    Reports(made).write()
    return made


def _refuse_two(items: Sequence[Item]) -> None:
    seen: dict[str, Item] = {}
    for item in items:
        other = seen.setdefault(item.output, item)
        if other.key != item.key:
            raise OutputError(
                f"{item.output} is two different edits in these folders.", "They are not parts of one batch."
            )


def _bring(source: State, target: State, record: dict[str, Any]) -> None:
    """Bring an output and its run record from one folder to another."""
    if target.is_done(record):
        return
    link_twin(
        target,
        {**record, "output": os.path.relpath(os.path.join(source.out, record["output"]), target.out)},
        str(record["output"]),
    )
    before, after = (os.path.join(state.out, str(record["output"])) for state in (source, target))
    if os.path.exists(before + SUFFIX) and not os.path.exists(after + SUFFIX):
        write_record(after, {**find_record(before).record, "output": after})
