"""DDIM sampling of whole clips through their predicted x0, which may be clipped, seen and put back in.

    x0 = clip(x0hat(x_t)),   eps' = (x_t - sqrt(abar_t) x0) / sqrt(1 - abar_t)
    sigma = eta sqrt((1 - abar_s) / (1 - abar_t)) sqrt(1 - abar_t / abar_s)
    x_s = sqrt(abar_s) x0 + sqrt(1 - abar_s - sigma^2) eps' + sigma z

Source: Song et al. 2020 (DDIM), eq. 12 and 16; eps is made again from the clipped x0. eta = 1 with
as many steps as the schedule has is DDPM. Checked against diffusers' DDIMScheduler.

Shape letters: B clips, C channels, F frames, Y X rows and columns, E embedding width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vedit.errors import UsageError, VeditError
from vedit.models.levels import Schedule, add_noise

Clip = Callable[[Tensor], Tensor]
Predict = Callable[[Tensor, int], Tensor]
LARGEST_QUANTILE = 16_000_000  # values that torch.quantile takes at once; of more, the nearest value is taken
QUANTILE = 0.9  # of "dynamic" without a number, as in seed 004; Imagen takes 0.995


class Denoised(NamedTuple):
    """One step done: its place from 0 and its timestep, x after it, and the clipped x0 it foresaw."""

    step: int
    timestep: int
    x: Tensor
    x0: Tensor


class Hold(NamedTuple):
    """What stays as it is: `x0` wherever `mask` (1: make anew, 0: keep; it broadcasts) is 0."""

    x0: Tensor
    mask: Tensor


@torch.inference_mode()
def denoise(
    predict: Predict,
    schedule: Schedule,
    timesteps: Sequence[int],
    x: Tensor,
    *,
    clip: Clip = lambda x0: x0,
    eta: float = 0.0,
    noise: Callable[[], Tensor] | None = None,
    start: int = 0,
    hold: Hold | None = None,
) -> Iterator[Denoised]:
    """Take the steps `start`.. of `timesteps`, from x at the level of the first; yields after each.

    predict: the network's output for x at a timestep. noise: gives a tensor like x each time it is
    called; read when eta > 0 or something is held. Raises VeditError when x stops being finite.
    """
    for index in range(start, len(timesteps)):
        timestep = timesteps[index]
        level, after = schedule.level(timestep), schedule.after(timesteps, index)
        x0 = clip(schedule.x0(predict(x, timestep), x, level))
        eps = (x - level**0.5 * x0) / (1 - level) ** 0.5
        sigma = eta * ((1 - after) / (1 - level)) ** 0.5 * (1 - level / after) ** 0.5
        x = after**0.5 * x0 + max(0.0, 1 - after - sigma**2) ** 0.5 * eps
        if sigma > 0:
            x = x + sigma * _drawn(noise)
        if hold is not None:
            kept = add_noise(hold.x0, _drawn(noise), after) if after < 1 else hold.x0
            x = hold.mask * x + (1 - hold.mask) * kept
        if not bool(x.isfinite().all()):
            raise VeditError(
                f"the clip is not finite after step {index + 1}.", "Its weights or its precision are at fault.", "Try --dtype fp32, or --clip static"
            )
        yield Denoised(index, timestep, x, x0)


def _drawn(noise: Callable[[], Tensor] | None) -> Tensor:
    assert noise is not None, "who asks for eta or a hold gives noise"
    return noise()


def guided(network: Any, text_BE: Tensor | None, guidance: float, negative_BE: Tensor | None = None) -> Predict:
    """The network under classifier-free guidance: e_null + w (e_text - e_null), both in one batch.

    network: called with x, timesteps, the text and `drop_B`, as UNet3D is. negative_BE: a text to
    lead away from instead of the learnt null text. guidance: w; 1 leaves the null half out.
    """
    if text_BE is None or guidance == 1:
        return lambda x, timestep: network(x, _timesteps(x, timestep), text_BE)

    def predict(x: Tensor, timestep: int) -> Tensor:
        other = text_BE if negative_BE is None else negative_BE
        drop_B = torch.tensor([negative_BE is None] * len(x) + [False] * len(x), device=x.device)
        double = torch.cat([x, x])
        null, text = network(double, _timesteps(double, timestep), torch.cat([other, text_BE]), drop_B=drop_B).chunk(2)
        return null + guidance * (text - null)

    return predict


def _timesteps(x: Tensor, timestep: int) -> Tensor:
    return torch.full((len(x),), timestep, device=x.device)


def read_clip(text: str) -> Clip:
    """`clip_x_start` as typed: none, static, dynamic or dynamic:QUANTILE."""
    name, colon, number = text.partition(":")
    if name in ("none", "static") and not colon:
        return {"none": lambda x0: x0, "static": lambda x0: x0.clamp(-1, 1)}[name]
    try:
        quantile = float(number) if colon else QUANTILE
    except ValueError:
        quantile = -1.0
    if name != "dynamic" or not 0 < quantile <= 1:
        raise UsageError(f"--clip {text} is not known.", "It is none, static, dynamic, or dynamic:QUANTILE with a quantile in 0 to 1, such as dynamic:0.995.")
    return lambda x0: dynamic_threshold(x0, quantile)


def dynamic_threshold(x0: Tensor, quantile: float) -> Tensor:
    """Clamp each clip to the `quantile` s of its absolute values, at least 1, and divide by s.

    Source: Saharia et al. 2022 (Imagen), section 2.3. Seed 004 takes the quantile "of the training
    data"; that data lies in [-1, 1], which would make s always 1, so the clip's own is meant here.
    """
    flat = x0.flatten(1).abs()
    if flat.numel() <= LARGEST_QUANTILE:
        s = torch.quantile(flat, quantile, dim=1)
    else:
        s = flat.kthvalue(max(1, math.ceil(quantile * flat.shape[1])), dim=1).values
    s = s.clamp(min=1)
    s = s.reshape(-1, *[1] * (x0.ndim - 1))
    return x0.clamp(-s, s) / s
