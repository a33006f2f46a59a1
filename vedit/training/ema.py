"""Exponential moving average of weights, with a warm-up that forgets the random start.

    d_n = min(d_max, max(d_min, (1 + n) / (10 + n)))         or, with a power p,
    d_n = min(d_max, max(d_min, 1 - (1 + n)^(-p)))

n counts updates; the first update copies. Parameters are averaged, buffers copied; the average
is float32. Source: seed 004, section 2.1.1 (0.9 growing towards 0.9999), whose formula is lost;
the warm-up is the one of TensorFlow's ExponentialMovingAverage, the power that of diffusers'
EMAModel with inv_gamma 1.
"""

import copy

import torch
from torch import Tensor, nn


class Ema:
    """Keep a shadow model whose parameters trail those of the trained one."""

    def __init__(
        self, model: nn.Module, decay_max: float = 0.999, decay_min: float = 0.0, power: float | None = None
    ) -> None:
        self.model = copy.deepcopy(model).float().requires_grad_(False).eval()
        self.decay_max = decay_max
        self.decay_min = decay_min
        self.power = power
        self.count = 0

    def decay(self, count: int) -> float:
        """Return the share of the old average that survives update `count`."""
        if count == 0:
            return 0.0
        grown = (1 + count) / (10 + count) if self.power is None else 1 - (1 + count) ** -self.power
        return min(self.decay_max, max(self.decay_min, grown))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        averaged: list[Tensor] = list(self.model.parameters())
        current: list[Tensor] = [p.detach().float() for p in model.parameters()]
        torch._foreach_lerp_(averaged, current, 1.0 - self.decay(self.count))
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
        self.count += 1
