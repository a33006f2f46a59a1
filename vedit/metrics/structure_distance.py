"""How far the layout of parts in each edited frame is from that of its source frame.

The mean squared difference of the self-similarity of DINO's keys: cosines of all pairs of places, CLS among
them, of the last layer's keys at 224 x 224. Source: Tumanyan et al. 2022 (Splice), as FiVE-Bench and others
report it. Deviation: ViT-B/16 as in `subject_consistency` and not ViT-B/8, or the backbone that is chosen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vedit.metrics.base import Clip, Score, Value, mean_score, source_like_edit
from vedit.metrics.towers import Towers
from vedit.metrics.types import Floats, Options, unit

SUMMARY = "how far the layout of parts is from the source's (DINO keys)"
VERSION = 1
VALUES = (
    Value(
        "structure_distance",
        "",
        False,
        "0..0.1",
        "How differently the parts of a frame relate to one another than in its source; 0 means the same.",
        ("structure distance",),
        rounding=1e-5,
    ),
)
NEEDS = frozenset({"source"})
OPTIONS = ("dino",)
GROUPS = frozenset({"alignment"})
TOWERS = ("dino-vitb16",)


def towers(options: Options) -> tuple[str, ...]:
    return (options.dino or "dino-vitb16",)


def score(clip: Clip, towers: Towers, options: Options) -> dict[str, Score]:
    tower = towers.get(options.dino or "dino-vitb16")
    keys = (tower.keys(video)["keys"] for video in (clip.edited, source_like_edit(clip)))
    return {
        "structure_distance": mean_score(
            float(np.mean((self_similarity(a) - self_similarity(b)) ** 2)) for a, b in zip(*keys, strict=True)
        )
    }


def self_similarity(keys_KE: Floats) -> NDArray[np.float64]:
    """Cosines of every place with every other, (K, K)."""
    units_KE = unit(keys_KE)
    found: NDArray[np.float64] = units_KE @ units_KE.T
    return found
