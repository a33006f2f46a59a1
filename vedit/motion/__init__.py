"""Optical flow: how the pixels of a clip move, for methods and metrics alike.

A flow F from frame a to frame b says where each pixel of a is found in b: x + F(x), in pixels, x first.

    tvl1.py      TV-L1, without weights
    dis.py       OpenCV's dense inverse search
    weights.py   torchvision's RAFT, and GMFlow (gmflow.py), from files of weights
    kept.py      flows kept on disk by the contents of their frames
    places.py    pictures looked up along a flow, and which pixels can be found again
"""

from __future__ import annotations

from collections.abc import Callable

from vedit.errors import UsageError, nearest, option
from vedit.motion.dis import dis_pairs, opencv
from vedit.motion.kept import keeping, once
from vedit.motion.places import Floats, Pixels, Warps, look_up, look_up_at, visible, warped
from vedit.motion.tvl1 import tvl1_pairs

WITHOUT_WEIGHTS = ("tvl1", "dis")
WITH_WEIGHTS = ("raft", "gmflow")
ENGINES = (*WITHOUT_WEIGHTS, *WITH_WEIGHTS)

__all__ = [
    "ENGINES",
    "Floats",
    "Pixels",
    "Warps",
    "check_engine",
    "keeping",
    "look_up",
    "look_up_at",
    "pairs_of",
    "split_engine",
    "tvl1_pairs",
    "visible",
    "warped",
    "weights_sha256",
]


def split_engine(engine: str) -> tuple[str, str | None]:
    """The name of what estimates flow, and its file of weights, None for the published one.

    Raises UsageError.
    """
    name, colon, file = engine.partition(":")
    if name not in ENGINES:
        raise UsageError(
            f"{option('flow', engine)}: nothing of that name estimates flow{nearest(name, ENGINES) or '.'}",
            "It is tvl1, dis, raft or gmflow; raft:FILE and gmflow:FILE name their weights.",
        )
    if colon and (name in WITHOUT_WEIGHTS or not file):
        what = "takes no weights" if name in WITHOUT_WEIGHTS else "names no file of weights"
        raise UsageError(f"{option('flow', engine)} {what}.", "", f"Try {option('flow', name)}")
    return name, file or None


def check_engine(engine: str) -> None:
    """Refuse what does not estimate flow, and weights that are not there. Raises UsageError, ModelError."""
    name, file = split_engine(engine)
    if name in WITH_WEIGHTS:
        from vedit.motion.weights import find

        find(name, file)


def weights_sha256(engine: str) -> str | None:
    """The hash of the weights that an estimator reads, None for those without."""
    name, file = split_engine(engine)
    if name in WITHOUT_WEIGHTS:
        return None
    from vedit.motion.weights import digest_of, find

    return digest_of(find(name, file))


def pairs_of(engine: str) -> Callable[[Pixels, Pixels], Floats]:
    """What gives the flow from frames to frames, (P, Y, X, 3) twice to (P, 2, Y, X); what is known already is
    read where flows are kept. Raises UsageError, ModelError.
    """
    name, file = split_engine(engine)
    estimate: Callable[[Pixels, Pixels], Floats] = tvl1_pairs if name == "tvl1" else dis_pairs
    if name in WITHOUT_WEIGHTS:
        told = name
        if name == "dis":
            opencv()  # before anything is made that needs it
    else:
        from vedit.motion.weights import pairs_by

        estimate, told = pairs_by(name, file), f"{name} {weights_sha256(engine)}"

    def pairs(a_PYX3: Pixels, b_PYX3: Pixels) -> Floats:
        return once(told, estimate, a_PYX3, b_PYX3)

    return pairs
