"""Apply a function to a stream on threads, in order, with a bounded number of items alive.

Pillow's codec, resampler and quantiser release the GIL, so threads scale and no process pool
is needed. `concurrent.futures` would do, but importing it costs more than cropping a small GIF.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def usable_cores() -> int:
    """The number of cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Task:
    __slots__ = ("done", "error", "item", "result")

    def __init__(self, item: Any) -> None:
        self.item = item
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = threading.Event()


def ordered_map(function: Callable[[T], R], items: Iterable[T], jobs: int) -> Iterator[R]:
    """Yield `function(item)` for each item, in the order of the items.

    jobs: threads to use; 1 works in the caller's thread. At most 2*jobs+2 items are alive.
    An exception of the function is raised where its result would have come.
    """
    if jobs <= 1:
        yield from map(function, items)
        return
    tasks: SimpleQueue[_Task | None] = SimpleQueue()

    def work() -> None:
        while (task := tasks.get()) is not None:
            try:
                task.result = function(task.item)
            except BaseException as error:  # handed to the consumer, which raises it
                task.error = error
            task.item = None
            task.done.set()

    threads: list[threading.Thread] = []
    window: deque[_Task] = deque()

    def finish(task: _Task) -> R:
        task.done.wait()
        if task.error is not None:
            raise task.error
        return task.result  # type: ignore[no-any-return]

    try:
        for item in items:
            task = _Task(item)
            window.append(task)
            tasks.put(task)
            if len(threads) < min(jobs, len(window)):
                threads.append(threading.Thread(target=work, daemon=True))
                threads[-1].start()
            # a result that is ready leaves at once, so that a pipe streams; else fill the window
            while window and (len(window) > 2 * jobs or window[0].done.is_set()):
                yield finish(window.popleft())
        while window:
            yield finish(window.popleft())
    finally:
        while not tasks.empty():  # after an error or a signal, what has not been begun is not begun
            try:
                tasks.get_nowait()
            except Empty:
                break
        for _ in threads:
            tasks.put(None)
