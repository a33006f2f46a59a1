"""What the embedded video model learns: the velocity of the straight path from data to noise.

On the path z = (1 - s) x + s n, at a level s in 0..1, the network predicts the velocity v = n - x, and x = z
- s v (`vedit.models.flow`).

Source: Lipman et al. 2023.
"""

import torch
from torch import Tensor


def mixed(latents: Tensor, noise: Tensor, level_B: Tensor) -> Tensor:
    """Return the latents at a level of noise, 0 (data) to 1 (noise), for each row."""
    level = level_B.view(-1, *[1] * (latents.ndim - 1))
    return torch.lerp(latents, noise, level)


def velocity(latents: Tensor, noise: Tensor) -> Tensor:
    """Return what the network learns to predict."""
    return noise - latents
