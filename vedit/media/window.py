"""Apply a function to a stream on threads, in order, with a bounded number of items alive.

Pillow's codec, resampler and quantiser release the GIL, so threads scale and no process pool is needed.
`concurrent.futures` would do, but importing it costs more than cropping a small GIF.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
MOST_THREADS = 64  # more make nothing faster, and some thousands cannot be started


def usable_cores() -> int:
    """The number of cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Task:
    """One item on its way: what is to be done with it, then what came of it."""

    __slots__ = ("done", "error", "item", "result")

    def __init__(self, item: Any = None, error: BaseException | None = None) -> None:
        self.item = item
        self.result: Any = None
        self.error = error
        self.done = threading.Event()
        if error is not None:
            self.done.set()

    def finish(self, function: Callable[[Any], Any]) -> None:
        try:
            self.result = function(self.item)
        except BaseException as error:  # handed to the consumer, which raises it
            self.error = error
        self.item = None
        self.done.set()

    def wait(self) -> Any:
        self.done.wait()
        if self.error is not None:
            raise self.error
        return self.result


def _start(work: Callable[[], None], is_needed: bool) -> bool:
    """Start a thread; where the system allows no more, those that run must do, if there are any."""
    try:
        threading.Thread(target=work, daemon=True).start()
    except RuntimeError:
        if is_needed:
            raise
        return False
    return True


def ordered_map(function: Callable[[T], R], items: Iterable[T], jobs: int) -> Iterator[R]:
    """Yield `function(item)` for each item, in the order of the items.

    jobs: threads to use, at most 64; 1 works in the caller's thread. At most 2*jobs+2 items are alive. With
    more, a thread of its own draws the items, so that a result which is ready leaves while the source waits
    for more: a pipe streams. That thread closes the source when it ends; what the source reads is safe from
    being closed under it in `media.closing`. An exception of the function, or of the source, is raised where
    its result would have come.
    """
    jobs = min(jobs, MOST_THREADS)
    if jobs <= 1:
        yield from map(function, items)
        return
    todo: SimpleQueue[_Task | None] = SimpleQueue()
    promised: SimpleQueue[_Task | None] = SimpleQueue()
    room = threading.Semaphore(2 * jobs + 1)
    stopped = threading.Event()

    def work() -> None:
        while (task := todo.get()) is not None:
            if not stopped.is_set():  # after an error or a signal, what has not been begun is not begun
                task.finish(function)

    def feed() -> None:
        threads = 0
        try:
            for item in items:
                task = _Task(item)
                promised.put(task)
                todo.put(task)
                if threads < jobs and _start(work, is_needed=threads == 0):
                    threads += 1
                room.acquire()
                if stopped.is_set():
                    break
            if hasattr(items, "close"):
                items.close()
        except BaseException as error:  # handed to the consumer, which raises it
            promised.put(_Task(error=error))
        promised.put(None)
        for _ in range(threads):
            todo.put(None)

    threading.Thread(target=feed, daemon=True).start()
    try:
        while (task := promised.get()) is not None:
            yield task.wait()
            room.release()
    finally:
        stopped.set()
        room.release()
