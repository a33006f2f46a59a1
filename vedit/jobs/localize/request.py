"""What a localisation is asked for, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vedit.jobs.request import Request


@dataclass(frozen=True, kw_only=True)
class LocalizeRequest(Request):
    """Several kinds of edits of a clip with the same purpose.

    input: a clip or a folder of pictures. output_dir: for words, edits, scores and the page. to, origin,
    category: what it should become, from what, and what of it; or instruction, in words of one's own.
    source_prompt: what the clip shows, None to have it captioned. recipe: a preset of kind "localize"; None
    for the one that suits the model. only: names of branches, () for all. model, generator, captioner: in
    the place of the recipe's. llm, base_url, llm_model, key_env: who rewrites, in its place. set: of
    branches, NAME.KEY to a value. frames, size: in the recipe's place. seed: of all branches. overwrite: a
    folder that holds another localisation.
    """

    input: str
    output_dir: str
    to: str | None = None
    origin: str | None = None
    category: str | None = None
    instruction: str | None = None
    source_prompt: str | None = None
    recipe: str | None = None
    only: tuple[str, ...] = ()
    model: str | None = None
    generator: str | None = None
    captioner: str | None = None
    llm: str | None = None
    base_url: str | None = None
    llm_model: str | None = None
    key_env: str | None = None
    set: Mapping[str, Any] = field(default_factory=dict)
    frames: int | None = None
    size: str | None = None
    seed: int = 0
    device: str = "auto"
    score: bool = True
    overwrite: bool = False
