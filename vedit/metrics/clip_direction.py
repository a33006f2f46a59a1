"""Whether frames changed in the direction in which the prompts differ.

Source: Gal et al. 2022 (StyleGAN-NADA), "directional similarity", on unit CLIP ViT-L/14 embeddings.
"""

from __future__ import annotations

from vedit.metrics.base import Clip, Score, Value, cosines, mean_score, source_like_edit
from vedit.metrics.towers import Towers
from vedit.metrics.types import Floats, Options, unit

SUMMARY = "whether frames changed in the direction the prompts differ in"
VERSION = 1
VALUES = (
    Value(
        "clip_direction",
        "cosine",
        True,
        "0..0.3",
        "Whether the change from source to edit points where the change from source prompt to target prompt"
        " points; 0 when nothing changed.",
        ("CLIP Directional Similarity",),
    ),
)
NEEDS = frozenset({"source", "prompt", "source_prompt"})
GROUPS = frozenset({"alignment"})
TOWERS = ("clip_l",)


def directions(clip: Clip, towers: Towers) -> Floats:
    """The cosine of each frame's change with the change of the prompts, (T,); 0 for a frame that did not
    change.
    """
    tower = towers.get("clip_l")
    source = source_like_edit(clip)
    frames_TE = unit(tower.images(clip.edited)["projected"]) - unit(tower.images(source)["projected"])
    texts_1E = unit(tower.text(clip.prompt)["projected"]) - unit(tower.text(clip.source_prompt)["projected"])
    return cosines(frames_TE, texts_1E)


def score(clip: Clip, towers: Towers, options: Options) -> dict[str, Score]:
    return {"clip_direction": mean_score(directions(clip, towers))}
