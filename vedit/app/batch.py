"""Many inputs in one call: expand folders, name outputs, run all, and report what failed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from vedit.errors import OutputError, PartialFailure, UsageError, VeditError
from vedit.media.atomic import check_output
from vedit.media.window import ordered_map

T = TypeVar("T")
CLIP_SUFFIXES = (".gif", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".apng", ".webp")


class Item(NamedTuple):
    """One input and where its result goes."""

    input: str
    output: str


class Outcome(NamedTuple, Generic[T]):
    """The result of one item, or the error that it ended with."""

    item: Item
    result: T | None = None
    error: VeditError | None = None


def expand(inputs: Sequence[str], suffixes: tuple[str, ...] = CLIP_SUFFIXES) -> Iterator[tuple[str, str]]:
    """Files named, and clips in folders named: the path, and its name relative to what was named.

    Folders are walked in sorted order; hidden files are left out.
    """
    for name in inputs:
        if name == "-" or not os.path.isdir(name):
            yield name, os.path.basename(name)
            continue
        for folder, folders, files in os.walk(name):
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            for file in sorted(files):
                if file.lower().endswith(suffixes) and not file.startswith("."):
                    path = os.path.join(folder, file)
                    yield path, os.path.relpath(path, name)


def name_outputs(
    inputs: Sequence[str],
    output: str | None,
    output_dir: str | None,
    in_place: bool,
    suffix: str = "",
    extension: str | None = None,
    overwrite: bool | None = None,
    is_stdout_tty: bool = True,
    makes_folders: bool = True,
) -> list[Item]:
    """Pair inputs with outputs, and refuse what would overwrite, before any work is done.

    extension: of the outputs in a folder, with its dot, when it is not the input's.
    Raises UsageError for a combination that makes no sense, OutputError for an output in the way.
    """
    given = [flag for flag, used in (("-o", output), ("-O", output_dir), ("--in-place", in_place)) if used]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} were given together.", "Give one: -o FILE for one output, -O DIR for many, or --in-place.")
    if output_dir is None and any(name != "-" and os.path.isdir(name) for name in inputs) and not in_place:
        raise UsageError("a folder was given as input.", "Its clips need a folder for the results.", "Add -O DIR")
    if output_dir is not None:
        items = [Item(path, os.path.join(output_dir, _renamed(relative, suffix, extension))) for path, relative in expand(inputs)]
    elif in_place:
        items = [Item(path, path) for path, _ in expand(inputs)]
        if any(item.input == "-" for item in items):
            raise UsageError("standard input cannot be rewritten in place.", "", "Use -o FILE")
    elif len(inputs) > 1:
        raise UsageError(f"{len(inputs)} inputs need -O DIR or --in-place.", "", "Example: vedit gif rotate 90 a.gif b.gif -O turned")
    elif output is None and is_stdout_tty:
        raise UsageError("no output named, and standard output is a terminal.", "", "Add -o FILE, or pipe the result on")
    else:
        items = [Item(inputs[0], output or "-")]
    if not items:
        raise UsageError(f"no clips found in {', '.join(inputs)}.", f"Looked for {' '.join(CLIP_SUFFIXES)}.")
    _refuse_collisions(items)
    if output_dir is not None and makes_folders:
        for folder in {os.path.dirname(item.output) for item in items}:
            _make_folder(folder)
    if makes_folders:
        for item in items:
            check_output(item.output, (item.input,), overwrite, in_place)
    return items


def _renamed(name: str, suffix: str, extension: str | None) -> str:
    stem, old = os.path.splitext("stdin.gif" if name == "-" else name)
    return f"{stem}{suffix}{old if extension is None else extension}"


def _refuse_collisions(items: list[Item]) -> None:
    seen: dict[str, str] = {}
    for item in items:
        if item.output in seen and item.output != "-":
            raise UsageError(f"{seen[item.output]} and {item.input} would both be written to {item.output}.", "", "Write them to different folders")
        seen[item.output] = item.input


def _make_folder(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot make the folder: {(error.strerror or str(error)).lower()}.") from None


def run_batch(items: Sequence[Item], work: Callable[[Item], T], jobs: int) -> Iterator[Outcome[T]]:
    """Do the work of every item, in order, on threads; an item that fails does not stop the others."""

    def attempt(item: Item) -> Outcome[T]:
        try:
            return Outcome(item, work(item))
        except VeditError as error:
            return Outcome(item, error=error)

    return ordered_map(attempt, items, jobs)


def raise_failures(outcomes: Sequence[Outcome[T]]) -> None:
    """After a batch: nothing when all went well, the error of a single item, else PartialFailure."""
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if not failed:
        return
    if len(outcomes) == 1:
        assert failed[0].error is not None
        raise failed[0].error
    raise PartialFailure(f"{len(failed)} of {len(outcomes)} inputs failed: {', '.join(outcome.item.input for outcome in failed)}.")
