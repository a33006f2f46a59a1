"""Caption clips: their frames, a captioner's words, NAME.txt beside them, a list with them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vedit.errors import InputError, OutputError, UsageError, VeditError, option
from vedit.jobs.caption import captioners
from vedit.jobs.caption.kept import told
from vedit.jobs.caption.request import CaptionRequest, Detail
from vedit.jobs.clips import Pixels, Selection, read_pixels
from vedit.jobs.lists import caption_key, check_list, clip_of, is_list, moved, read_list, write_list
from vedit.jobs.sink import Quiet, Sink

Caption = dict[str, Any]
LARGEST_STRIDE = 2**20


class Wanted(NamedTuple):
    """A clip that may be captioned. row, of: of the list that it stands in. has_words: it has a caption."""

    name: str
    row: dict[str, Any]
    of: str | None = None
    has_words: bool = False


def run(request: CaptionRequest, sink: Sink = Quiet()) -> Iterator[tuple[str, Caption | VeditError]]:
    """Each clip with what is said of it, or with what was wrong with it.

    A caption has clip (its name), caption, frames (time in seconds; caption, where each was looked at by
    itself), by and model. What a list has captions for is passed over. Raises UsageError before a model is
    loaded.
    """
    _check(request)
    wanted = [one for name in request.inputs for one in _wanted(name)]
    if request.write_txt:
        _refuse_shared([one.name for one in wanted])
    if wanted and not request.redo and all(one.has_words for one in wanted):
        sink.warn(f"all {len(wanted)} rows have a caption; {option('redo', True)} captions them again")
    rows = []
    captioner = captioners.opened(request, sink.warn)
    for one in wanted:
        row = dict(one.row) if one.of is None else moved(one.row, one.of, request.output or one.of)
        rows.append(row)
        if one.has_words and not request.redo:
            continue
        try:
            said = _one(one.name, request, captioner, sink)
        except VeditError as error:
            yield one.name, error
            continue
        key = caption_key(row)
        row[key] = [said["caption"]] if key == "captions" else said["caption"]
        yield one.name, said
    if request.output:
        write_list(request.output, rows)


def _check(request: CaptionRequest) -> None:
    """Refuse what can be known to be wrong. Raises UsageError, OutputError."""
    from vedit.media.atomic import check_output

    module = captioners.module_of(request.named_model)
    for name in ("frames", "every"):
        if (value := getattr(request, name)) is not None and value < 1:
            raise UsageError(f"{name} = {value} leaves no frame to look at.", "Give 1 or more.")
    if request.by is not None and request.by not in module.WAYS:
        raise UsageError(
            f"{option('by', request.by)} is not a way of {request.named_model}.",
            f"It has {' and '.join(module.WAYS)}.",
            f"Leave out {option('by')}",
        )
    if request.output:
        check_list(request.output)
        check_output(request.output, (), request.overwrite or None)


def _wanted(name: str) -> Iterator[Wanted]:
    """The clips that an input names: itself, those of a list, or those in a folder of clips."""
    if not is_list(name):
        yield from (Wanted(clip, {"input": clip}) for clip in _clips_in(name) or [name])
        return
    for number, row in enumerate(read_list(name), 1):
        clip = clip_of(row, name)
        if clip is None:
            raise UsageError(f"{name} row {number} names no clip.", "It stands under input, video or file.")
        words = row.get(caption_key(row))
        yield Wanted(clip, row, name, any(words) if isinstance(words, list) else bool(words))


def _clips_in(name: str) -> list[str]:
    """The clips in a folder that has no pictures, in natural order; none of anything else."""
    from vedit.media.formats import CLIP_SUFFIXES
    from vedit.media.sequence import SUFFIXES, natural_key

    if not os.path.isdir(name):
        return []
    files = [file for file in os.listdir(name) if not file.startswith(".")]
    if any(file.lower().endswith(SUFFIXES) for file in files):
        return []
    clips = [file for file in files if file.lower().endswith(CLIP_SUFFIXES)]
    return [os.path.join(name, file) for file in sorted(clips, key=natural_key)]


def _refuse_shared(names: list[str]) -> None:
    """Refuse clips that would have one caption file. Raises UsageError."""
    if len({side_file(name) for name in names}) < len(set(names)):
        raise UsageError("two inputs would share one caption file.", "Caption them one after the other.")


def _one(name: str, request: CaptionRequest, captioner: captioners.Captioner, sink: Sink) -> Caption:
    (said,) = told_of(name, request, captioner, (request.detail,), sink)
    if request.write_txt:
        write_beside(name, said.clip, overwrite=request.overwrite)
    frames: list[dict[str, Any]] = [{"at": at} for at in said.seconds]
    for frame, text in zip(frames, said.frames):
        frame["caption"] = text
    facts = captioner.facts()
    return {"clip": name, "caption": said.clip, "frames": frames, "by": said.by, "model": facts}


class Said(NamedTuple):
    """What is said of a clip: of all of it, of frames, when they begin, and how it was come to."""

    clip: str
    frames: tuple[str, ...]
    seconds: list[float]
    by: str


def told_of(
    name: str,
    request: CaptionRequest,
    captioner: captioners.Captioner,
    details: Sequence[Detail],
    sink: Sink,
) -> list[Said]:
    """What a captioner says of one clip, in each detail. Raises VeditError, with the clip's name."""
    module = captioners.module_of(request.named_model)
    pixels = looked_at(name, module, request.frames, request.every, sink)
    spans = pixels.times()
    seconds = [round(begin, 3) for begin, _ in spans]
    length = spans[-1][1] - spans[0][0]
    by = request.by or module.WAYS[0]
    rate = len(spans) / length if length > 0 else 1.0
    try:
        looks = [captioners.Look(detail, by, seconds, rate) for detail in details]
        if getattr(module, "IS_QUICK", False):
            return [Said(*captioner.told(pixels.frames_FYX3, look), seconds, by) for look in looks]
        kept = [told(captioner, pixels, look, request.dtype, anew=request.redo) for look in looks]
        return [Said(*said, seconds, by) for said in kept]
    except VeditError as error:
        raise error.in_file(name) from error.__cause__


