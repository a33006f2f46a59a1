"""Make a data set on disk from items, so that a run that was stopped goes on where it was.

An item is done when its row (in the manifest, or in the journal of a run that did not end) has the
key of what is asked for and its clip is there with the recorded size. Files appear when complete,
the row after them; a kill at any moment costs at most the items in work, and the folder of a run
that was stopped and called again equals that of one that was not.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from vedit import documents
from vedit.data.layout import (
    FORMAT,
    INSPECTED,
    JOURNAL,
    MANIFEST,
    REJECTED,
    SETTINGS,
    VERSION,
    Item,
    as_lines,
    clip_name,
    read_rows,
    tidy,
)
from vedit.documents import Kind, cell, read_json, table
from vedit.errors import OutputError, PartialFailure, UsageError, VeditError, Warn, option, reason_of, silent
from vedit.jobs.clips import write_frames
from vedit.jobs.watch import Watch, unwatched
from vedit.media.atomic import open_output
from vedit.media.window import ordered_map
from vedit.plain import json_text

DESCRIPTION = Kind(
    "the description of a data set", OutputError, "", "Name another folder", largest=2**20, names_files=True
)


class SetPlan(NamedTuple):
    """What a data set is to be.

    kind: the command that makes it. options: all that its files depend on besides the items.
    to: gif or mp4. rejected: (source, reason) of what was left out before any item was made.
    """

    kind: str
    folder: Path
    options: Mapping[str, Any]
    to: str = "gif"
    licence: str = "unstated"
    rejected: tuple[tuple[str, str], ...] = ()


class Summary(NamedTuple):
    """What came of it: items made now, items that were there, what was left out, what is corrupt."""

    folder: str
    written: int
    kept: int
    rejected: int
    failed: tuple[str, ...]

    @property
    def line(self) -> str:
        parts = [
            f"{self.written} clips written",
            f"{self.kept} were there" * bool(self.kept),
            f"{self.rejected} left out" * bool(self.rejected),
        ]
        parts.append(f"{len(self.failed)} corrupt" * bool(self.failed))
        more = f"; see {os.path.join(self.folder, REJECTED)}" if self.rejected or self.failed else ""
        return f"{self.folder}: {', '.join(part for part in parts if part)}{more}"

    def check(self) -> None:
        """Raise PartialFailure when some items could not be read."""
        if self.failed:
            some = ", ".join(self.failed[:5]) + (" ..." if len(self.failed) > 5 else "")
            raise PartialFailure(
                f"{len(self.failed)} clips could not be read: {some}.",
                f"The reasons are in {os.path.join(self.folder, REJECTED)}.",
                "Mend or remove them and call again: the rest is kept",
            )


def build(
    items: Iterable[Item],
    plan: SetPlan,
    *,
    total: int | None = None,
    jobs: int = 1,
    overwrite: bool = False,
    warn: Warn = silent,
    watch: Watch = unwatched,
) -> Summary:
    """Make the data set, or the rest of it. Corrupt clips are named, listed and left out.

    overwrite: make it anew when the folder holds one with other settings.
    Raises OutputError for a folder that holds something else, or cannot be written.
    """
    settings = open_folder(plan, overwrite)
    done = {row["id"]: row for row in _rows(plan.folder) if is_there(plan.folder, row)}
    rows: list[dict[str, Any]] = []
    failed: list[tuple[str, str]] = []
    with open_journal(plan.folder / JOURNAL) as journal:
        for item, row, error in watch(_made(items, plan, settings, done, jobs), total or 0, plan.kind):
            if error is not None:
                failed.append((item.source, _reason(error)))
                warn(f"{_reason(error)}: left out")
                continue
            if row is not done.get(item.name):
                journal.write(as_lines([row]))
                journal.flush()
            rows.append(row)
    kept = [row for row in rows if row is done.get(row["id"])]
    named = {row["id"] for row in rows}
    rows += [row for name, row in done.items() if name not in named]  # of a longer run before
    _finish(plan.folder, rows, (*plan.rejected, *failed))
    return Summary(
        str(plan.folder),
        len(named) - len(kept),
        len(kept),
        len(plan.rejected),
        tuple(name for name, _ in failed),
    )


def open_journal(path: Path) -> BinaryIO:
    """A file that lines are added to. Raises OutputError where it cannot be written."""
    try:
        return documents.open_journal(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot write: {reason_of(error)}.", "", "Name another folder") from None


def open_folder(plan: SetPlan, overwrite: bool) -> dict[str, Any]:
    """Make the folder, or check that it is this data set; gives the settings that rows are keyed by."""
    settings: dict[str, Any] = json.loads(
        json.dumps({"kind": plan.kind, "to": plan.to, **plan.options}, default=str)
    )
    about = {"format": FORMAT, "version": VERSION, "licence": plan.licence, "settings": settings}
    path = plan.folder / SETTINGS
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
        names = [name for name in os.listdir(plan.folder) if not name.startswith(".")]
    except OSError as error:
        raise OutputError(f"{plan.folder}: cannot make the folder: {reason_of(error)}.") from None
    for name in (MANIFEST, JOURNAL, REJECTED, SETTINGS, INSPECTED):
        if (plan.folder / name).is_dir():
            raise OutputError(
                f"{plan.folder / name} is a folder, and the data set writes a file of this name.",
                "",
                "Name another folder, or move that one away",
            )
    if path.exists():
        before = read_settings(plan.folder)
        if before == settings:
            return settings
        if not overwrite and _rows(plan.folder):
            changed = [
                f"{key} was {before.get(key)}, now {settings.get(key)}"
                for key in sorted({*before, *settings})
                if before.get(key) != settings.get(key)
            ]
            raise OutputError(
                f"{plan.folder} holds a data set with other settings: {'; '.join(changed)}.",
                "",
                f"Name another folder, or add {option('overwrite')} to make it anew",
            )
        _clear(plan.folder)
    elif names:
        raise OutputError(f"{plan.folder} is not empty, and holds no data set.", "", "Name a new folder")
    with open_output(str(path)) as file:
        file.write((json_text(about, indent=2) + "\n").encode())
    return settings


def read_settings(folder: Path) -> dict[str, Any]:
    """What a data set was made with. Raises OutputError when its dataset.json is none of ours."""
    name = str(folder / SETTINGS)
    about = table(read_json(name, DESCRIPTION), name, DESCRIPTION)
    if (about.get("format"), about.get("version")) != (FORMAT, VERSION):
        raise DESCRIPTION.refusal(
            name, f"its format is {about.get('format')!r}, version {about.get('version')!r}"
        )
    return table(about.get("settings"), name, DESCRIPTION)


def _rows(folder: Path) -> list[dict[str, Any]]:
    return [row for name in (MANIFEST, JOURNAL) for row in read_rows(folder / name) if _is_row(row)]


def _is_row(row: Mapping[str, Any]) -> bool:
    """Whether a line of a manifest is one that `_made` wrote."""
    kinds = {"id": str, "file": str, "key": str, "bytes": int, "captions": list}
    return all(isinstance(row.get(name), kind) for name, kind in kinds.items())


def is_there(folder: Path, row: Mapping[str, Any]) -> bool:
    """Whether the files of a row are in the folder with the recorded size."""
    clip = folder / os.path.basename(str(row["file"]))
    try:
        return clip.stat().st_size == row["bytes"] and clip.with_suffix(".txt").exists() == bool(
            row["captions"]
        )
    except OSError:
        return False


def _clear(folder: Path) -> None:
    """Remove the files that the rows of a data set name, and nothing else."""
    for row in _rows(folder):
        clip = folder / os.path.basename(str(row["file"]))
        for path in (clip, clip.with_suffix(".txt")):
            path.unlink(missing_ok=True)
    for name in (MANIFEST, JOURNAL, REJECTED, SETTINGS):
        (folder / name).unlink(missing_ok=True)


Made = tuple[Item, dict[str, Any], VeditError | None]


def _made(
    items: Iterable[Item],
    plan: SetPlan,
    settings: Mapping[str, Any],
    done: Mapping[str, dict[str, Any]],
    jobs: int,
) -> Iterator[Made]:
    """Each item with its row, or with the error that it ended with; what is done is not made again."""

    def make(item: Item) -> Made:
        key = item.key(settings)
        row = done.get(item.name)
        if row is not None and row["key"] == key:
            return item, row, None
        try:
            return item, write_item(item, plan.folder, plan.to, key), None
        except OutputError:
            raise
        except VeditError as error:
            return item, {}, error

    return ordered_map(make, items, jobs)


def write_item(item: Item, folder: Path, to: str, key: str) -> dict[str, Any]:
    """Write one clip with its captions; returns its row."""
    if item.name != clip_name(item.name):
        raise UsageError(
            f"{item.name!r} is no name for a clip.",
            "Names are letters, digits, dots, dashes and underscores.",
        )
    frames, delays, seen = item.read()
    captions = (*item.captions, *seen)
    clip = folder / f"{item.name}.{to}"
    if captions:
        with open_output(str(clip.with_suffix(".txt"))) as file:
            file.write("".join(tidy(caption) + "\n" for caption in captions).encode())
    write_frames(frames, delays, str(clip), name=item.name)
    data = clip.read_bytes()
    return {
        "id": item.name,
        "file": clip.name,
        "source": item.source,
        "captions": list(captions),
        "frames": len(frames),
        "fps": round(float(Fraction(100 * len(delays), sum(delays))), 3),
        "size": [frames.shape[2], frames.shape[1]],
        **item.facts,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "key": key,
    }


def _finish(folder: Path, rows: list[dict[str, Any]], rejected: tuple[tuple[str, str], ...]) -> None:
    """Write the manifest and the list of what was left out; then the journal has served."""
    with open_output(str(folder / MANIFEST)) as file:
        file.write(as_lines(rows))
    if rejected:
        with open_output(str(folder / REJECTED)) as file:
            file.write(
                "".join(f"{cell(tidy(name))}\t{cell(tidy(reason))}\n" for name, reason in rejected).encode(
                    "utf-8", "backslashreplace"
                )
            )
    else:
        (folder / REJECTED).unlink(missing_ok=True)
    (folder / JOURNAL).unlink(missing_ok=True)


def _reason(error: VeditError) -> str:
    """An error in one line."""
    return tidy(error.what).rstrip(".")


def limited(items: Iterable[Item], limit: int | None) -> Iterator[Item]:
    """At most so many items."""
    return islice(items, limit)
