"""Noise levels and the DDIM step, read from a checkpoint's scheduler config.

    z_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) eps

Source: Song et al. 2020 (DDIM), eq. 12 with eta = 0; conventions of docs/methods.md 0. Checked against
diffusers' DDIMScheduler and DDIMInverseScheduler to 1e-6, with leading timesteps.
Deviation: a step goes to the next timestep of the list, the last to the final level. Those of
diffusers go T // N down from wherever they are, which is the same with leading timesteps only: with
"trailing" and "linspace" its steps miss the levels that the next ones start at (linspace by up to 1
of 1000 timesteps at 50 steps, by 25 at 7).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from vedit.errors import ModelError, UsageError, option
from vedit.models.levels import Level

PREDICTIONS = ("epsilon", "v_prediction", "sample")


@dataclass(frozen=True)
class AlphaBar:
    """The noise levels of a model, and what its network predicts.

    alpha_bar: signal power at each training timestep, float64, falling.
    final_alpha_bar: the level "below" timestep 0, which sampling ends at.
    prediction: "epsilon", "v_prediction" or "sample" (x0).
    spacing: "leading" (t = k * (T // N) + offset), "trailing" or "linspace".
    offset: added to leading timesteps; Stable Diffusion has 1.
    identity: the constants above as the inversion artefact records them.
    """

    alpha_bar: Tensor
    final_alpha_bar: float
    prediction: str
    spacing: str
    offset: int
    identity: Mapping[str, Any]

    @property
    def train_steps(self) -> int:
        return len(self.alpha_bar)

    def timesteps(self, steps: int) -> list[int]:
        """The sampling timesteps, noisiest first; raises UsageError for a count that does not fit."""
        total = self.train_steps
        if not 1 <= steps <= total:
            raise UsageError(f"{steps} steps do not fit a schedule of {total}.", f"Give 1 to {total} steps.")
        if self.spacing == "leading":
            stride = total // steps
            chosen = [k * stride + self.offset for k in reversed(range(steps))]
            if chosen[0] >= total:  # the offset pushes the first step off the table
                raise UsageError(
                    f"{steps} steps with offset {self.offset} would start at timestep {chosen[0]} of"
                    f" {total}.",
                    f"Give fewer than {steps} steps.",
                )
            return chosen
        if self.spacing == "trailing":
            return [round(total - k * total / steps) - 1 for k in range(steps)]
        return [
            int(t) for t in torch.linspace(0, total - 1, steps, dtype=torch.float64).round().flip(0).long()
        ]

    def nearest_stored(self, steps: int, stored: Collection[int]) -> list[int]:
        """The sampling timesteps, each moved to the nearest level that an inversion has stored, noisiest
        first.

        With leading timesteps nothing moves: step counts that divide each other share them exactly.
        Those of trailing and linspace schedules are rounded, so that 50 of them lie beside, not among,
        500; the network takes any timestep, and at most half a stride of the inversion is between.
        Deviation from the published samplers, which have no such pairs. What would move further, or
        fall together with another, stays, for `check_stored` to refuse.
        """
        wanted, levels = self.timesteps(steps), sorted(stored)
        if self.spacing == "leading" or len(levels) < 2:
            return wanted
        reach = max(above - below for below, above in pairwise(levels)) // 2
        moved = [min(levels, key=lambda level: (abs(level - t), level)) for t in wanted]
        fits = len(set(moved)) == len(moved) and all(
            abs(a - b) <= reach for a, b in zip(moved, wanted, strict=True)
        )
        return moved if fits else wanted

    def check_stored(self, timesteps: Sequence[int], stored: Collection[int], what: str) -> None:
        """Refuse sampling timesteps of which an inversion has not stored all, naming step counts that fit.

        what: "an inversion of 12 steps", say, for the message.
        """
        kept = set(stored)
        missing = [t for t in timesteps if t not in kept]
        if missing:
            fits = [
                count
                for count in range(1, min(len(kept), self.train_steps - 1) + 1)
                if kept.issuperset(self.nearest_stored(count, kept))
            ]
            near = sorted(fits, key=lambda count: (abs(count - len(timesteps)), -count))
            raise UsageError(
                f"{what} holds {len(kept)} levels, and {len(timesteps)} steps need timestep {missing[0]},"
                " which is not among them.",
                f"Step counts that fit: {', '.join(map(str, sorted(near[:6])))}." if fits else "",
                f"Try {option('steps', near[0])}"
                if fits
                else f"Invert again, or leave out {option('inversion')}",
            )

    def level(self, timestep: int) -> float:
        """abar at a timestep; below the first it is the final level."""
        return float(self.alpha_bar[timestep]) if timestep >= 0 else self.final_alpha_bar

    def after(self, timesteps: Sequence[int], index: int) -> float:
        """abar of the level that step `index` of a descending sequence arrives at."""
        return self.level(timesteps[index + 1]) if index + 1 < len(timesteps) else self.final_alpha_bar

    @property
    def clean(self) -> float:
        return self.final_alpha_bar

    def shares(self, level: Level) -> tuple[Level, Level]:
        return level**0.5, (1 - level) ** 0.5

    def mix(self, x0: Tensor, noise: Tensor, level: Tensor | float) -> Tensor:
        """Latents at level abar = `level`: the forward process with a given noise."""
        signal, share = self.shares(level)
        return signal * x0 + share * noise

    def to_eps(self, output: Tensor, latents: Tensor, level: float) -> Tensor:
        """The noise that the network's output stands for, at latents of noise level abar = `level`."""
        if self.prediction == "epsilon":
            return output
        signal, noise = level**0.5, (1 - level) ** 0.5
        if self.prediction == "v_prediction":
            return signal * output + noise * latents
        return (latents - signal * output) / max(noise, 1e-8)

    def to_x0(self, output: Tensor, latents: Tensor, level: Tensor | float) -> Tensor:
        """The clean latents that the network's output stands for.

        level: abar, a number or a tensor that broadcasts, here and in `target`.
        """
        signal, noise = level**0.5, (1 - level) ** 0.5
        if self.prediction == "v_prediction":
            return signal * latents - noise * output
        if self.prediction == "sample":
            return output
        return (latents - noise * output) / signal

    def target(self, x0: Tensor, noise: Tensor, level: Tensor | float) -> Tensor:
        """What the network should say of `mix(x0, noise, level)`: the inverse of `to_x0`."""
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "v_prediction":
            return level**0.5 * noise - (1 - level) ** 0.5 * x0
        return x0

    def step(
        self, x: Tensor, output: Tensor, level: float, after: float, asked: tuple[Tensor, float] | None = None
    ) -> Tensor:
        """The DDIM step from level abar = `level` to `after`; either direction."""
        eps = self.to_eps(output, *(asked or (x, level)))
        x0 = (x - (1 - level) ** 0.5 * eps) / level**0.5
        return after**0.5 * x0 + (1 - after) ** 0.5 * eps


def cosine(total: int, prediction: str, spacing: str = "leading", beta_max: float = 0.999) -> AlphaBar:
    """The cosine schedule: abar_t = f(t / T) / f(0), f(u) = cos^2((u + s) / (1 + s) pi / 2), s = 0.008.

    abar is made again from beta_t = 1 - abar_t / abar_{t-1}, clipped at `beta_max`.
    Source: Nichol & Dhariwal 2021, eq. 17.
    """
    u = torch.arange(total + 1, dtype=torch.float64) / total
    wave = torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
    betas = (1 - wave[1:] / wave[:-1]).clamp(max=beta_max)
    identity = {
        "name": "DDIM",
        "beta": "cosine",
        "beta_max": beta_max,
        "steps": total,
        "spacing": spacing,
        "prediction": prediction,
    }
    return AlphaBar(torch.cumprod(1 - betas, 0), 1.0, prediction, spacing, 0, identity)


def read_schedule(config: Mapping[str, Any]) -> AlphaBar:
    """A schedule from a diffusers scheduler config (scheduler/scheduler_config.json).

    The sampler class named there does not matter: DDIM is used with its constants, as for every
    Stable Diffusion checkpoint. Raises ModelError for a family that has no such constants.
    """
    if "beta_start" not in config and "trained_betas" not in config:
        raise ModelError(
            f"the scheduler {config.get('_class_name', '?')} has no noise table.",
            "These methods need a model trained with discrete noise levels, such as Stable Diffusion 1.x or"
            " 2.x.",
        )
    betas = _betas(config)
    alpha_bar = torch.cumprod(1 - betas, 0)
    if config.get("rescale_betas_zero_snr"):
        alpha_bar = _zero_terminal_snr(alpha_bar)
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in PREDICTIONS:
        raise ModelError(f"the checkpoint predicts {prediction!r}.", f"Known are {', '.join(PREDICTIONS)}.")
    to_one = bool(config.get("set_alpha_to_one", True))
    spacing, offset = config.get("timestep_spacing", "leading"), int(config.get("steps_offset", 0))
    identity = {
        "name": "DDIM",
        "beta": [config.get("beta_start"), config.get("beta_end"), config.get("beta_schedule", "linear")],
        "zero_snr": bool(config.get("rescale_betas_zero_snr")),
        "offset": offset,
        "spacing": spacing,
        "alpha_to_one": to_one,
        "prediction": prediction,
    }
    return AlphaBar(alpha_bar, 1.0 if to_one else float(alpha_bar[0]), prediction, spacing, offset, identity)


def _betas(config: Mapping[str, Any]) -> Tensor:
    if config.get("trained_betas") is not None:
        return torch.tensor(config["trained_betas"], dtype=torch.float32).double()
    total = int(config.get("num_train_timesteps", 1000))
    start, end, kind = config["beta_start"], config["beta_end"], config.get("beta_schedule", "linear")
    # tables are made in float32, as when the checkpoints were trained; sums are then exact in float64
    if kind == "scaled_linear":
        return (torch.linspace(start**0.5, end**0.5, total, dtype=torch.float32) ** 2).double()
    if kind == "linear":
        return torch.linspace(start, end, total, dtype=torch.float32).double()
    raise ModelError(f"the beta schedule {kind!r} is not known.", "Known are linear and scaled_linear.")


def _zero_terminal_snr(alpha_bar: Tensor) -> Tensor:
    """Shift and scale so that the last level holds no signal (Lin et al. 2023, algorithm 1)."""
    root = alpha_bar.sqrt()
    first, last = root[0].clone(), root[-1].clone()
    rescaled = ((root - last) * first / (first - last)) ** 2
    rescaled[-1] = 2.0**-24  # as diffusers: a step from zero signal would divide by zero
    return rescaled
