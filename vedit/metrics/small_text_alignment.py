"""How well frames show the prompt, by the smallest open CLIP: free prompts on real clips for 94 MB.

TinyCLIP ViT-8M/16 (Wu et al. 2023) names 41.1 % of ImageNet's pictures right where OpenAI's ViT-L/14 names
75.5 %: for comparing edits of the same clip with each other, not with numbers of other networks.
"""

from __future__ import annotations

from vedit.metrics.base import Clip, Score, Value, cosines, mean_score
from vedit.metrics.towers import Towers
from vedit.metrics.types import Options

SUMMARY = "how well frames show the prompt (TinyCLIP ViT-8M/16, 94 MB)"
VERSION = 1
VALUES = (
    Value(
        "small_text_alignment",
        "100 x cosine",
        True,
        "-100..100",
        "How well each frame shows what the prompt says, by a small network; compare edits of one clip.",
        rounding=1e-3,
        order=26,
    ),
)
NEEDS = frozenset({"prompt"})
GROUPS = frozenset({"small"})
TOWERS = ("clip_small",)


def score(clip: Clip, towers: Towers, options: Options) -> dict[str, Score]:
    assert clip.prompt is not None, "asked for by NEEDS"
    tower = towers.get("clip_small")
    text = tower.text(clip.prompt)
    found = 100 * cosines(tower.images(clip.edited)["projected"], text["projected"])
    return {"small_text_alignment": mean_score(found, truncated=bool(text["truncated"][0]))}
