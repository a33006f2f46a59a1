"""How different the edit looks from the ideal one.

Source: Zhang et al. 2018, version 0.1, AlexNet unless `--lpips-net` says otherwise (FiVE-Bench uses squeeze).
"""

from __future__ import annotations

from vedit.metrics.base import Clip, Score, Value, mean_score
from vedit.metrics.psnr import truth_like_edit
from vedit.metrics.towers import Towers
from vedit.metrics.types import Options, Video

SUMMARY = "how different the edit looks from the ideal one (LPIPS)"
VERSION = 1
VALUES = (
    Value(
        "lpips",
        "distance",
        False,
        "0..0.7",
        "How different edited and ideal frames look to people; equal frames have 0.",
        ("LPIPS",),
        order=14,
    ),
)
NEEDS = frozenset({"truth"})
OPTIONS = ("lpips_net",)
GROUPS = frozenset({"reference"})
TOWERS = ("lpips_alex",)
SMALLEST = 32


def towers(options: Options) -> tuple[str, ...]:
    return (f"lpips_{options.lpips_net}",)


def score(clip: Clip, towers: Towers, options: Options) -> dict[str, Score]:
    return {"lpips": distance(clip.edited, Video(truth_like_edit(clip)), towers, options)}


def distance(first: Video, second: Video, towers: Towers, options: Options) -> Score:
    """The mean distance of frames of the same number; NaN for frames too small for the network."""
    if min(first.size) < SMALLEST:
        return Score(
            float("nan"),
            (),
            {"why": f"LPIPS needs {SMALLEST} pixels a side, the clip has {first.size[1]}x{first.size[0]}"},
        )
    return mean_score(
        towers.get(f"lpips_{options.lpips_net}").distances(first, second), net=options.lpips_net
    )
