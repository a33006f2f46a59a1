"""Flow matching of the embedded video model: the path from data to noise, and Euler's way back.

On the path z = (1 - s) x + s n, at a level s in 0..1, the network predicts the velocity
v = n - x, is told the timestep 1000 s, and x = z - s v. All of this file belongs to the model's
use; it moves beside the other families once there is one for Wan-layout models.

Source: Lipman et al. 2023; conventions of diffusers' FlowMatchEulerDiscreteScheduler.

Tensor names: B clips, C latent channels, F latent frames, Y X latent rows and columns, L text
tokens, E text width.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

TIMESTEPS = 1000


def mixed(latents: Tensor, noise: Tensor, level_B: Tensor) -> Tensor:
    """Return the latents at a level of noise, 0 (data) to 1 (noise), for each row."""
    level = level_B.view(-1, *[1] * (latents.ndim - 1))
    return torch.lerp(latents, noise, level)


def velocity(latents: Tensor, noise: Tensor) -> Tensor:
    """Return what the network learns to predict."""
    return noise - latents


def predict(transformer: Any, noisy_BCFYX: Tensor, level_B: Tensor, text_BLE: Tensor) -> Tensor:
    """Return the predicted velocity at these levels."""
    v_BCFYX: Tensor = transformer(noisy_BCFYX, TIMESTEPS * level_B, text_BLE, return_dict=False)[0]
    return v_BCFYX


@torch.no_grad()
def drawn(codec: Any, latents_BCFYX: Tensor) -> Tensor:
    """Turn normalised latents into clips in 0..1, BFCYX: one frame of the first latent, two of each other."""
    mean, std = (
        torch.tensor(codec.config[name]).to(latents_BCFYX)[:, None, None, None]
        for name in ("latents_mean", "latents_std")
    )
    return (0.5 * (codec.decode(latents_BCFYX * std + mean).sample + 1)).clamp(0, 1).transpose(1, 2)


def padded(states_BLE: Tensor, ids_BL: Tensor, end: int) -> Tensor:
    """Return text states with zeros after the first end mark, as diffusers' WanPipeline pads them."""
    before_BL = (ids_BL == end).cumsum(dim=1) - (ids_BL == end).long()
    return states_BLE.masked_fill((before_BL > 0)[:, :, None], 0.0)


@torch.no_grad()
def euler(
    transformer: Any, scheduler: Any, noise_BCFYX: Tensor, text_2BLE: Tensor, steps: int, guidance: float
) -> Iterator[Tensor]:
    """Walk from noise to clean latents with classifier-free guidance, both halves in one batch; yield each
    step.

    text_2BLE: the states of the captions, then those of the negative caption.
    """
    scheduler.set_timesteps(steps, device=noise_BCFYX.device)
    latents_BCFYX = noise_BCFYX
    for level, after in zip(scheduler.sigmas[:-1], scheduler.sigmas[1:], strict=True):
        both = predict(
            transformer,
            torch.cat([latents_BCFYX, latents_BCFYX]),
            level.expand(len(text_2BLE)).to(latents_BCFYX),
            text_2BLE,
        )
        said, unsaid = both.chunk(2)
        latents_BCFYX = latents_BCFYX + (after - level) * (unsaid + guidance * (said - unsaid))
        yield latents_BCFYX
