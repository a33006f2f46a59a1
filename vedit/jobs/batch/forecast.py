"""What the rest of a batch will take: time by what was made before, memory of each model's dearest item."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

from vedit.errors import VeditError
from vedit.jobs.batch.plan import Item, Plan
from vedit.jobs.batch.progress import Left, pace_of


def time_left(made: Plan, items: Sequence[Item]) -> Left | None:
    """Seconds that one worker needs for items, by those that are done; None before each kind has one."""
    return pace_of(made).left(items, (), 1)


def dearest(items: Sequence[Item]) -> list[Item]:
    """For each model the item that most pixels go through at once and in all."""
    found: dict[str, Item] = {}
    for item in items:
        other = found.setdefault(item.request.model, item)
        if _pixels(item) > _pixels(other):
            found[item.request.model] = item
    return list(found.values())


def _pixels(item: Item) -> float:
    """Frames x pixels x steps, as far as that is known without the model."""
    request = item.request
    width, height, length = _header(request.input)
    frames = min(request.frames or math.inf, max(1, length - request.start) / request.stride)
    aspect = max(width, height) / min(width, height)
    side = request.size
    if isinstance(side, str) and side.isdigit():
        side = int(side)
    area = 1.0 if side is None else float(side**2) if isinstance(side, int) else float(width * height)
    return float(frames) * area * (1.0 if request.crop == "square" else aspect) * (request.steps or 1)


@cache
def _header(path: str) -> tuple[int, int, int]:
    """Width, height and frames of a clip; of one that cannot be read, which fails at its turn, 1 each."""
    from vedit.media.source import opened

    try:
        with opened(path) as (clip, _):
            return clip.width, clip.height, clip.frames_hint or 1
    except VeditError:
        return 1, 1, 1


def costs(item: Item) -> list[str]:
    """Memory and time of an item, as an edit explains them; loads its model, which is not downloaded for it.
    Says why where they cannot be known.
    """
    from vedit.jobs.edit.plan import plan
    from vedit.jobs.extras import need
    from vedit.models.hub import cache_only

    try:
        need("diffusion")
        with cache_only():
            return plan(item.request).costs()
    except VeditError as error:
        return [f"memory and time are not known: {error.what}"]
