"""Whether an edit of a drawn scene succeeded, by the embedded scorer.

shapes_edit_success: share of frames closer to the target prompt than to the source prompt, and not further
from it than CLOSEST_OF_NOTHING: the 60 true edits of the tuning cases lie at 0.76 to 0.9, noise at 0.58 at
most. Frames of one colour or of noise (`looks`) are no success either.
shapes_direction: mean cosine of the change of the frames and the change of the prompts (the
directional similarity of StyleGAN-NADA, Gal et al. 2021); it needs the source clip.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vedit.metrics._looks import unclear_frames, unsure
from vedit.metrics._shapes_scorer import frame_vectors, provenance, text_vector, unfit
from vedit.metrics.base import Clip, Score, Value, cosines, mean_score, source_like_edit
from vedit.metrics.types import Options

SUMMARY = "Whether frames have become what was asked for, for drawn scenes, without any download."
VERSION = 2
VALUES = (
    Value(
        "shapes_edit_success",
        "share of frames",
        True,
        "0..1",
        "Frames that fit the new prompt better than the old one; 1 means all of them.",
        order=10,
    ),
    Value(
        "shapes_direction",
        "cosine",
        True,
        "0..0.9",
        "Whether the picture changed the way the words did; about 0 means that nothing happened.",
        order=11,
    ),
)
NEEDS = frozenset({"prompt", "source_prompt"})
GROUPS = frozenset({"alignment"})
TOWERS = ()
CLOSEST_OF_NOTHING = 0.6  # cosine with the prompt

__all__ = ["provenance", "unfit"]


def score(clip: Clip, towers: Any, options: Options) -> dict[str, Score]:
    assert clip.prompt is not None and clip.source_prompt is not None, "asked for by NEEDS"
    target, source = text_vector(clip.prompt), text_vector(clip.source_prompt)
    edited_TE = frame_vectors(clip.edited, towers)
    is_unsure = unclear_frames(clip.edited_TYX3) | (
        np.maximum(edited_TE @ target, edited_TE @ source) < CLOSEST_OF_NOTHING
    )
    is_success = (edited_TE @ target > edited_TE @ source) & ~is_unsure
    found = {"shapes_edit_success": mean_score(is_success.astype(np.float64), **unsure(is_unsure))}
    if clip.source is not None:
        before_TE = frame_vectors(source_like_edit(clip), towers)
        found["shapes_direction"] = mean_score(cosines(edited_TE - before_TE, (target - source)[None]))
    return found
