"""Rewrite a prompt, check it, and say what changed."""

from __future__ import annotations

from typing import Any

from vedit.errors import UsageError, option
from vedit.jobs.rewrite.request import RewriteRequest
from vedit.jobs.rewrite.rules import rewritten
from vedit.jobs.rewrite.words import changes, distance, failed_check


def rewrite(request: RewriteRequest) -> dict[str, Any]:
    """The target prompt, what stands for what, words to blend by and to emphasise, and the distance.

    Raises UsageError where the rules do not understand, or what they make is no aligned prompt.
    """
    if not 0 < request.max_distance <= 1:
        raise UsageError(
            f"max_distance = {request.max_distance:g} is not a share.", "It is above 0, at most 1."
        )
    target = rewritten(request.source, request.instruction)
    if why := failed_check(request.source, target, request.max_distance):
        raise UsageError(
            f'"{target}" is not an aligned prompt for "{request.source}": {why}.',
            next_step=f"Allow more with {option('max_distance')}, or ask for less.",
        )
    old, new = request.source.split(), target.split()
    found = changes(old, new)
    return {
        "source": request.source,
        "instruction": request.instruction,
        "target": target,
        "changes": [{"from": change.old, "to": change.new} for change in found],
        "blend": [[change.old, change.new] for change in found if change.old and change.new],
        "emphasise": [word for change in found for word in change.new.split()],
        "mode": "align",
        "method": "rules",
        "distance": round(distance(old, new), 4),
    }
