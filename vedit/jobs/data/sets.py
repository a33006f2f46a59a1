"""The data sets that can be made: for each, the items of a `build.SetPlan` from the user's own files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vedit.data import folder, moving_mnist, msrvtt, table, v2vbench
from vedit.data.layout import (
    INSPECTED,
    ROWS,
    Item,
    Pictures,
    as_lines,
    clip_name,
    file_stamp,
    read_captions,
    read_rows,
    tidy,
    unique,
)
from vedit.documents import validated
from vedit.errors import InputError, UsageError, VeditError, Warn, option, silent
from vedit.jobs.batch.files import expand
from vedit.jobs.clips import even_delays
from vedit.jobs.data.build import SetPlan, Summary, build, limited, open_folder, open_journal
from vedit.jobs.data.read import Cut, as_played, read_cut, reader, times
from vedit.jobs.watch import Watch, unwatched
from vedit.media.atomic import open_output
from vedit.media.window import ordered_map


class Run(NamedTuple):
    """How a data set is made: where, as what, and whom to tell."""

    folder: Path
    to: str = "gif"
    limit: int | None = None
    jobs: int = 1
    overwrite: bool = False
    warn: Warn = silent
    watch: Watch = unwatched

    def make(self, items: Iterable[Item], total: int, plan: SetPlan) -> Summary:
        total = total if self.limit is None else min(total, self.limit)
        return build(
            limited(items, self.limit),
            plan,
            total=total,
            jobs=self.jobs,
            overwrite=self.overwrite,
            warn=self.warn,
            watch=self.watch,
        )


def cut_options(cut: Cut) -> dict[str, Any]:
    """A cut as the description of a data set tells it, without what is not used."""
    return {
        name: str(value) if isinstance(value, Fraction) else value
        for name, value in cut._asdict().items()
        if value not in (None, 0)
    }


# --- Moving MNIST ------------------------------------------------------------------------------

MNIST_RATE = Fraction(10)


def moving_mnist_file(
    source: str, run: Run, *, frames: int | None, scale: int, caption: str | None, count: int
) -> Summary:
    """The public file as a data set. caption: one for all; None tracks the motion of `count` digits."""
    clips = moving_mnist.open_file(source)
    stamp = file_stamp(source)

    def read(number: int) -> Pictures:
        grey = np.asarray(clips[:frames, number])
        return _grey(grey, scale, () if caption is not None else (moving_mnist.motion_caption(grey, count),))

    fixed = (tidy(caption),) if caption is not None else ()
    items = (
        Item(f"{number:05d}", fixed, f"{os.path.basename(source)}[{number}]", stamp, partial(read, number))
        for number in range(clips.shape[1])
    )
    options = {"frames": frames, "scale": scale, "caption": caption, "count": count}
    return run.make(items, clips.shape[1], SetPlan("moving-mnist", run.folder, options, run.to))


def moving_mnist_drawn(
    clips: int,
    run: Run,
    *,
    seed: int,
    frames: int,
    scale: int,
    count: int,
    straight: bool,
    digits: str | None,
) -> Summary:
    """Clips drawn by the published rule, with exact captions. digits: an MNIST file, None for a font."""
    glyphs = moving_mnist.font_glyphs if digits is None else moving_mnist.mnist_glyphs(digits)

    def items() -> Iterator[Item]:
        for number in range(clips):
            flight = moving_mnist.draw(seed, number, glyphs, frames=frames, count=count, straight=straight)
            facts = {"digits": flight.digits}
            yield Item(
                f"{number:05d}",
                (flight.caption,),
                "drawn",
                f"{seed}:{number}",
                partial(_grey, flight.frames_FYX, scale),
                facts,
            )

    options = {
        "seed": seed,
        "frames": frames,
        "scale": scale,
        "count": count,
        "straight": straight,
        "digits": digits or "font",
    }
    return run.make(
        items(),
        clips,
        SetPlan(
            "moving-mnist --synth", run.folder, options, run.to, "drawn by this program: no rights of others"
        ),
    )


def _grey(frames_FYX: np.ndarray, scale: int, captions: tuple[str, ...] = ()) -> Pictures:
    frames = moving_mnist.grey_to_rgb(frames_FYX, scale)
    return Pictures(frames, even_delays(len(frames), MNIST_RATE), captions)


# --- a folder of one's own -----------------------------------------------------------------------


class Captions(NamedTuple):
    """Where captions come from: the side file NAME.txt always; then `text`, then the file's name if
    `by_name`.
    """

    text: str | None = None
    by_name: bool = True

    def of(self, path: str) -> tuple[str, ...]:
        said = read_captions(Path(path).with_suffix(".txt"))
        other = self.text or (folder.words_of(path) if self.by_name else "")
        return said or ((tidy(other),) if other else ())


def own_folder(
    source: str, run: Run, cut: Cut, limits: folder.Limits, captions: Captions, *, keep_doubles: bool
) -> Summary:
    """Clips of a folder that pass the limits, each shown once, with their captions."""
    options = {
        **cut_options(cut),
        "limits": limits._asdict(),
        "captions": captions._asdict(),
        "keep_doubles": keep_doubles,
    }
    plan = SetPlan("folder", run.folder, options, run.to)
    if not os.path.isdir(source):
        raise InputError(f"{source} is no folder.", "It holds the clips: GIF, WebP or video files.")
    open_folder(plan, run.overwrite)
    inside = os.path.realpath(run.folder) + os.sep
    paths = [path for path, _ in expand([source]) if not os.path.realpath(path).startswith(inside)]
    if not paths:
        raise InputError(f"{source}: no clips found.", f"Looked for {' '.join(table.SUFFIXES)}.")
    inspected, corrupt = inspect_all(paths, run)
    rejected = [(path, why) for path, clip in inspected.items() if (why := folder.fault(clip, limits))]
    refused = {path for path, _ in rejected}
    same = (
        {}
        if keep_doubles
        else folder.doubles(clip for path, clip in inspected.items() if path not in refused)
    )
    rejected += [
        (path, f"shows the same as {os.path.relpath(other, source)}") for path, other in same.items()
    ]
    taken = [path for path in paths if path not in refused and path not in same]
    texts: dict[str, tuple[str, ...]] = {}
    for path in taken:
        try:
            texts[path] = captions.of(path)
            why = "no caption: no NAME.txt beside it, and the name has no words"
        except InputError as error:
            texts[path], why = (), error.what
        if path not in corrupt and not texts[path]:
            rejected.append((path, why))
    wanted = [
        path for path in taken if path in corrupt or texts[path]
    ]  # what is corrupt is read again, and told
    names = unique(clip_name(os.path.splitext(os.path.relpath(path, source))[0]) for path in wanted)
    items = (
        Item(name, texts[path], os.path.relpath(path, source), file_stamp(path), reader(path, cut))
        for name, path in zip(names, wanted)
    )
    listed = tuple((os.path.relpath(path, source), why) for path, why in rejected)
    return run.make(items, len(wanted), plan._replace(rejected=listed))


def inspect_all(paths: Sequence[str], run: Run) -> tuple[dict[str, folder.Inspection], set[str]]:
    """What is known of each clip, and the corrupt ones; what an earlier run saw is not looked at again."""
    seen = {
        (row["source"], row["stamp"]): row for row in read_rows(run.folder / INSPECTED) if _is_inspected(row)
    }

    def look(path: str) -> tuple[str, str, folder.Inspection | None, bool]:
        stamp = file_stamp(path)
        row = seen.get((path, stamp))
        if row is not None:
            return (
                path,
                stamp,
                folder.Inspection(**{name: row[name] for name in folder.Inspection._fields}),
                False,
            )
        try:
            return path, stamp, inspect(path), True
        except VeditError:
            return path, stamp, None, False

    found: dict[str, folder.Inspection] = {}
    corrupt: set[str] = set()
    with open_journal(run.folder / INSPECTED) as journal:
        for path, stamp, clip, is_new in run.watch(ordered_map(look, paths, run.jobs), len(paths), "inspect"):
            if clip is None:
                corrupt.add(path)
                continue
            found[path] = clip
            if is_new:
                journal.write(as_lines([{**clip._asdict(), "stamp": stamp}]))
                journal.flush()
    return found, corrupt


def _is_inspected(row: Mapping[str, Any]) -> bool:
    """Whether a line tells of a clip that was looked at, in the types of an `Inspection`."""
    try:
        clip = validated(
            {name: row[name] for name in folder.Inspection._fields}, folder.Inspection, INSPECTED, ROWS
        )
        bytes.fromhex(clip.hash + clip.thumbnails)
    except (KeyError, InputError, ValueError):
        return False
    return (
        isinstance(row.get("stamp"), str)
        and isinstance(row["source"], str)
        and min(clip.delays_s, default=-1) >= 0
    )


def inspect(path: str) -> folder.Inspection:
    """Look at a clip: its times, its size, and four frames of it."""
    from PIL import Image

    ends = times(path)
    with as_played(path) as (clip, frames):
        size = clip.width, clip.height
        del frames
    pictures = [
        Image.fromarray(frame)
        for frame in read_cut(path, Cut(frames=folder.SAMPLES, size=(72, 64))).frames_FYX3
    ]
    delays = [float(end - start) for start, end in zip([Fraction(0), *ends], ends)]
    return folder.Inspection(
        path, *size, delays, folder.difference_hash(pictures), folder.thumbnails(pictures)
    )


# --- tables --------------------------------------------------------------------------------------


def own_table(source: str, clips: str, run: Run, cut: Cut, *, id_column: str, caption_column: str) -> Summary:
    """Clips named by a table, with the captions of their rows."""
    rows = table.group(table.read_table(source), id_column, caption_column, source)
    pairs, rejected = table.matched(rows, table.index_clips(clips))
    names = unique(clip_name(row.id) for row, _ in pairs)
    items = (
        Item(name, row.captions, os.path.relpath(path, clips), file_stamp(path), reader(path, cut))
        for name, (row, path) in zip(names, pairs)
    )
    return run.make(
        items, len(pairs), SetPlan("table", run.folder, cut_options(cut), run.to, rejected=tuple(rejected))
    )


def msr_vtt(
    annotation: str, clips: str, run: Run, cut: Cut, *, captions: str, split: str | None, seed: int
) -> Summary:
    """MSR-VTT from an annotation file and a folder of its clips."""
    rows = msrvtt.of_split(msrvtt.read_annotation(annotation), split)
    pairs, rejected = table.matched(rows, table.index_clips(clips))

    def read(row: table.Row, path: str) -> Pictures:
        try:
            part = msrvtt.part_of(row, times(path)[-1])
        except VeditError as error:
            raise error.in_file(path) from None
        return read_cut(path, cut._replace(span_s=part))

    def items() -> Iterator[Item]:
        for name, (row, path) in zip(unique(clip_name(row.id) for row, _ in pairs), pairs):
            facts = {key: row.facts[key] for key in ("split", "category") if key in row.facts}
            yield Item(
                name,
                msrvtt.chosen_captions(row, captions, seed),
                os.path.relpath(path, clips),
                file_stamp(path),
                partial(read, row, path),
                facts,
            )

    options = {**cut_options(cut), "captions": captions, "split": split, "seed": seed}
    return run.make(
        items(), len(pairs), SetPlan("msrvtt", run.folder, options, run.to, msrvtt.LICENCE, tuple(rejected))
    )


# --- benchmarks of editing -----------------------------------------------------------------------


def benchmark(source: str, listing: str | None, run: Run, cut: Cut, *, one_edit: bool, seed: int) -> Summary:
    """Clips and prompts of an editing benchmark, and edits.jsonl and suite.toml with what to make of them."""
    entries = v2vbench.read_list(listing or _only_list(source))
    videos = v2vbench.find_videos(source)
    pairs = [(entry, videos[entry.id]) for entry in entries if entry.id in videos]
    rejected = tuple((entry.id, "no clip of this name") for entry in entries if entry.id not in videos)
    if not pairs:
        raise InputError(
            f"{source} holds no clip of the list.",
            f"The list names {', '.join(entry.id for entry in entries[:5])} ...",
        )
    if one_edit:
        pairs = [(entry._replace(edits=v2vbench.drawn_edit(entry, seed)), path) for entry, path in pairs]
    names = list(unique(clip_name(entry.id) for entry, _ in pairs))
    items = [
        Item(
            name,
            (entry.prompt,) if entry.prompt else (),
            os.path.relpath(path, source),
            file_stamp(path),
            reader(path, _own_cut(entry, cut)),
            {"edits": [edit._asdict() for edit in entry.edits], **cut_options(_own_cut(entry, Cut()))},
        )
        for name, (entry, path) in zip(names, pairs)
    ]
    summary = run.make(
        items,
        len(items),
        SetPlan(
            "v2vbench",
            run.folder,
            {**cut_options(cut), "one_edit": one_edit, "seed": seed},
            run.to,
            rejected=rejected,
        ),
    )
    made = [
        (entry, file)
        for name, (entry, _) in zip(names, pairs)
        if (run.folder / (file := f"{name}.{run.to}")).exists()
    ]
    with open_output(str(run.folder / "edits.jsonl")) as out:
        out.write(as_lines([row for entry, file in made for row in v2vbench.edit_rows(entry, file)]))
    with open_output(str(run.folder / "suite.toml")) as out:
        out.write(v2vbench.suite(made).encode("utf-8", "backslashreplace"))
    return summary


def _own_cut(entry: v2vbench.Entry, cut: Cut) -> Cut:
    return cut._replace(
        stride=cut.stride if entry.stride is None else entry.stride,
        first=cut.first if entry.start is None else entry.start,
        offset=cut.offset if entry.offset is None else entry.offset,
    )


def _only_list(source: str) -> str:
    found = sorted(
        str(path) for path in Path(source).glob("*") if path.suffix in (".yaml", ".yml", ".toml", ".json")
    )
    if len(found) != 1:
        raise UsageError(
            f"{source} holds {len(found)} lists.",
            "The list of clips and prompts is a YAML, TOML or JSON file.",
            f"Name it: {option('listing', 'FILE')}",
        )
    return found[0]


# --- one clip --------------------------------------------------------------------------------------


def one_clip(source: str, output: str, cut: Cut, caption: str | None) -> dict[str, Any]:
    """Cut one clip out of a video, with its caption beside it; returns what was made."""
    from vedit.jobs.clips import write_frames

    pictures = read_cut(source, cut)
    write_frames(pictures.frames_FYX3, pictures.delays_cs, output, name=source)
    if caption:
        with open_output(str(Path(output).with_suffix(".txt"))) as file:
            file.write(f"{tidy(caption)}\n".encode())
    count, height, width = pictures.frames_FYX3.shape[:3]
    return {
        "source": source,
        "output": output,
        "frames": count,
        "size": [width, height],
        "seconds": sum(pictures.delays_cs) / 100,
        "caption": caption,
    }
