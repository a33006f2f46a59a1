"""What a rewritten prompt is asked for, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from vedit.jobs.request import Request


@dataclass(frozen=True, kw_only=True)
class RewriteRequest(Request):
    """The prompt that an instruction makes of a source prompt.

    source: what the clip shows. instruction: what should become of it. max_distance: of words, as a share of
    the longer prompt, that may change: what is nearer to the source keeps more of the clip.
    """

    source: str
    instruction: str
    max_distance: float = 0.4
