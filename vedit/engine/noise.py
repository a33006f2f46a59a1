"""Noise that does not depend on the device, nor on how a clip was cut into windows.

Each consumer takes a numbered substream of the run's seed, drawn on the CPU in float32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def substream(seed: int, *numbers: int) -> torch.Generator:
    """The generator of one consumer: equal numbers give equal draws, different ones unrelated draws."""
    key = hashlib.blake2b("/".join(map(str, (seed, *numbers))).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(key, "little") >> 1)


def noise_like(
    latents_FCYX: Tensor, seed: int, *numbers: int, shared: bool = True, first_frame: int = 0
) -> Tensor:
    """Unit noise (F, C, Y, X): the same for all frames, or by the frame's number in the clip.

    first_frame: index in the whole clip of the first frame here.
    """
    size: Sequence[int] = latents_FCYX.shape[1:]
    if shared:
        return torch.randn(size, generator=substream(seed, *numbers)).to(latents_FCYX).expand_as(latents_FCYX)
    draws = [
        torch.randn(size, generator=substream(seed, *numbers, 1 + first_frame + frame))
        for frame in range(len(latents_FCYX))
    ]
    return torch.stack(draws).to(latents_FCYX)
