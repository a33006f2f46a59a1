"""Clips that go from files to files: their plan, and running them all."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from vedit.jobs.batch.files import Item, Outcome, run_batch
from vedit.jobs.sink import Quiet, Sink
from vedit.media.atomic import together
from vedit.media.limits import Limits, environment_limits, parse_limits
from vedit.media.run import Report, Settings
from vedit.media.window import usable_cores


class FilesPlan(NamedTuple):
    """Clips that can begin, each with its output. work: what is done with one; cores: threads in all."""

    items: list[Item]
    work: Callable[[Item, Settings], Report]
    settings: Settings
    cores: int

    def __str__(self) -> str:
        return "\n".join(f"{item.input} to {item.output}" for item in self.items)

    def run(self, sink: Sink = Quiet(), *, is_last: bool = False) -> Iterator[Outcome[Report]]:
        """Run them, in order; one that fails does not stop the others.

        is_last: nothing else is to be done after a single clip, see `media.atomic.together`.
        """
        is_one = len(self.items) == 1
        settings = self.settings._replace(jobs=self.cores if is_one else 1)
        if is_one:
            settings = settings._replace(watch=lambda frames, total: sink.steps(frames, total, "images"))

        def work(item: Item) -> Report:
            with together(is_last=is_last and is_one):
                heard = settings._replace(warn=lambda message: sink.warn(f"{item.input}: {message}"))
                return self.work(item, heard)

        return run_batch(self.items, work, min(self.cores, max(1, len(self.items))))


def cores_for(jobs: int | None) -> int:
    """Threads to use: as many as were asked for, else as there are cores."""
    return jobs or usable_cores()


def limits_of(texts: tuple[str, ...]) -> Limits:
    """Limits as KEY=N texts change those of the environment. Raises UsageError."""
    return parse_limits(texts, environment_limits())
