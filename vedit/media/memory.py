"""How much memory frames on their way may take: what is free, and how many threads that feeds.

A window of `window.ordered_map` keeps up to 2 * jobs + 2 items alive, so that a GIF of some kilobytes with
a large canvas could take gigabytes. Fewer threads keep fewer frames, and give the same result.
"""

from __future__ import annotations

import os
from contextlib import suppress

from vedit.errors import LimitError, MemoryBudgetError, option
from vedit.media.limits import Limits, short_number

SMALL = 64 * 2**20  # bytes of a window that nothing is looked up for
GROUP = "/sys/fs/cgroup"


def free_memory() -> int | None:
    """Bytes that may be used before the machine, or the container it runs in, runs out; None where nothing
    tells.
    """
    return min((found for found in (_of_machine(), _of_group()) if found is not None), default=None)


def _of_machine() -> int | None:
    with suppress(OSError, ValueError, StopIteration), open("/proc/meminfo", encoding="ascii") as stream:
        return next(int(line.split()[1]) * 1024 for line in stream if line.startswith("MemAvailable"))
    return None


def _of_group(folder: str = GROUP) -> int | None:
    """What a container's limit leaves; file pages that can be dropped count as free."""
    with suppress(OSError, ValueError, StopIteration):  # no group, or "max": there is no limit
        limit, used = (int(_content(folder, name)) for name in ("memory.max", "memory.current"))
        lines = _content(folder, "memory.stat").splitlines()
        droppable = next(int(line.split()[1]) for line in lines if line.startswith("inactive_file"))
        return max(0, limit - used + droppable)
    return None


def _content(folder: str, name: str) -> str:
    with open(os.path.join(folder, name), encoding="ascii") as stream:
        return stream.read()


def threads_for(frame_bytes: int, jobs: int, limits: Limits) -> int:
    """How many of `jobs` threads may work on frames that take so many bytes each, with what is made of them.

    A window may take half of what is allowed and free, since seldom more than two hold whole canvases.
    Raises LimitError where not even two frames fit `limits.memory`.
    """
    if (2 * jobs + 2) * frame_bytes <= SMALL:
        return jobs
    limits.check("memory", 2 * frame_bytes, f"{2 * frame_bytes / 2**30:.1f} GiB for two frames of this size")
    known = [room for room in (limits.memory, free_memory()) if room]
    frames = min(known) // 2 // frame_bytes if known else 2 * jobs + 2
    return max(1, min(jobs, (frames - 2) // 2))


def check_whole(needed: int, what: str, limits: Limits, instead: str) -> None:
    """Refuse work that takes so many bytes at once.

    Raises LimitError over the limit, MemoryBudgetError over what is free.
    """
    if limits.memory and needed > limits.memory:
        more = option("limits", [f"memory={short_number(needed, up=True)}"])
        raise LimitError(
            f"{what} takes about {needed / 2**30:.1f} GiB, over the limit of {short_number(limits.memory)}"
            " for memory.",
            "",
            f"{instead}. If the machine has room: {more}",
        )
    free = free_memory()
    if free is not None and needed > free:
        raise MemoryBudgetError(
            f"{what} takes about {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free.", "", instead
        )
