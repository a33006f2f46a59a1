"""`vedit edit INPUT... -O DIR`: the same edit of several clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vedit.cli.batch_run import Face, outcome_json
from vedit.cli.common import Voice, print_json

if TYPE_CHECKING:
    from vedit.jobs.edit.request import EditRequest


def edit_clips(
    inputs: Sequence[str],
    out: str,
    request: EditRequest,
    suffix: str,
    overwrite: bool | None,
    voice: Voice,
    as_json: bool,
) -> None:
    """Edit every clip in this process, tell what came of it, and raise what the exit code says."""
    from vedit.jobs.batch.clips import plan_clips, raise_unfinished
    from vedit.jobs.batch.progress import clock
    from vedit.jobs.here import run_here

    made = plan_clips(inputs, out, request, suffix=suffix, overwrite=overwrite, say=voice.say)
    face = Face(voice)
    try:
        outcome = run_here(made, request.device, tell=face)
    finally:
        face.end()
    if as_json:
        print_json(outcome_json(outcome))
    told = raise_unfinished(out, outcome)
    voice.say(f"{out}: {told}, in {clock(outcome.seconds)}")
