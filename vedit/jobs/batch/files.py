"""Many inputs in one call: expand folders, name outputs, run all, and report what failed."""

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from vedit.errors import OutputError, PartialFailure, UsageError, VeditError, option, reason_of
from vedit.media.atomic import check_output, identity_of, is_special, make_folder, same_file
from vedit.media.formats import (
    CLIP_SUFFIXES,
    STILLS,
    names_pictures,
    output_format,
    suffix_of,
)
from vedit.media.window import ordered_map

T = TypeVar("T")
Say = Callable[[str], None]


class Item(NamedTuple):
    """One input and where its result goes. refusal: why nothing is done with it."""

    input: str
    output: str
    refusal: VeditError | None = None


class Outcome(NamedTuple, Generic[T]):
    """The result of one item, or the error that it ended with."""

    item: Item
    result: T | None = None
    error: VeditError | None = None


def _silent(message: str) -> None:
    """Nobody is told."""


def expand(
    inputs: Sequence[str],
    suffixes: tuple[str, ...] = CLIP_SUFFIXES,
    say: Say = _silent,
    is_wanted: Callable[[str], bool] = lambda name: True,
    results: str | None = None,
    has_sequences: bool = False,
) -> Iterator[tuple[str, str]]:
    """Files named, and clips in folders named: the path, and its name relative to what was named.

    Folders are walked in sorted order; hidden files are left out. say: told what else was passed
    over, and folders that cannot be read. is_wanted: by the name of a clip found in a folder.
    results: a folder that is not walked into, since what lies there has been made already.
    has_sequences: a folder of pictures alone is a clip.
    """
    for name in inputs:
        if name == "-" or not os.path.isdir(name) or (has_sequences and holds_pictures(name)):
            yield name, os.path.basename(name.rstrip("/")) or os.path.basename(os.path.realpath(name))
            continue
        passed: list[str] = []
        for folder, folders, files in os.walk(name, onerror=lambda error: _tell_unreadable(error, say)):
            made = [f for f in folders if results and same_file(os.path.join(folder, f), results)]
            passed += [f"{f}/" for f in made]
            folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in made)
            passed += [f"{f}/" for f in folders if os.path.islink(os.path.join(folder, f))]
            sequences = [f for f in folders if has_sequences and holds_pictures(os.path.join(folder, f))]
            folders[:] = [f for f in folders if f not in sequences]
            for sequence in sequences:
                path = os.path.join(folder, sequence)
                yield path, os.path.relpath(path, name)
            for file in sorted(files):
                path = os.path.join(folder, file)
                if file.startswith("."):
                    continue
                if file.lower().endswith(suffixes) and is_wanted(file) and _is_regular(path):
                    yield path, os.path.relpath(path, name)
                else:
                    passed.append(file)
        if passed:
            say(f"{name}: passed over {_counted(passed)}")


