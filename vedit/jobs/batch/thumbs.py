"""Small pictures of clips for the gallery: a poster, and a strip of frames for what moves.

    .vedit-batch/thumb/NAME.json         what it is a picture of, sizes and times, or why there is none
                       NAME.webp         the middle frame
                       NAME.strip.webp   up to 24 frames, row by row

Both are made once per content. A clip that cannot be read has no picture, and the reason is kept.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from vedit.errors import VeditError
from vedit.jobs.batch.state import State, write_record
from vedit.jobs.edit.request import EditRequest
from vedit.media.atomic import make_folder, open_output

MOST_FRAMES = 24  # of a strip; more would be bytes that nobody looks at
COLUMNS = 6
LONGEST = 256  # pixels of the longer side of a frame in a strip
POSTER = 224
EXACT = 96  # smaller frames are kept bit for bit: they are shown enlarged


class Thumb(NamedTuple):
    """What a clip looks like. poster, strip: files in the folder of thumbs. width, height: of a frame of
    the strip. clip: width, height and frames of the clip itself. delays: milliseconds of each frame shown.
    """

    poster: str
    strip: str
    width: int
    height: int
    clip: tuple[int, int, int]
    delays: tuple[int, ...]


class Part(NamedTuple):
    """Which frames of a clip are wanted, as an edit takes them."""

    start: int = 0
    stride: int = 1
    frames: int | None = None
    is_square: bool = False


class Thumbs:
    """The thumbs of a batch."""

    def __init__(self, state: State) -> None:
        self.folder = str(state.folder / "thumb")

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def of(self, name: str, content: str) -> Thumb | None:
        """The thumb of that name if it shows this content; None where there is none."""
        known = self._read(name)
        return _thumb(known) if known.get("of") == content else None

    def is_known(self, name: str, content: str) -> bool:
        """Whether it was made, or tried."""
        return self._read(name).get("of") == content

    def _read(self, name: str) -> dict[str, Any]:
        with suppress(OSError, ValueError), open(self.path(f"{name}.json"), "rb") as file:
            found = json.loads(file.read(2**16))
            return found if isinstance(found, dict) else {}
        return {}

    def make(self, name: str, content: str, clip: str, part: Part = Part()) -> Thumb | None:
        """Make the thumb of a clip; None where it cannot be read."""
        make_folder(self.folder)
        try:
            facts = self._made(name, clip, part)
        except (VeditError, OSError, ValueError, MemoryError) as error:
            facts = {"why": " ".join(str(error).split())[:300]}
        write_record(self.path(f"{name}.json"), {**facts, "of": content})
        return _thumb(facts)

    def _made(self, name: str, clip: str, part: Part) -> dict[str, Any]:
        frames, delays, size = taken(clip, part)
        suffix, options = _format(max(frames[0].size))
        poster, strip = f"{name}.{suffix}", f"{name}.strip.{suffix}"
        shown = frames[len(frames) // 2].copy()
        shown.thumbnail((POSTER, POSTER))
        for picture, file in ((shown, poster), (in_rows(frames), strip)):
            content = io.BytesIO()
            picture.save(content, suffix, **options)
            with open_output(self.path(file)) as stream:
                stream.write(content.getvalue())
        return {
            "poster": poster,
            "strip": strip,
            "size": list(frames[0].size),
            "clip": list(size),
            "delays": delays,
        }


def _thumb(facts: Mapping[str, Any]) -> Thumb | None:
    try:
        width, height = map(int, facts["size"])
        delays = tuple(map(int, facts["delays"]))
        clip = tuple(map(int, facts["clip"]))
        return Thumb(str(facts["poster"]), str(facts["strip"]), width, height, clip, delays)  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError):
        return None


def taken(clip: str, part: Part) -> tuple[list[Any], list[int], tuple[int, int, int]]:
    """Evenly spread frames of a part of a clip, at most MOST_FRAMES, with the milliseconds that each stands
    for; and width, height and frames of the part. Raises VeditError.
    """
    from vedit.media.source import opened

    kept: list[Any] = []
    delays: list[float] = []
    count, every, width, height = 0, 1, 0, 0
    with opened(clip) as (facts, frames):
        seconds = float(facts.timebase)
        for number, frame in enumerate(frames):
            place, rest = divmod(number - part.start, part.stride)
            if part.frames is not None and place >= part.frames:
                break
            if place < 0:
                continue
            if rest == 0:
                width, height = frame.pixels.size
                count += 1
                if place % every == 0:
                    if len(kept) == 2 * MOST_FRAMES:  # of a long clip, every other one is enough
                        kept, every = kept[::2], 2 * every
                        delays = [sum(delays[i : i + 2]) for i in range(0, len(delays), 2)]
                    if place % every == 0:
                        kept.append(_small(frame.pixels, part.is_square))
                        delays.append(0.0)
            if delays:
                delays[-1] += 1000 * seconds * frame.duration
    if not kept:
        raise VeditError(f"{clip}: no frames.")
    if len(kept) > MOST_FRAMES:
        kept, delays = kept[::2], [sum(delays[i : i + 2]) for i in range(0, len(delays), 2)]
    return kept, [_shown_ms(delay) for delay in delays], (width, height, count)


def _shown_ms(delay: float) -> int:
    return round(delay) if delay >= 15 else 100  # as browsers play a GIF delay of 0 or 1 cs


def _small(pixels: Any, is_square: bool) -> Any:
    from PIL import Image

    from vedit.jobs.clips import fitted

    whole = fitted(pixels, min(pixels.size) if is_square else None)
    if max(whole.size) <= LONGEST:
        return whole
    share = LONGEST / max(whole.size)
    size = tuple(max(1, round(side * share)) for side in whole.size)
    return whole.resize(size, Image.Resampling.BOX if share < 0.5 else Image.Resampling.LANCZOS)


def in_rows(frames: list[Any]) -> Any:
    """Frames as one picture, row by row."""
    from PIL import Image

    width, height = frames[0].size
    rows = -(-len(frames) // COLUMNS)
    picture = Image.new("RGB", (width * min(COLUMNS, len(frames)), height * rows))
    for place, frame in enumerate(frames):
        row, column = divmod(place, COLUMNS)
        picture.paste(frame, (column * width, row * height))
    return picture


def _format(longest: int) -> tuple[str, dict[str, Any]]:
    """WebP, exact for what is shown enlarged; PNG where Pillow has none."""
    from PIL import features

    if not features.check("webp"):
        return "png", {}
    return "webp", {"lossless": True} if longest <= EXACT else {"quality": 80}


def part_of(request: EditRequest) -> Part:
    """The frames that an edit takes of its clip."""
    return Part(request.start, request.stride, request.frames, request.crop == "square")


def source_name(request: EditRequest) -> tuple[str, str]:
    """The name of the thumb of an edit's source, and what tells its content: the file and the part."""
    path = os.path.abspath(request.input)
    name = "source-" + hashlib.sha256(os.fsencode(f"{path}\0{part_of(request)}")).hexdigest()[:16]
    try:
        status = os.stat(path)
    except OSError:
        return name, "missing"
    return name, f"{status.st_size} {status.st_mtime_ns}"
