"""Optical flow for the metrics that follow motion: GMFlow, TV-L1, OpenCV's DIS, or a file.

A flow F from frame a to frame b says where each pixel of a is found in b: x + F(x), in pixels, x
first. `backward` goes from each frame to the one before it, `forward` to the one after it.

TV-L1 and DIS need no weights (`vedit.motion`).

Shape letters: P pairs of frames, 2 for x and y, Y X rows and columns, C colours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from vedit.errors import InputError, UsageError, option
from vedit.metrics.towers.features import feature_key
from vedit.metrics.types import Floats, Options, Video
from vedit.motion import pairs_of

if TYPE_CHECKING:
    pass

ENGINES = ("gmflow", "tvl1", "dis", "file:F.npz")
VERSION = 1


@dataclass(frozen=True)
class Flows:
    """Flows between neighbouring frames. forward_P2YX: None when a file holds none."""

    backward_P2YX: Floats
    forward_P2YX: Floats | None


def towers_of_flow(options: Options) -> tuple[str, ...]:
    """The networks that the chosen engine reads."""
    return ("gmflow",) if options.flow_engine == "gmflow" else ()


def flows(video: Video, towers: Any, options: Options, *, of_source: bool = True) -> Flows:
    """Flows between neighbouring frames, computed once per video and engine; at least two frames.

    of_source: both directions, out of a file where one is named. For the edit itself only the
    backward flow is computed, and a file is refused, since it holds the flow of the source.
    Raises UsageError for an unknown engine, InputError for a file that does not fit, ModelError.
    """
    engine = options.flow_engine
    if engine.startswith("file:"):
        if not of_source:
            raise UsageError(
                "a flow file holds the flow of the source; the edit's flow is needed too.",
                "",
                f"Use {option('flow', 'tvl1')}, or leave out ff_beta",
            )
        return read_flows(engine.removeprefix("file:"), video)
    if engine not in ("gmflow", "tvl1", "dis"):
        raise UsageError(f"there is no flow engine {engine!r}.", f"There are: {', '.join(ENGINES)}.")
    follow = (
        towers.get("gmflow").flow if engine == "gmflow" else partial(estimated, engine=engine, towers=towers)
    )
    return Flows(follow(video, backward=True), follow(video, backward=False) if of_source else None)


def estimated(video: Video, *, backward: bool, engine: str, towers: Any) -> Floats:
    """Flow without weights in one direction, (P, 2, Y, X), out of the store where it is known."""
    key = feature_key("flow", engine, str(VERSION), "backward" if backward else "forward", video.digest)
    kept = towers.store.get(key) if towers is not None else None
    if kept is None:
        estimate = pairs_of("tvl1" if engine == "tvl1" else "dis")
        earlier_PYX3, later_PYX3 = video.frames_TYX3[:-1], video.frames_TYX3[1:]
        kept = {
            "flow": estimate(later_PYX3, earlier_PYX3) if backward else estimate(earlier_PYX3, later_PYX3)
        }
        if towers is not None:
            towers.store.put(key, kept)
    found: Floats = kept["flow"]
    return found


def read_flows(path: str, video: Video) -> Flows:
    """`backward` and, where there is one, `forward` of an .npz file, each (T-1, 2, Y, X) in pixels."""
    wanted = (len(video) - 1, 2, *video.size)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {
                name: np.asarray(arrays[name], np.float32)
                for name in ("backward", "forward")
                if name in arrays
            }
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise InputError(
            f"{path}: cannot read flow: {error}.", "It is an .npz file with the arrays backward and forward."
        ) from None
    if "backward" not in found:
        raise InputError(
            f"{path}: it has no array `backward`.",
            f"It goes from each frame to the one before it: {wanted}, x first.",
        )
    for name, array in found.items():
        if array.shape != wanted:
            raise InputError(
                f"{path}: {name} has the shape {array.shape}.",
                f"The source needs {wanted}: pairs of frames, x and y, rows, columns.",
            )
    return Flows(found["backward"], found.get("forward"))


def own_flow_only(options: Options) -> str:
    """Why a metric that follows the edit itself cannot be computed with a file of flow; "" where it can."""
    if not options.flow_engine.startswith("file:"):
        return ""
    return "follows the edit too, and a flow file holds the motion of the source"