def _is_regular(path: str) -> bool:
    """Opening a pipe or a device that lies in a folder may wait for ever."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:  # a link that leads nowhere: reading it tells
        return True


def _tell_unreadable(error: OSError, say: Say) -> None:
    say(f"{error.filename}: cannot read the folder, nothing in it is done: {reason_of(error)}")


def _counted(names: Sequence[str]) -> str:
    """Up to three names as they are, more by their suffixes."""
    if len(names) <= 3:
        return ", ".join(names)
    kinds = Counter(
        "folders" if name.endswith("/") else os.path.splitext(name)[1].lower() or "without a suffix"
        for name in names
    )
    return (
        f"{len(names)} files that are not taken"
        f" ({', '.join(f'{count} {kind}' for kind, count in kinds.most_common())})"
    )


def name_outputs(
    inputs: Sequence[str],
    output: str | None,
    output_dir: str | None,
    in_place: bool,
    suffix: str = "",
    to: str | None = None,
    overwrite: bool | None = None,
    is_stdout_tty: bool = True,
    makes_folders: bool = True,
    say: Say = _silent,
) -> list[Item]:
    """Pair inputs with outputs, and find what would overwrite, before any work is done.

    to: format of the outputs, when it is not to go by their names; in a folder they get its suffix.
    say: told what is passed over. One input whose output is in the way is refused; among several the others
    go on, and with overwrite False those in the way are left out. Raises UsageError for a combination that
    makes no sense and for names without a format.
    """
    _check_combination(inputs, output, output_dir, in_place, suffix, is_stdout_tty)
    by_name = to is None and (
        output_dir is not None or in_place
    )  # a result can only be what the input's name says
    is_wanted = (lambda name: suffix_of(name) != "") if by_name else lambda name: True
    found = (
        list(expand(inputs, say=say, is_wanted=is_wanted, results=output_dir))
        if output_dir is not None or in_place
        else [(inputs[0], "")]
    )
    if output_dir is not None:
        items = [
            Item(path, os.path.join(output_dir, _renamed(relative, suffix, to, is_pattern=_is_pattern(path))))
            for path, relative in found
        ]
    elif in_place:
        items = [Item(path, path) for path, _ in found]
    else:
        items = [Item(inputs[0], "-" if output is None else output)]
    if not items:
        raise UsageError(f"no clips found in {', '.join(inputs)}.", f"Looked for {' '.join(CLIP_SUFFIXES)}.")
    for item in items:
        output_format(item.output, to)
    refuse_collisions(items)
    if not makes_folders:
        return items
    if output_dir is not None:
        for folder in {os.path.dirname(item.output) for item in items}:
            make_folder(folder)
    return list(_checked(items, overwrite, in_place, say))


def _check_combination(
    inputs: Sequence[str],
    output: str | None,
    output_dir: str | None,
    in_place: bool,
    suffix: str,
    is_stdout_tty: bool,
) -> None:
    places = {"output": output is not None, "output_dir": output_dir is not None, "in_place": in_place}
    given = [option(name) for name, used in places.items() if used]
    to_file, to_folder = option("output", "FILE"), option("output_dir", "DIR")
    rewritten = option("in_place", True)
    if len(given) > 1:
        raise UsageError(
            f"{' and '.join(given)} were given together.",
            f"Give one: {to_file} for one output, {to_folder} for many, or {rewritten}.",
        )
    if output == "" or output_dir == "":
        raise UsageError(
            f"the name behind {given[0]} is empty.",
            "A variable of a script may not be set.",
            f"Name a file with {option('output')}, a folder with {option('output_dir')}",
        )
    if suffix and output_dir is None:
        raise UsageError(
            f"{option('suffix', suffix)} is for the names that {option('output_dir')} writes.",
            "",
            f"Add {to_folder}, or leave out {option('suffix')}",
        )
    if in_place and any(names_pictures(name) and not os.path.isdir(name) for name in inputs):
        raise UsageError("pictures cannot be rewritten in place as one clip.", "", f"Use {to_file}")
    if in_place and "-" in inputs:
        raise UsageError("standard input cannot be rewritten in place.", "", f"Use {to_file}")
    if output_dir is not None or in_place:
        return
    if len(inputs) == 1 and output is not None and inputs[0] != "-" and holds_pictures(inputs[0]):
        return  # a folder of frames is one clip
    if any(name != "-" and os.path.isdir(name) for name in inputs):
        raise UsageError(
            "a folder was given as input.", "Its clips need a folder for the results.", f"Add {to_folder}"
        )
    if len(inputs) > 1:
        raise UsageError(
            f"{len(inputs)} inputs need {to_folder} or {rewritten}.",
            f"Pictures that are to be one clip: {option('join', True)}."
            if all(name.lower().endswith(STILLS) for name in inputs)
            else "",
            "Example: vedit gif rotate 90 a.gif b.gif -O turned",
        )
    if output is None and is_stdout_tty:
        raise UsageError(
            "no output named, and standard output is a terminal.", "", f"Add {to_file}, or pipe the result on"
        )


def holds_pictures(folder: str) -> bool:
    """Whether a folder is one clip: it holds pictures, and nothing else that is a clip."""
    try:
        names = [name.lower() for name in os.listdir(folder) if not name.startswith(".")]
    except OSError:
        return False
    clips = tuple(suffix for suffix in CLIP_SUFFIXES if suffix not in STILLS)
    return any(name.endswith(STILLS) for name in names) and not any(name.endswith(clips) for name in names)


def _checked(items: list[Item], overwrite: bool | None, in_place: bool, say: Say) -> Iterator[Item]:
    """The items with what stands in their way; with overwrite False, less those whose output exists."""
    is_one = len(items) == 1
    for item in items:
        try:
            if not is_one and overwrite is False and os.path.isfile(item.output):
                say(f"{item.output} exists, and is left as it is ({option('overwrite', False)})")
                continue
            check_output(item.output, _files_of(item.input), overwrite, in_place)
            yield item
        except OutputError as error:
            if is_one:
                raise
            yield item._replace(refusal=error)


def _files_of(name: str) -> tuple[str, ...]:
    """The files that an input stands for, which its output must not replace unasked."""
    if not names_pictures(name):
        return (name,)
    from vedit.media.sequence import listed

    try:
        return tuple(listed(name))
    except VeditError:  # reading it will tell
        return ()


def _is_pattern(path: str) -> bool:
    """Whether an input is a pattern; a file that is called so is not."""
    return names_pictures(path) and not os.path.isdir(path)


def _renamed(name: str, suffix: str, to: str | None, *, is_pattern: bool = False) -> str:
    stem, old = os.path.splitext("stdin.gif" if name == "-" else name)
    if is_pattern:  # img-%03d.png becomes img.gif
        folder, stem = os.path.split(stem)
        stem = os.path.join(folder, re.sub(r"[-_. ]*(%0?\d*d|[*?\[\]]+)[-_. ]*", "", stem) or "pictures")
    return f"{stem}{suffix}{old if to is None else f'.{to}'}"


def refuse_collisions(items: Iterable[Item]) -> None:
    """Two results under one name, or a result in the place of another item's input, lose one of them."""
    inputs = {identity_of(item.input): item for item in items if item.input != "-"}
    seen: dict[object, str] = {}
    for item in items:
        if item.output == "-" or is_special(item.output):
            continue
        identity = identity_of(item.output)
        if identity in seen:
            raise UsageError(
                f"{seen[identity]} and {item.input} would both be written to {item.output}.",
                "",
                "Write them to different folders",
            )
        seen[identity] = item.input
        if (other := inputs.get(identity)) and other.input != item.input:
            raise UsageError(
                f"{item.input} would be written to {item.output}, which is an input too.",
                "",
                "Write the results to another folder",
            )


def run_batch(items: Sequence[Item], work: Callable[[Item], T], jobs: int) -> Iterator[Outcome[T]]:
    """Do the work of every item, in order, on threads; an item that fails does not stop the others."""

    def attempt(item: Item) -> Outcome[T]:
        if item.refusal is not None:
            return Outcome(item, error=item.refusal)
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
    raise PartialFailure(
        f"{len(failed)} of {len(outcomes)} inputs failed:"
        f" {', '.join(outcome.item.input for outcome in failed)}."
    )
