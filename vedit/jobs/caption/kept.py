"""What captioners said is kept clip by clip, so that a call that was stopped loses nothing of it.

A caption is found again by the pixels that were looked at, what was asked about them, and who was asked.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from vedit.documents import Kind, read_json, table
from vedit.errors import VeditError
from vedit.jobs import cache
from vedit.jobs.caption.captioners import SAY, Captioner, Look, Told
from vedit.plain import digest, one_line

if TYPE_CHECKING:
    from vedit.jobs.clips import Pixels

KEPT = Kind("a kept caption", largest=2**20)
FORMAT = "vedit-caption-1"


def told(captioner: Captioner, pixels: Pixels, look: Look, dtype: str, *, anew: bool) -> Told:
    """What a captioner says of a clip, from the cache where it said it before. anew: ask in any case.

    Raises VeditError as the captioner does.
    """
    place = _place(captioner, pixels, look, dtype)
    if not anew and (found := _kept(place)):
        return found
    said = captioner.told(pixels.frames_FYX3, look)
    _keep(place, said)
    return said


def _place(captioner: Captioner, pixels: Pixels, look: Look, dtype: str) -> str:
    """The file of a caption, by all that decides it."""
    key = {
        "format": FORMAT,
        "pixels": pixels.pixels_sha256,
        "seconds": list(look.seconds),
        "asked": [look.detail, look.by, SAY[look.detail]],
        "model": captioner.facts(),
        "dtype": dtype,
    }
    return os.path.join(cache.captions_folder(), f"{digest(key)}.json")


def _kept(place: str) -> Told | None:
    """A caption that was kept, when it is one: the file may be anybody's."""
    try:
        found: dict[str, Any] = table(read_json(place, KEPT), place, KEPT)
    except VeditError:
        return None
    words = [found.get("clip"), *(frames if isinstance(frames := found.get("frames"), list) else [None])]
    if not all(isinstance(text, str) and text and text == one_line(text) for text in words):
        return None
    return Told(words[0], tuple(words[1:]))


def _keep(place: str, said: Told) -> None:
    from vedit.media.atomic import make_folder, open_output

    try:
        make_folder(os.path.dirname(place))
        with open_output(place) as stream:
            content = {"format": FORMAT, "clip": said.clip, "frames": list(said.frames)}
            stream.write(json.dumps(content).encode())
    except (VeditError, OSError):
        pass  # a cache that cannot be written costs time, not captions
