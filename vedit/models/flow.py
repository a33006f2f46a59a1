"""Flow matching: a straight line from clean latents to noise, and a network that predicts its direction.

    x = (1 - sigma) x0 + sigma eps,   v = eps - x0,   sigma' = shift sigma / (1 + (shift - 1) sigma)

Source: Lipman et al. 2023, eq. 22 (with time running the other way); Esser et al. 2024 (Stable
Diffusion 3), section 5.3.2 for the shift. Checked against diffusers' FlowMatchEulerDiscreteScheduler.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vedit.errors import UsageError
from vedit.models.levels import Level


@dataclass(frozen=True)
class Flow:
    """The levels sigma of a flow, from 1 (noise) to 0 (clean); a timestep is `train_steps` times sigma.

    shift: above 1 more of the steps are spent at high noise, as larger pictures need. last: the
    level before the clean one, as diffusers spaces them; None spaces all of them evenly.
    """

    shift: float = 1.0
    train_steps: int = 1000
    last: float | None = None

    @property
    def clean(self) -> float:
        return 0.0

    @property
    def identity(self) -> Mapping[str, Any]:
        named = {"name": "flow", "shift": self.shift, "steps": self.train_steps}
        return named if self.last is None else {**named, "last": self.last}

    def timesteps(self, steps: int) -> list[float]:
        if not 1 <= steps <= self.train_steps:
            raise UsageError(
                f"{steps} steps do not fit a schedule of {self.train_steps}.",
                f"Give 1 to {self.train_steps} steps.",
            )
        each = 1 / steps if self.last is None else (1 - self.last) / max(1, steps - 1)
        return [self.train_steps * self._shifted(1 - step * each) for step in range(steps)]

    def _shifted(self, sigma: float) -> float:
        return self.shift * sigma / (1 + (self.shift - 1) * sigma)

    def nearest_stored(self, steps: int, stored: Collection[float]) -> list[float]:
        return self.timesteps(steps)

    def level(self, timestep: float) -> float:
        return timestep / self.train_steps

    def shares(self, level: Level) -> tuple[Level, Level]:
        return 1 - level, level

    def after(self, timesteps: Sequence[float], index: int) -> float:
        return self.level(timesteps[index + 1]) if index + 1 < len(timesteps) else self.clean

    def mix(self, x0: Tensor, noise: Tensor, level: Tensor | float) -> Tensor:
        signal, share = self.shares(level)
        return signal * x0 + share * noise

    def to_x0(self, output: Tensor, x: Tensor, level: Tensor | float) -> Tensor:
        return x - level * output

    def to_eps(self, output: Tensor, x: Tensor, level: Tensor | float) -> Tensor:
        return x + (1 - level) * output

    def step(
        self, x: Tensor, output: Tensor, level: float, after: float, asked: tuple[Tensor, float] | None = None
    ) -> Tensor:
        return x + (after - level) * output  # the direction is the same wherever it was asked for
