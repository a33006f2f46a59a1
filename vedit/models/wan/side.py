"""What a Wan codec packs, and the side that its model was trained at, by configurations alone. Loads no
torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vedit.models.hub import read_json

# the shorter side of the sizes that each codec's models are published for: the embedded model, 480p, 704p
NATIVE_SIDE = {4: 64, 8: 480, 16: 704}


def codec_factors(vae: Mapping[str, Any]) -> tuple[int, int]:
    """Pixels per latent entry and side, and pictures per latent frame behind the first."""
    halvings, packs = len(vae["dim_mult"]) - 1, sum(map(bool, vae["temperal_downsample"]))
    return (int(vae.get("patch_size") or 1) << halvings, 1 << packs)


def native_side(name: str, folder: Path) -> int:
    """The side in pixels that a model was trained at; Wan's files do not tell, so it is its codec's."""
    scale, _ = codec_factors({"dim_mult": [1, 2, 4, 4], "temperal_downsample": [False, True, True],
                              **read_json(folder / "vae" / "config.json", name)})  # fmt: skip
    return NATIVE_SIDE.get(scale, 480)
