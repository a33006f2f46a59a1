"""Flow matching: a straight line from clean latents to noise, and a network that predicts its direction.

    x = (1 - sigma) x0 + sigma eps,   v = eps - x0,   sigma' = shift sigma / (1 + (shift - 1) sigma)
    shift = exp(m tokens + b)   where the levels move with the size of a clip

Source: Lipman et al. 2023, eq. 22 (with time running the other way); Esser et al. 2024 (Stable
Diffusion 3), section 5.3.2 for the shift. Checked against diffusers' FlowMatchEulerDiscreteScheduler
and UniPCMultistepScheduler.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar

from torch import Tensor

from vedit.errors import ModelError, UsageError, option
from vedit.models.levels import Level

Sigma = TypeVar("Sigma", float, Tensor)


def shifted(sigma: Sigma, shift: float) -> Sigma:
    """Move levels towards noise, or with a shift below 1 away from it."""
    return shift * sigma / (1 + (shift - 1) * sigma)


@dataclass(frozen=True)
class Flow:
    """The levels sigma of a flow, from 1 (noise) to 0 (clean); a timestep is `train_steps` times sigma.

    shift: above 1 more of the steps are spent at high noise, as larger pictures need. last: the
    level before the clean one, as diffusers spaces them; None spaces all of them evenly. leads_to_last:
    `last` ends the spacing and is no level itself. most: the noisiest level. is_whole: the network
    is told timesteps without their fractions, while steps are taken between the exact levels. terminal: all
    levels are stretched so that the one before the clean one is this. is_quadratic: half of the steps
    stay by the noise, and the others go faster and faster.
    """

    shift: float = 1.0
    train_steps: int = 1000
    last: float | None = None
    leads_to_last: bool = False
    most: float = 1.0
    is_whole: bool = False
    terminal: float | None = None
    is_quadratic: bool = False

    @property
    def clean(self) -> float:
        return 0.0

    @property
    def identity(self) -> Mapping[str, Any]:
        told = {
            "last": self.last, "leads_to_last": self.leads_to_last, "whole": self.is_whole,
            "terminal": self.terminal, "quadratic": self.is_quadratic,
        }  # fmt: skip
        named = {"name": "flow", "shift": self.shift, "steps": self.train_steps}
        return {**named, **{key: value for key, value in told.items() if value}}

    def timesteps(self, steps: int) -> list[float]:
        if not 1 <= steps <= self.train_steps:
            raise UsageError(
                f"{steps} steps do not fit a schedule of {self.train_steps}.",
                f"Give 1 to {self.train_steps} steps.",
            )
        levels = [self._shifted(level) for level in self._spaced(steps)]
        if self.terminal is not None and levels[-1] < 1:
            reach = (1 - levels[-1]) / (1 - self.terminal)
            levels = [1 - (1 - level) / reach for level in levels]
        return [self.train_steps * level for level in levels]

    def _spaced(self, steps: int) -> list[float]:
        """Levels before they are shifted, noisiest first."""
        if self.is_quadratic:
            return quadratic(steps)
        is_open = self.last is None or self.leads_to_last
        each = (1 - (self.last or 0.0)) / (steps if is_open else max(1, steps - 1))
        return [1 - step * each for step in range(steps)]

    def _shifted(self, sigma: float) -> float:
        return min(self.most, shifted(sigma, self.shift))

    def told(self, timestep: float) -> float:
        """What the network is told of a timestep."""
        return float(int(timestep)) if self.is_whole else timestep

    def nearest_stored(self, steps: int, stored: Collection[float]) -> list[float]:
        """The sampling timesteps, each moved to the nearest that an inversion has stored.

        What would move further than half a stride of it, or fall together with another, stays, for
        `check_stored` to refuse.
        """
        wanted, levels = self.timesteps(steps), sorted(stored)
        if len(levels) < 2:
            return wanted
        reach = max(above - below for below, above in pairwise(levels)) / 2
        moved = [min(levels, key=lambda level: (abs(level - t), level)) for t in wanted]
        fits = len(set(moved)) == len(moved) and all(
            abs(a - b) <= reach for a, b in zip(moved, wanted, strict=True)
        )
        return moved if fits else wanted

    def check_stored(self, timesteps: Sequence[float], stored: Collection[float], what: str) -> None:
        """Refuse sampling timesteps of which an inversion has not stored all; names a count that fits."""
        kept = set(stored)
        if all(timestep in kept for timestep in timesteps):
            return
        raise UsageError(
            f"{what} holds {len(kept)} levels, and {len(timesteps)} steps need others.",
            f"As many steps as levels fit: {len(kept)}.",
            f"Try {option('steps', len(kept))}",
        )

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


@dataclass(frozen=True)
class Moving:
    """Levels that are shifted by the tokens of a clip, along a line between two numbers of them and beyond.

    flow: without its shift. tokens, exponents: two of each; is_linear: the shift itself lies on the line,
    not its logarithm.
    """

    flow: Flow
    tokens: tuple[int, int]
    exponents: tuple[float, float]
    is_linear: bool = False

    def at(self, tokens: int) -> Flow:
        """The levels of clips of so many tokens."""
        (few, many), (low, high) = self.tokens, self.exponents
        reached = low + (high - low) * (tokens - few) / (many - few)
        return replace(self.flow, shift=reached if self.is_linear else math.exp(reached))


def quadratic(steps: int, threshold: float = 0.025) -> list[float]:
    """Levels from 1 on, half of them by the noise, down to `threshold` less, and the others along a parabola.

    Source: Movie Gen (arXiv 2410.13720), section 3.4.2, as in diffusers' LTXConditionPipeline.
    """
    near = steps // 2
    if near == 0:
        return [1.0] * steps
    far, rest = steps - near, near - threshold * steps
    bend, slope = rest / (near * far**2), threshold / near - 2 * rest / far**2
    gone = [step * threshold / near for step in range(near)]
    gone += [bend * step**2 + slope * step + bend * near**2 for step in range(near, steps)]
    return [1 - share for share in gone]


def read_moving(config: Mapping[str, Any], *, is_quadratic: bool = False) -> Flow | Moving:
    """The levels of a FlowMatchEulerDiscreteScheduler that is given evenly spaced ones down to the last step,
    or with `is_quadratic` those of that name, as the pipelines of LTX-Video do.

    Raises ModelError for another kind of schedule, ValueError for numbers that make none.
    """
    still = {**config, "use_dynamic_shifting": False, "shift_terminal": None}
    plain = read_flow(still)
    terminal = config.get("shift_terminal") or None
    flow = Flow(plain.shift, plain.train_steps, terminal=terminal, is_quadratic=is_quadratic)
    if not 0 < float(terminal or 0.5) < 1:
        raise ValueError(f"its shift_terminal is {terminal}")
    if not config.get("use_dynamic_shifting"):
        return flow
    if is_quadratic:
        raise ValueError(
            "it moves its levels by the size of the clip, and the pipeline does not say the size"
        )
    tokens = int(config.get("base_image_seq_len", 256)), int(config.get("max_image_seq_len", 4096))
    exponents = float(config.get("base_shift", 0.5)), float(config.get("max_shift", 1.15))
    if tokens[0] == tokens[1] or not all(abs(one) < 100 for one in exponents):
        raise ValueError(f"its shift goes from {exponents[0]} to {exponents[1]} between {tokens} tokens")
    return Moving(flow, tokens, exponents, config.get("time_shift_type") == "linear")


def read_flow(config: Mapping[str, Any]) -> Flow:
    """The levels of a diffusers scheduler config (scheduler/scheduler_config.json) of flow matching.

    The solver named there does not matter: its levels are taken, and steps are Euler's. Raises ModelError
    for another kind of schedule, ValueError for numbers that make none.
    """
    kind, total = str(config.get("_class_name", "?")), int(config.get("num_train_timesteps", 1000))
    if config.get("use_dynamic_shifting") or config.get("shift_terminal"):
        raise ModelError(
            f"the scheduler {kind} moves its levels by the size of the clip, which is not known."
        )
    for spacing in ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "invert_sigmas"):
        if config.get(spacing):
            raise ModelError(f"the scheduler {kind} has {spacing}, which is not known.")
    is_given = bool(config.get("use_flow_sigmas"))  # UniPC and its like
    shift = float(config.get("flow_shift" if is_given else "shift", 1.0))
    if not (0 < shift < 1000 and total > 1):
        raise ValueError(f"its shift is {shift:g}, its num_train_timesteps {total}")
    if is_given:
        return Flow(shift, total, 1 / total, leads_to_last=True, most=1 - 1e-6, is_whole=True)
    if kind != "FlowMatchEulerDiscreteScheduler":
        raise ModelError(
            f"the scheduler {kind} is not one of flow matching.",
            "Known are FlowMatchEulerDiscreteScheduler, and those with use_flow_sigmas.",
        )
    return Flow(shift, total, last=shifted(1 / total, shift))  # it is shifted here, and again in a list
