"""How much better a network foresees a clip when it is told one prompt than when it is told another.

Source: Li et al. 2023, "Your Diffusion Model is Secretly a Zero-Shot Classifier", eq. 4-6. Both prompts see
the same noise at the same levels, so that what they share drops out; levels lie evenly in the schedule
instead of being drawn. Errors are those of the velocity, which tells levels of all noise apart and is finite
at both ends.
Shape letters: F frames, C channels, Y X latent rows and columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vedit.engine.noise import noise_like
from vedit.engine.sample import Stream, predict
from vedit.models.family import Family

LEVELS = 8
DRAW = 11  # the substream of its noise


@torch.inference_mode()
def foreseen_better(
    model: Family,
    latents_FCYX: Tensor,
    texts: tuple[Tensor, Tensor],
    *,
    seed: int,
    frames_per_call: int = 8,
    levels: int = LEVELS,
) -> float:
    """The mean squared error of the velocity under the second text less that under the first: above 0 where
    the first one tells more of what the clip shows.

    texts: embeddings (1, L, E). levels: of noise that are looked at, one draw each; frames draw their own.
    """
    schedule, less = model.schedule, 0.0
    clean = latents_FCYX.to(model.device)
    # at the noisiest of them nothing of the clip is left to be seen
    for number, timestep in enumerate(schedule.timesteps(levels + 1)[1:]):
        level = schedule.level(timestep)
        noise = noise_like(clean, seed, DRAW, number, shared=False)
        noisy = schedule.mix(clean, noise, level)
        streams = [Stream(name, noisy, text) for name, text in zip(("this", "that"), texts, strict=True)]
        outputs = predict(model, streams, timestep, 0, None, frames_per_call)
        _, share = schedule.shares(level)
        this, that = (
            # x0 is off by b times as much as the velocity a eps - b x0
            float((schedule.to_x0(outputs[name], noisy, level) - clean).square().mean()) / float(share) ** 2
            for name in ("this", "that")
        )
        less += (that - this) / levels
    return less
