"""Ordered work on threads: in order, bounded, and honest about errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from vedit.media.window import ordered_map, usable_cores


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_results_come_in_the_order_of_the_items(jobs: int) -> None:
    def slow_when_even(n: int) -> int:
        time.sleep(0.003 if n % 2 == 0 else 0)
        return n * n

    assert list(ordered_map(slow_when_even, range(40), jobs)) == [n * n for n in range(40)]


@pytest.mark.parametrize("jobs", [1, 3])
def test_at_most_two_per_job_and_two_more_items_are_alive(jobs: int) -> None:
    drawn = given = 0
    most = 0

    def items() -> Iterator[int]:
        nonlocal drawn, most
        for n in range(60):
            drawn += 1
            most = max(most, drawn - given)
            yield n

    for _ in ordered_map(lambda n: time.sleep(0.001), items(), jobs):
        given += 1
    assert most <= 2 * jobs + 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_comes_where_its_result_would_have_come(jobs: int) -> None:
    def fail_at_5(n: int) -> int:
        if n == 5:
            raise ValueError("five")
        return n

    seen: list[int] = []
    with pytest.raises(ValueError, match="five"):
        seen.extend(iter(ordered_map(fail_at_5, range(20), jobs)))
    results = ordered_map(fail_at_5, range(20), jobs)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="five"):
        next(results)


def test_an_error_of_the_source_is_not_swallowed() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(ordered_map(lambda n: n, broken(), 2))


def test_threads_end_when_the_consumer_stops_early() -> None:
    before = threading.active_count()
    results = ordered_map(lambda n: n, iter(range(1000)), 3)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_one_job_works_in_the_callers_thread() -> None:
    assert list(ordered_map(lambda _: threading.get_ident(), range(3), 1)) == [threading.get_ident()] * 3


@pytest.mark.parametrize("jobs", [2, 3, 8])
def test_results_that_are_ready_leave_while_the_source_waits(jobs: int) -> None:
    """What a pipe needs: the images that have come are out before the next one arrives."""
    gate = threading.Event()

    def items() -> Iterator[int]:
        yield from range(3)  # so quickly that no worker has finished when the source begins to wait
        assert gate.wait(10)
        yield 3

    results = ordered_map(lambda n: n, items(), jobs)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    gate.set()
    assert list(results) == [3]


def test_a_source_is_closed_when_the_consumer_stops_early() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.set()

    results = ordered_map(lambda n: n, items(), 2)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert closed.wait(5)


def test_nothing_in_gives_nothing_out() -> None:
    assert list(ordered_map(lambda n: n, [], 4)) == []


def test_there_is_at_least_one_core() -> None:
    assert usable_cores() >= 1


def test_an_absurd_number_of_jobs_starts_no_absurd_number_of_threads() -> None:
    gate, before = threading.Event(), threading.active_count()
    most = 0

    def count(n: int) -> int:
        nonlocal most
        most = max(most, threading.active_count() - before)
        if n >= 199:
            gate.set()
        return n

    assert list(ordered_map(count, range(200), 20_000)) == list(range(200))
    assert gate.is_set() and most <= 65


def test_a_system_without_threads_to_spare_works_with_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Scarce(threading.Thread):
        def start(self) -> None:
            if threading.active_count() > before + 2:
                raise RuntimeError("can't start new thread")
            super().start()

    before = threading.active_count()
    monkeypatch.setattr(threading, "Thread", Scarce)
    assert list(ordered_map(lambda n: n, range(50), 20)) == list(range(50))
