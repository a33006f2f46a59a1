"""What a suite is asked for, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vedit.jobs.request import Request


@dataclass(frozen=True, kw_only=True)
class SuiteRequest(Request):
    """A run of a suite.

    suite: one that ships, a preset of kind "suite", or a file. output: the folder of everything. clips: the
    folder of the source clips; index: their prompts, as `score` reads them. only: labels of runs. limit: at
    most so many clips. steps: of every method that has steps or iterations. set: of runs, LABEL.KEY to a
    value. model: instead of the suite's. llm, base_url, llm_model, key_env: who rewrites prompts, instead of
    the suite's. weights: for the metrics. partial: run the clips that are there.
    """

    suite: str
    output: str
    clips: str | None = None
    index: str | None = None
    only: tuple[str, ...] = ()
    limit: int | None = None
    steps: int | None = None
    set: Mapping[str, Any] = field(default_factory=dict)
    llm: str | None = None
    base_url: str | None = None
    llm_model: str | None = None
    key_env: str | None = None
    model: str | None = None
    weights: str | None = None
    device: str = "auto"
    partial: bool = False
