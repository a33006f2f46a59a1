"""Clips that go from files to files: their plan, and running them all."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from vedit.errors import UsageError, option
from vedit.jobs.batch.files import Item, Outcome, run_batch
from vedit.jobs.sink import Quiet, Sink
from vedit.media.atomic import check_output, together
from vedit.media.formats import names_pictures, output_format
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
            settings = settings._replace(look=getattr(sink, "look", iter))

        def work(item: Item) -> Report:
            with together(is_last=is_last and is_one):
                heard = settings._replace(warn=lambda message: sink.warn(f"{item.input}: {message}"))
                return self.work(item, heard)

        return run_batch(self.items, work, min(self.cores, max(1, len(self.items))))


def joined(
    names: tuple[str, ...],
    output: str | None,
    output_dir: str | None,
    in_place: bool,
    to: str | None,
    overwrite: bool | None,
    is_stdout_tty: bool,
) -> Item:
    """Pictures that are the frames of one clip, and where it goes. Raises VeditError."""
    if output_dir is not None or in_place:
        given = option("output_dir", "DIR") if output_dir is not None else option("in_place", True)
        raise UsageError(
            f"{option('join', True)} makes one clip, and {given} is for many.",
            "",
            f"Name it with {option('output', 'FILE')}",
        )
    if "-" in names:
        raise UsageError(f"{option('join', True)} takes files, and - is standard input.")
    if folder := next((name for name in names if names_pictures(name)), None):
        raise UsageError(
            f"{option('join', True)} takes files, and {folder} stands for several.",
            "A folder or a pattern is a clip by itself.",
            f"Leave out {option('join', True)}",
        )
    return one_output(
        names, output, to, overwrite, is_stdout_tty, f"With {option('join', True)} every name is an input."
    )


def one_output(
    names: tuple[str, ...],
    output: str | None,
    to: str | None,
    overwrite: bool | None,
    is_stdout_tty: bool,
    why: str,
) -> Item:
    """One clip that is made of several inputs, and where it goes. Raises VeditError.

    why: every name is an input.
    """
    if output is None and is_stdout_tty:
        raise UsageError(
            "no output named, and standard output is a terminal.",
            why,
            f"Add {option('output', 'FILE')}, or pipe the result on",
        )
    if output is not None and output_format(output, to) != "folder":
        check_output(output, names, overwrite)
    label = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    return Item(label, "-" if output is None else output)


def cores_for(jobs: int | None) -> int:
    """Threads to use: as many as were asked for, else as there are cores."""
    return jobs or usable_cores()


def limits_of(texts: tuple[str, ...]) -> Limits:
    """Limits as KEY=N texts change those of the environment. Raises UsageError."""
    return parse_limits(texts, environment_limits())
