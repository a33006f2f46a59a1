"""What edits and scores keep for the next time: list and remove it, without loading torch."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from vedit.documents import Kind, parse_json, table
from vedit.errors import InputError, OutputError, reason_of
from vedit.jobs.claims import Work, left

HEADER = Kind("an inversion", largest=2**26, names_files=True)
BEING_WRITTEN_S = (
    86400  # a part file that nobody has changed for a day belongs to no call, whoever may have it open
)


class Entry(NamedTuple):
    """One inversion kept."""

    key: str
    path: str
    size: int
    model: str
    prompt: str


_passing: list[str] = []


@contextmanager
def passing() -> Iterator[None]:
    """Let what is computed inside be kept until the end of it only, as measurements want it."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="vedit-") as place:
        _passing.append(place)
        try:
            yield
        finally:
            _passing.remove(place)


def base() -> str:
    """Where everything is kept: VEDIT_CACHE_DIR, or the XDG place."""
    if _passing:
        return _passing[-1]
    return os.environ.get("VEDIT_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "vedit"
    )


def folder() -> str:
    """Where inversions are kept."""
    return os.path.join(base(), "inversions")


def work_folder() -> str:
    """Where edits and inversions that were stopped keep what they have done."""
    return os.path.join(base(), "unfinished")


def features_folder() -> str:
    """Where `vedit score --cache` keeps what its networks computed."""
    return os.path.join(base(), "score", "features")


def features() -> list[tuple[str, int]]:
    """Path and size of each file of kept features."""
    return [(path, size) for path, size, _ in _files(features_folder(), ".features.safetensors")]


def prompts_folder() -> str:
    """Where prompts that a language model wrote are kept."""
    return os.path.join(base(), "rewrite")


def captions_folder() -> str:
    """Where captions that a network or a service gave are kept."""
    return os.path.join(base(), "caption")


def answers_folder() -> str:
    """Where `vedit score --cache` keeps what judges answered."""
    return os.path.join(base(), "score", "judge")


def words() -> dict[str, list[tuple[str, int]]]:
    """Path and size of the files of words that are kept, by what they are."""
    places = {
        "prompts of vedit rewrite": (prompts_folder(), ".json"),
        "captions of vedit caption": (captions_folder(), ".json"),
        "answers of judges": (answers_folder(), ".txt"),
    }
    return {
        name: [(path, size) for path, size, _ in _files(place, ending)]
        for name, (place, ending) in places.items()
    }


def flows_folder() -> str:
    """Where the motion of clips is kept."""
    return os.path.join(base(), "flows")


def flows() -> list[tuple[str, int]]:
    """Path and size of each flow that is kept."""
    return [(path, size) for path, size, _ in _files(flows_folder(), ".flow.npz")]


def unfinished() -> list[tuple[str, int]]:
    """Path and size of the part files of calls that were killed: no call writes at them for a while now."""
    now = time.time()
    found = [
        part for place in (folder(), features_folder(), flows_folder()) for part in _files(place, ".part")
    ]
    return [
        (path, size) for path, size, changed in found if now - changed > BEING_WRITTEN_S or not _is_open(path)
    ]


def unfinished_work() -> list[Work]:
    """Edits and inversions that were stopped, and no call goes on with now."""
    return left(Path(work_folder()))


def _is_open(path: str) -> bool:
    """Whether a process of this user has the file open; True where that cannot be known."""
    status = os.stat(path)
    for link in glob.iglob("/proc/[0-9]*/fd/*"):
        try:
            if os.path.samestat(os.stat(link), status):
                return True
        except OSError:
            continue
    return not os.path.isdir("/proc/self/fd")


def _files(place: str, suffix: str) -> list[tuple[str, int, float]]:
    """Path, size and time of the last change of the files of a folder, newest first; [] when there is no
    folder.
    """
    found = []
    try:
        for entry in os.scandir(place):
            if entry.name.endswith(suffix) and entry.is_file(follow_symlinks=False):
                status = entry.stat()
                found.append((entry.path, status.st_size, status.st_mtime))
    except (FileNotFoundError, NotADirectoryError):
        pass  # also of a file that another call has just removed
    except OSError as error:
        raise InputError(f"{place}: cannot read the folder: {reason_of(error)}.") from None
    return sorted(found, key=lambda file: -file[2])


def entries() -> list[Entry]:
    """What is kept, newest first; a file that cannot be read is listed without its facts."""
    found = []
    for path, size, _ in _files(folder(), ".inv.safetensors"):
        facts = _facts(path)
        model = facts.get("model")
        name = model.get("id", "?") if isinstance(model, dict) else "?"
        found.append(
            Entry(
                os.path.basename(path).split(".")[0].partition("-")[0],
                path,
                size,
                str(name),
                str(facts.get("prompt", "?")),
            )
        )
    return found


def _facts(path: str) -> dict[str, Any]:
    """The `vedit` object of a safetensors header; {} where it is damaged."""
    try:
        with open(path, "rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = table(
                parse_json(stream.read(min(length, HEADER.largest + 1)), path, HEADER), path, HEADER
            )
        text = table(header.get("__metadata__"), path, HEADER).get("vedit")
        return table(parse_json(text, path, HEADER), path, HEADER) if isinstance(text, str) else {}
    except (OSError, InputError):
        return {}


class Removed(NamedTuple):
    """How many of each were removed, and the bytes of all. parts: files of calls that were killed. works:
    edits and inversions that were stopped. words: files of prompts, captions and answers. flows: of clips.
    """

    inversions: int
    features: int
    parts: int
    works: int
    size: int
    words: int = 0
    flows: int = 0


def clear() -> Removed:
    """Remove everything kept, but what a call works on now."""
    kept, of_scores, parts = [(entry.path, entry.size) for entry in entries()], features(), unfinished()
    written, moving = [file for files in words().values() for file in files], flows()
    for path, _ in (*kept, *of_scores, *parts, *written, *moving):
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise OutputError(f"{path}: cannot remove: {reason_of(error)}.") from None
    works = unfinished_work()
    for work in works:
        work.remove()
    size = sum(size for _, size in (*kept, *of_scores, *parts, *written, *moving))
    stopped = sum(work.size > 0 for work in works)
    size += sum(work.size for work in works)
    return Removed(len(kept), len(of_scores), len(parts), stopped, size, len(written), len(moving))
