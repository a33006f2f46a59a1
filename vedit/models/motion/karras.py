"""The noise levels of Stable Video Diffusion: continuous, spaced by Karras et al. 2022.

    sigma_i = (max^(1/7) + i / (N - 1) (min^(1/7) - max^(1/7)))^7,   t = ln(sigma) / 4
    z = x / sqrt(1 + sigma^2),   abar = 1 / (1 + sigma^2)

In z its Euler steps are DDIM's and its predictions are v, so that all formulas are those of `AlphaBar`; z is
also what its network is given. Source: Karras et al. 2022, eq. 5 and table 1; checked against diffusers'
EulerDiscreteScheduler.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vedit.errors import ModelError, UsageError, option
from vedit.models.alpha_bar import AlphaBar

RHO = 7.0
MOST_STEPS = 1000


@dataclass(frozen=True)
class Karras(AlphaBar):
    """Levels from `sigma_max` down to `sigma_min`, and then clean latents."""

    sigma_min: float = 0.002
    sigma_max: float = 700.0

    @property
    def train_steps(self) -> int:
        return MOST_STEPS

    def timesteps(self, steps: int) -> list[Any]:
        if not 1 <= steps <= MOST_STEPS:
            raise UsageError(f"{steps} steps do not fit.", f"Give 1 to {MOST_STEPS} steps.")
        high, low = self.sigma_max ** (1 / RHO), self.sigma_min ** (1 / RHO)
        sigmas = [(high + place / max(1, steps - 1) * (low - high)) ** RHO for place in range(steps)]
        return [math.log(sigma) / 4 for sigma in sigmas]

    def nearest_stored(self, steps: int, stored: Collection[Any]) -> list[Any]:
        """The sampling timesteps: other counts than the inversion's share its first and last level alone."""
        return self.timesteps(steps)

    def check_stored(self, timesteps: Sequence[Any], stored: Collection[Any], what: str) -> None:
        """Refuse another number of steps than an inversion has levels. Raises UsageError."""
        kept = set(stored)
        if not all(timestep in kept for timestep in timesteps):
            raise UsageError(
                f"{what} holds {len(kept)} levels, and {len(timesteps)} steps need others.",
                f"As many steps as levels fit: {len(kept)}.",
                f"Try {option('steps', len(kept))}",
            )

    def level(self, timestep: Any) -> float:
        return 1 / (1 + math.exp(8 * timestep))


def read_karras(config: Mapping[str, Any]) -> Karras:
    """The levels of an EulerDiscreteScheduler's config with continuous timesteps. Raises ModelError."""
    wanted = {
        "timestep_type": "continuous",
        "prediction_type": "v_prediction",
        "use_karras_sigmas": True,
    }
    for key, value in wanted.items():
        if config.get(key) != value:
            raise ModelError(
                f"the scheduler {config.get('_class_name', '?')} has {key} {config.get(key)!r}.",
                f"Stable Video Diffusion has {value!r}.",
            )
    least, most = float(config["sigma_min"]), float(config["sigma_max"])
    if not 0 < least < most < 1e6:
        raise ModelError(f"its noise goes from {least:g} to {most:g}.", "They are two numbers above 0.")
    identity = {"name": "Karras", "sigma": [least, most], "rho": RHO, "prediction": "v_prediction"}
    return Karras(torch.zeros(0), 1.0, "v_prediction", "karras", 0, identity, least, most)
