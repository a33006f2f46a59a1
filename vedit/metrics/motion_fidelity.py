"""Whether what moves in the edit moves as something in the source did, wherever it is.

Points on a grid are followed through both clips; the correlation of two tracks is the mean over steps of the
cosine of their displacements, and each track of the edit is given the largest of its correlations with the
source's. Source: Yatim et al. 2024 (Diffusion Motion Transfer) as FiVE-Bench computes it. Deviations: tracks
come from the integrated flow and not from a point tracker, with at most 55 points a side; tracks that leave
the frame or stand still (a mean step below STILL pixels) are dropped, where the published code gets NaN, so
that a clip has no number where nothing of the source moves, and 0 where only the edit stands still; the
identity that FiVE-Bench subtracts from the matrix is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedit.metrics._flow import flows, own_flow_only, towers_of_flow
from vedit.metrics.base import Clip, Score, Value, source_like_edit
from vedit.metrics.types import Floats, Options
from vedit.motion import look_up_at

SUMMARY = "Whether what moves in the edit moves as something in the source did."
VERSION = 1
VALUES = (
    Value(
        "motion_fidelity",
        "cosine",
        True,
        "0.6..1",
        "How well each moving point of the edit is matched by one of the source; 1 means that all are.",
        ("motion fidelity", "MFS"),
    ),
)
NEEDS = frozenset({"source", "pairs"})
OPTIONS = ("flow",)
GROUPS = frozenset({"temporal"})
TOWERS = ("gmflow",)
GRID = 55
STILL = 0.25  # pixels per frame

Array = NDArray[np.float64]
towers = towers_of_flow


def unfit(clip: Clip, options: Options) -> str:
    return own_flow_only(options)


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    found = []
    for video in (clip.edited, source_like_edit(clip)):
        forward = flows(video, towers, options).forward_P2YX
        assert forward is not None, "a file is unfit"
        found.append(steps_of(forward))
    of_edit, of_source = found
    extra = {"flow": options.flow_engine, "tracks": len(of_edit), "source_tracks": len(of_source)}
    if not len(of_source):
        return {}  # there is no motion to keep
    if not len(of_edit):
        return {"motion_fidelity": Score(0.0, extra={**extra, "note": "nothing moves in the edit"})}
    return {"motion_fidelity": Score(float(correlations(of_edit, of_source).max(axis=1).mean()), (), extra)}


def steps_of(forward_P2YX: Floats) -> Array:
    """Unit displacements of the moving tracks of a grid, (tracks, P, 2); a step of no length is 0."""
    rows, columns = forward_P2YX.shape[2:]
    y, x = (np.unique(np.linspace(0, side - 1, GRID).round()) for side in (rows, columns))
    at_2N = np.stack([part.ravel() for part in np.meshgrid(x, y)])
    taken, is_inside = [], np.ones(at_2N.shape[1], bool)
    for flow_2YX in forward_P2YX:
        step_2N = look_up_at(flow_2YX.transpose(1, 2, 0), at_2N)[0].T
        at_2N = at_2N + step_2N
        is_inside &= (at_2N >= 0).all(0) & (at_2N[0] <= columns - 1) & (at_2N[1] <= rows - 1)
        taken.append(step_2N)
    steps_NP2 = np.stack(taken).transpose(2, 0, 1)
    lengths_NP1 = np.linalg.norm(steps_NP2, axis=2, keepdims=True)
    is_moving = lengths_NP1.mean(axis=(1, 2)) >= STILL
    units: Array = steps_NP2 / np.where(lengths_NP1 == 0, 1, lengths_NP1)
    return units[is_inside & is_moving]


def correlations(a_NP2: Array, b_MP2: Array) -> Array:
    """Mean cosine over steps of every track of one with every track of the other, (N, M)."""
    found: Array = np.einsum("npc,mpc->nm", a_NP2, b_MP2, optimize=True) / a_NP2.shape[1]
    return found
