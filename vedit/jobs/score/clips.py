"""Everything that belongs to one edited video, read from disk: frames, source, truth, mask, run record."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from vedit.errors import InputError, UsageError, VeditError, Warn, option, silent
from vedit.jobs.clips import Selection, fitted
from vedit.jobs.record import find_record
from vedit.jobs.record_shape import check_read
from vedit.jobs.recorded import SUFFIX, Recorded, is_inside, renamed
from vedit.media.source import opened

if TYPE_CHECKING:
    import numpy as np

    from vedit.metrics.base import Clip

# what readers say where a part of a file is missing; bytes behind its end are not
LOST = re.compile(
    r"truncated|damaged|ends early|cannot be decoded|is missing|are missing|left transparent", re.IGNORECASE
)
RATE_TOLERANCE = 0.02
HALF_CENTISECOND = 0.005 + 1e-9  # what rounding to a GIF's delays may take from each frame
DECODER = "vedit.media: frames composed, transparency over white, Pillow RGB"


@dataclass(frozen=True)
class Item:
    """An edited video as named by the user. mask: a file, a box, "auto" for what the run record has, or
    "none". tags: of the video in its index. questions: about the edit, each with its right answer.
    instruction: what was asked for, where the prompt is not what somebody typed.
    """

    video_id: str
    edit_id: str
    edited: str
    source: str | None = None
    prompt: str | None = None
    source_prompt: str | None = None
    truth: str | None = None
    mask: str = "auto"
    tags: tuple[str, ...] = ()
    questions: tuple[tuple[str, str], ...] = ()
    instruction: str | None = None

    @property
    def label(self) -> str:
        return self.video_id if self.edit_id in ("", "0") else f"{self.video_id}/{self.edit_id}"


@dataclass(frozen=True)
class Reading:
    """How clips that do not match are matched.

    align: None refuses a source of another length; "first" takes the first frames of the longer
    one; "stride" takes source frames evenly over its whole length. resize_source: bring source and
    truth to the edited size (Lanczos). open_all: read what records of others name outside their folders too.
    """

    align: str | None = None
    resize_source: bool = False
    open_all: bool = False


def read_frames(name: str, selection: Selection | None = None, *, warn: Warn = silent) -> np.ndarray:
    """All frames of a clip, a frame folder or standard input, (T, Y, X, 3) uint8, or those of a selection.

    Frames are composed in file order with disposal honoured; folders are read in natural order.
    Raises InputError when there are none.
    """
    return read_timed(name, selection, warn=warn)[0]


def read_timed(
    name: str, selection: Selection | None = None, *, warn: Warn = silent
) -> tuple[np.ndarray, float | None]:
    """`read_frames`, and the seconds that the frames stand for, with those that a stride skips; None where
    the clip has no times of its own.
    """
    import numpy as np

    pictures: list[Any] = []
    seconds = Fraction(0)
    try:
        with opened(name, warn=warn) as (clip, frames):
            chosen = selection or Selection(size=(clip.width, clip.height))
            most = None if chosen.frames is None else chosen.start + chosen.frames * chosen.stride
            for number, frame in enumerate(frames):
                if number == most or chosen.frames == 0:
                    break
                if number >= chosen.start:
                    seconds += frame.duration * clip.timebase
                    if (number - chosen.start) % chosen.stride == 0:
                        pictures.append(np.asarray(fitted(frame.pixels, chosen.size)))
    except VeditError as error:
        raise error.in_file(name) from error.__cause__
    if not pictures:
        raise InputError(
            f"{name}: no frames.", "The clip is empty, or shorter than the frames its run record names."
        )
    return np.stack(pictures), float(seconds) if seconds and not os.path.isdir(name) else None


def record_of(edited: str, warn: Warn, open_all: bool = False) -> dict[str, Any] | None:
    """The run record beside an edited clip, else the recipe that it carries; None where there is none that
    can be read.

    Names in it are as seen from the working folder. Of a record that this user did not write, those
    that lie outside the clip's folder are left out, unless `open_all`: a page with their pictures
    may be passed on.
    """
    path = edited.rstrip("/" + os.sep)
    if edited == "-" or not (os.path.isfile(path) or os.path.exists(path + SUFFIX)):
        return None
    try:
        found = find_record(path)
        check_read(found.record, found.name)
    except InputError as error:
        if os.path.exists(path + SUFFIX):
            warn(f"{error.what} It is left out.")
        return None
    return found.record if found.is_own or open_all else _of_a_stranger(found, warn)


def _of_a_stranger(found: Recorded, warn: Warn) -> dict[str, Any]:
    outside = [
        path
        for what, path in found.opens()
        if what in ("input", "mask", "saved mask") and not is_inside(path, found.folder)
    ]
    if not outside:
        return found.record
    warn(
        f"{found.name} may be somebody else's: {', '.join(map(repr, outside[:3]))} lies outside its folder"
        f" and is not read; name the source with {option('source')} or {option('source_dir')}, or add"
        f" {option('yes')}"
    )
    record = renamed(found.record, lambda what, path: "" if path in outside else path)
    masks = record.get("edit_mask")
    if isinstance(masks, list):
        record["edit_mask"] = [mask for mask in masks if mask != ""]
    return {key: value for key, value in record.items() if value != ""}


def complete(item: Item, record: Mapping[str, Any] | None) -> Item:
    """The item with what it does not name taken from the run record: prompts, and the source where that very
    file still is.
    """
    if record is None:
        return item
    source = item.source
    if source is None and isinstance(record.get("input"), str):
        places = (
            record["input"],
            os.path.join(os.path.dirname(item.edited), os.path.basename(record["input"])),
        )
        source = next(
            (path for path in places if path != "-" and os.path.exists(path) and is_recorded(path, record)),
            None,
        )
    prompt, source_prompt = (
        given if given is not None else (record.get(key) or None)
        for given, key in ((item.prompt, "target_prompt"), (item.source_prompt, "source_prompt"))
    )  # fmt: skip
    return replace(item, source=source, prompt=prompt, source_prompt=source_prompt)


def is_recorded(path: str, record: Mapping[str, Any]) -> bool:
    """Whether a file is the source that a run record describes; by its hash, where the record has one."""
    facts = record.get("clip")
    wanted = facts.get("sha256") if isinstance(facts, Mapping) else None
    if wanted is None or not os.path.isfile(path):
        return True
    with open(path, "rb") as file:
        return bool(hashlib.file_digest(file, "sha256").hexdigest() == wanted)


def load(item: Item, reading: Reading, warn: Warn = silent) -> tuple[Clip, dict[str, Any]]:
    """Read an item's files; gives the clip that metrics are computed on, and facts for the report.

    Raises InputError.
    """
    from vedit.metrics._looks import remarks
    from vedit.metrics.base import Clip
    from vedit.metrics.types import Video

    found: list[str] = []

    def note(message: str) -> None:
        found.append(message)
        warn(f"{item.label}: {message}")

    record = record_of(item.edited, note, reading.open_all)
    item = complete(item, record)
    edited, seconds = read_timed(item.edited, warn=note)
    timed = {"edited": (len(edited), seconds)}
    asked = {"frames": str(len(edited)), "size": f"{edited.shape[2]}x{edited.shape[1]}"}
    facts: dict[str, Any] = {
        "edited": item.edited,
        "prompt": item.prompt,
        "source_prompt": item.source_prompt,
    }
    others: dict[str, Any] = {}
    for name, path in (("source", item.source), ("truth", item.truth)):
        if path is not None:
            others[name], facts[f"{name}_read"], timed[name] = read_like(path, edited, record, reading, note)
            facts[name] = path
    checks = checks_of(asked, timed, others.get("source"), record, reading)
    if reading.align == "first" and others:
        shortest = min(len(edited), *map(len, others.values()))
        edited, others = edited[:shortest], {name: frames[:shortest] for name, frames in others.items()}
        facts["align"] = "first"
    mask, facts["mask"] = read_mask(item, edited.shape[:3], record, note)
    is_whole = "source" in others and len(others["source"]) == len(edited)  # then only the end mark is gone
    if damage := [
        message
        for message in found
        if LOST.search(message) and not (is_whole and message.endswith("no trailer"))
    ]:
        facts["damage"] = f"{len(edited)} frames could be read ({'; '.join(damage)})"
    facts |= {
        "frames": len(edited),
        "width": edited.shape[2],
        "height": edited.shape[1],
        "decoder": DECODER,
        "warnings": found,
    }
    if "source" in others and others["source"].shape == edited.shape:
        facts["change"] = mean_change(edited, others["source"])
    if looks := remarks(edited, others.get("source")):
        facts["looks"] = looks
    if record is not None:
        facts["run"] = {
            key: record[key]
            for key in ("method", "params", "model", "seed", "seconds", "peak_memory_mib", "versions")
            if key in record
        }
    videos = {name: Video(frames) for name, frames in others.items()}
    return (
        Clip(
            item.label,
            Video(edited),
            videos.get("source"),
            videos.get("truth"),
            mask,
            item.prompt,
            item.source_prompt,
            record,
            checks,
            str(facts.get("damage") or ""),
            item.questions,
        ),
        facts,
    )


def checks_of(
    found: Mapping[str, str],
    timed: Mapping[str, tuple[int, float | None]],
    source: np.ndarray | None,
    record: Mapping[str, Any] | None,
    reading: Reading,
) -> dict[str, tuple[str, str]]:
    """What the edited file should have, by the run record or else by its source, and what it has: frames,
    size, rate.

    timed: frames and seconds of each clip. A source that the call matches to the edit says nothing of what
    it matched.
    """
    recorded = selection_of(record)
    sizes = (record or {}).get("sizes")
    output = sizes.get("output") if isinstance(sizes, Mapping) else None
    asked: dict[str, str] = {}
    if recorded is not None and recorded.frames is not None:
        asked["frames"] = str(recorded.frames)
    elif source is not None and not reading.align:
        asked["frames"] = str(len(source))
    if isinstance(output, list) and len(output) == 2:
        asked["size"] = f"{output[0]}x{output[1]}"
    elif source is not None and not reading.resize_source:
        asked["size"] = f"{source.shape[2]}x{source.shape[1]}"
    checks = {name: (words, found[name]) for name, words in asked.items()}
    return checks | rate_check(timed.get("source"), timed["edited"])


def rate_check(
    source: tuple[int, float | None] | None, edited: tuple[int, float | None]
) -> dict[str, tuple[str, str]]:
    """The rate of the source's frames and of the edit's, alike where they differ by what rounding a GIF's
    delays makes of them; nothing where one has none.
    """
    if source is None or not source[1] or not edited[1] or min(source[0], edited[0]) < 2:
        return {}
    wanted, own = source[0] / source[1], edited[0] / edited[1]
    is_alike = abs(own / wanted - 1) <= RATE_TOLERANCE or abs(1 / own - 1 / wanted) <= HALF_CENTISECOND
    return {"rate": (f"{wanted:.4g} frames/s", f"{wanted if is_alike else own:.4g} frames/s")}


def mean_change(edited: np.ndarray, source: np.ndarray) -> float:
    """Mean absolute difference of the edit and its source over the whole frame, grey levels."""
    import numpy as np

    return float(
        np.mean([np.abs(a.astype(np.int16) - b).mean() for a, b in zip(edited, source, strict=True)])
    )


def read_like(
    path: str, edited: np.ndarray, record: Mapping[str, Any] | None, reading: Reading, warn: Warn
) -> tuple[np.ndarray, str, tuple[int, float | None]]:
    """A source or truth as the edit saw it, how it was read, and its frames and seconds before the options
    matched them.

    A clip that matches the edit in size and length is taken whole. Else the run record's selection
    applies, where there is one; else what `reading` says; what still differs is refused by the
    metrics that need it.
    """
    frames, seconds = read_timed(path, warn=warn)
    timed = (len(frames), seconds)
    if frames.shape == edited.shape:
        return frames, "whole", timed
    selection = selection_of(record)
    if selection is not None:
        chosen, seconds = read_timed(path, selection, warn=warn)
        if chosen.shape == edited.shape:
            return (
                chosen,
                (
                    f"as in the run record: frames {selection.start} and every {selection.stride}., size"
                    f" {selection.size}"
                ),
                (len(chosen), seconds),
            )
    how = []
    if reading.resize_source and frames.shape[1:3] != edited.shape[1:3]:
        frames = read_frames(path, Selection(size=(edited.shape[2], edited.shape[1])), warn=warn)
        how.append(f"resized to {edited.shape[2]}x{edited.shape[1]}")
    if reading.align == "stride" and len(frames) > len(edited):
        places = [i * len(frames) // len(edited) for i in range(len(edited))]
        frames = frames[places]
        how.append(f"frames {places}")
    return frames, ", ".join(how) or "whole", timed


def selection_of(record: Mapping[str, Any] | None) -> Selection | None:
    """Which frames of the source the edit took, and how it cut and scaled them."""
    try:
        assert record is not None
        (start, stride, count), (width, height), crop = (
            record["clip"]["frames"],
            record["clip"]["size"],
            record["clip"]["crop"],
        )
        return Selection(
            int(start),
            max(1, int(stride)),
            int(count),
            int(width) if crop == "centre" else (int(width), int(height)),
        )
    except (AssertionError, KeyError, TypeError, ValueError):
        return None


# --- masks ---------------------------------------------------------------------------------------


def read_mask(
    item: Item, shape: tuple[int, ...], record: Mapping[str, Any] | None, warn: Warn
) -> tuple[np.ndarray | None, str | None]:
    """The mask of an item, (T, Y, X) uint8 with > 127 where the edit may act, and where it came from.

    "auto" takes the mask that the edit saved, else the mask it was given. Raises InputError or
    UsageError for a mask that does not fit.
    """
    if item.mask == "none":
        return None, None
    if item.mask != "auto":
        return mask_frames(item.mask, shape), item.mask
    for spec in masks_of(record):
        try:
            return mask_frames(spec, shape), f"{spec} (run record)"
        except VeditError as error:
            warn(f"the mask of the run record is left out: {error.what}")
    return None, None


def masks_of(record: Mapping[str, Any] | None) -> list[str]:
    """The mask that a run record names, the saved one first."""
    values = ((record or {}).get("mask"), *_strings((record or {}).get("edit_mask")))
    return [value for value in values if isinstance(value, str)][:1]


def _strings(value: Any) -> list[str]:
    # several masks were united in the edit; one alone would count edited pixels as background
    return list(value) if isinstance(value, list) and len(value) == 1 else []


def mask_frames(spec: str, shape: tuple[int, ...]) -> np.ndarray:
    """A mask from a picture, a clip, a folder, or a box such as L,T,R,B or box:x,y,w,h, for every frame."""
    import numpy as np

    count, height, width = shape
    if not os.path.exists(spec):
        from vedit.jobs.masks import parse

        box, span, _ = parse(spec, (width, height))
        if span is not None:
            raise UsageError(
                f"the mask {spec} holds for a range of time; score reads pictures, clips and boxes."
            )
        mask = np.zeros(shape, np.uint8)
        mask[:, box.top : box.bottom, box.left : box.right] = 255
        return mask
    found = read_frames(spec)[..., 0]
    if found.shape[1:] != (height, width):
        raise InputError(
            f"{spec}: the mask has {found.shape[2]}x{found.shape[1]} pixels, the edited clip"
            f" {width}x{height}.",
            "Both have one size.",
        )
    if len(found) not in (1, count):
        raise InputError(
            f"{spec}: the mask has {len(found)} frames, the edited clip {count}.",
            "A mask has one frame for all, or one per frame.",
        )
    return np.repeat(found, count, 0) if len(found) == 1 else found
