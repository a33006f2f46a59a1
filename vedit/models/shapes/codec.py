"""The way back from latents of the embedded models to pictures and clips in 0..1.

Tensor names: B pictures or clips, C channels, F frames, Y X rows and columns.
"""

from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def decode(codec: Any, latents_BCYX: Tensor) -> Tensor:
    """Turn latents into pictures in 0..1."""
    latents_BCYX = latents_BCYX / codec.config.scaling_factor
    pictures = [codec.decode(part).sample for part in latents_BCYX.split(32)]
    return (0.5 * (torch.cat(pictures) + 1)).clamp(0, 1)


@torch.no_grad()
def drawn(codec: Any, latents_BCFYX: Tensor) -> Tensor:
    """Turn normalised latents into clips in 0..1, BFCYX: one frame of the first latent, two of each other."""
    mean, std = (
        torch.tensor(codec.config[name]).to(latents_BCFYX)[:, None, None, None]
        for name in ("latents_mean", "latents_std")
    )
    return (0.5 * (codec.decode(latents_BCFYX * std + mean).sample + 1)).clamp(0, 1).transpose(1, 2)
