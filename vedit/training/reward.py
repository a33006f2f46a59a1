"""Gradients through sampling: a network that is judged by what it draws, not by single velocities.

The network is asked at every level, and what it is shown there is held fixed; so x_0 = x_1 + sum_i
(s_{i+1} - s_i) v(x_i, s_i) is a sum of independent answers, and the gradient of a judgement of x_0 reaches
those of the steps that are taught. Nothing is carried back through the network more than once, however many
steps there are.

Source: Wu et al. 2024 (DRTune, arXiv 2405.00760). Deviations: Euler steps of a flow; the steps that are
taught are the caller's choice (there equally spaced); no early stop.
"""

import itertools
from collections.abc import Callable, Collection

import torch
from torch import Tensor


def drawn(
    velocity: Callable[[Tensor, float], Tensor], noise: Tensor, steps: int, taught: Collection[int]
) -> Tensor:
    """Return what `steps` Euler steps make of noise, with the gradient through those in `taught`.

    velocity: the network's answer to a latent at a level, 1 (noise) to 0 (data).
    """
    latents = noise
    for step, (level, after) in enumerate(itertools.pairwise(torch.linspace(1, 0, steps + 1).tolist())):
        with torch.set_grad_enabled(step in taught):
            v = velocity(latents.detach(), level)
        latents = latents + (after - level) * v
    return latents