def looked_at(name: str, module: Any, frames: int | None, every: int | None, sink: Sink) -> Pixels:
    """The frames of a clip that a captioner looks at: those asked for, or as its module says.

    Raises InputError.
    """
    if name == "-":
        raise InputError("standard input is not captioned.", "", "Name a file")
    count = frames or module.FRAMES
    stride = every or module.EVERY or _spread(name, count)

    def choose(size: tuple[int, int]) -> Selection:
        return Selection(0, stride, count, module.side(*size))

    return read_pixels(name, choose, warn=sink.warn)


def _spread(name: str, count: int) -> int:
    """The stride at which so many frames reach over a clip."""
    from vedit.media.source import opened

    try:
        with opened(name) as (clip, _):
            there = clip.frames_hint or count
    except VeditError as error:
        raise error.in_file(name) from error.__cause__
    return min(LARGEST_STRIDE, max(1, -(-there // count)))


def side_file(name: str) -> str:
    """The caption file of a clip, or of a folder of pictures: NAME.txt beside it."""
    path = name.rstrip("/")
    return (path if os.path.isdir(path) else os.path.splitext(path)[0]) + ".txt"


def write_beside(name: str, caption: str, *, overwrite: bool) -> None:
    """Put a caption beside its clip. Raises OutputError where another one stands."""
    from vedit.media.atomic import open_output

    path = Path(side_file(name))
    if path.exists():
        if path.read_bytes().decode(errors="replace").strip() == caption:
            return
        if not overwrite:
            raise OutputError(
                f"{path} exists and says something else.",
                next_step=f"To replace it: {option('overwrite', True)}",
            )
    with open_output(str(path)) as stream:
        stream.write(caption.encode() + b"\n")
