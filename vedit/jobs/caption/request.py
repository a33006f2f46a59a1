"""What captions are asked for, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vedit.jobs.request import Request

Detail = Literal["short", "detailed", "more"]
By = Literal["clip", "medoid"]
DEFAULT_MODEL = "shapes"


@dataclass(frozen=True, kw_only=True)
class CaptionRequest(Request):
    """The captions of some clips.

    inputs: clips, folders of pictures, and lists (CSV, JSON lines) of clips. model: a captioner, one of
    `captioners.names()`, with the checkpoint behind a colon; None for `shapes`, or with `base_url` for
    `remote`. revision, dtype: of its weights. detail: how much is said. by: "clip" looks at all frames at
    once, "medoid" captions each and takes the caption that is most like the others; None for what the
    captioner does best. frames: at most so many are looked at; every: each so manieth of the clip; None for
    what suits the captioner. device: where its network runs. base_url, remote_model, key_env, timeout:
    of a hosted model. write_txt: put NAME.txt beside each clip. output: a list of all clips with their
    captions. overwrite: a NAME.txt that says something else, and a list that is there. redo: caption rows of
    a list that have a caption, and ask again about clips whose caption is kept.
    """

    inputs: tuple[str, ...]
    model: str | None = None
    revision: str | None = None
    dtype: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    detail: Detail = "short"
    by: By | None = None
    frames: int | None = None
    every: int | None = None
    device: str = "auto"
    base_url: str | None = None
    remote_model: str | None = None
    key_env: str | None = None
    timeout: float = 120
    write_txt: bool = False
    output: str | None = None
    overwrite: bool = False
    redo: bool = False

    @property
    def named_model(self) -> str:
        return self.model or ("remote" if self.base_url else DEFAULT_MODEL)
