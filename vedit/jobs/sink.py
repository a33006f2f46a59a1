"""Whom a job tells: a command line, a page, a batch, or nobody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from vedit.errors import Warn
from vedit.jobs.watch import Watch


class Sink(Protocol):
    """What a job says while it runs."""

    def warn(self, message: str) -> None:
        """Hear what the user should know; the job goes on."""

    def steps(self, steps: Iterable[Any], total: int | None, what: str) -> Iterator[Any]:
        """Pass the steps of long work on, and show how far it is. Raising here ends the job cleanly.

        total: how many there will be, None where nobody knows, as with the "images" of a pipe.
        """
        ...


class Quiet:
    """Tells nobody."""

    def warn(self, message: str) -> None:
        pass

    def steps(self, steps: Iterable[Any], total: int | None, what: str) -> Iterator[Any]:
        return iter(steps)


class Told:
    """A sink of two functions, for callers that have no more."""

    def __init__(self, warn: Warn, watch: Watch) -> None:
        self.warn, self.steps = warn, watch
