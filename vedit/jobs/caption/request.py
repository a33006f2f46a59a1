"""What captions are asked for, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vedit.jobs.request import Request

Detail = Literal["short", "detailed"]


@dataclass(frozen=True, kw_only=True)
class CaptionRequest(Request):
    """The captions of some clips.

    inputs: clips or folders of pictures. model: a captioner, one of `captioners.names()`. detail: how much is
    said. frames: at most so many are looked at, from the first on; every: and of those each so manieth; None
    for what suits the captioner. device: where its network runs. write_txt: put NAME.txt beside each clip.
    overwrite: a NAME.txt that says something else.
    """

    inputs: tuple[str, ...]
    model: str = "shapes"
    detail: Detail = "short"
    frames: int | None = None
    every: int | None = None
    device: str = "auto"
    write_txt: bool = False
    overwrite: bool = False
