"""How well frames of a drawn scene fit the prompt, by the embedded scorer: 100 x cosine, mean over frames."""

from __future__ import annotations

from typing import Any

from vedit.metrics._shapes_scorer import frame_vectors, provenance, text_vector, unfit
from vedit.metrics.base import Clip, Score, Value, mean_score
from vedit.metrics.types import Options

SUMMARY = "How well each frame fits the prompt, for drawn scenes, without any download."
VERSION = 1
VALUES = (
    Value(
        "shapes_text_alignment",
        "100 x cosine",
        True,
        "65..92",
        "How well the frames show what the prompt says; for drawn scenes only.",
        rounding=1e-3,
        order=9,
    ),
)
NEEDS = frozenset({"prompt"})
GROUPS = frozenset({"alignment"})
TOWERS = ()

__all__ = ["provenance", "unfit"]


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    assert clip.prompt is not None, "asked for by NEEDS"
    return {
        "shapes_text_alignment": mean_score(
            100 * frame_vectors(clip.edited, towers) @ text_vector(clip.prompt)
        )
    }
