"""Time as a level: the shares of clean latents and of noise in what a network is shown.

    x = signal(level) x0 + noise(level) eps

A family says by which formula a level gives the two shares, and what its network predicts; a sampler,
an inversion and a method need nothing else. Two kinds are here: `alpha_bar` (Stable Diffusion and all
that is trained with discrete noise levels) and `flow` (flow matching, as in video transformers).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from torch import Tensor

Level = TypeVar("Level", float, Tensor)


class Levels(Protocol):
    """The noise levels of a model, and what its network predicts at them.

    A timestep is what the network is told, a level what the formulas take: a number, or where a
    method says so a tensor that broadcasts. clean: the level that sampling ends at. train_steps: of
    timesteps, which run from 0 to this. identity: the constants, as the inversion artefact records them.
    """

    @property
    def clean(self) -> float: ...

    @property
    def train_steps(self) -> int: ...

    @property
    def identity(self) -> Mapping[str, Any]: ...

    def timesteps(self, steps: int) -> Sequence[Any]:
        """The sampling timesteps, noisiest first; raises UsageError for a count that does not fit."""

    def level(self, timestep: Any) -> float:
        """The level at one of them."""

    def shares(self, level: Level) -> tuple[Level, Level]:
        """The shares of clean latents and of noise."""

    def to_x0(self, output: Tensor, x: Tensor, level: Tensor | float) -> Tensor:
        """The clean latents that the network's output at x stands for. level: a number, or a tensor that
        broadcasts.
        """

    def to_eps(self, output: Tensor, x: Tensor, level: float) -> Tensor:
        """The noise that the network's output at x stands for."""

    def step(
        self, x: Tensor, output: Tensor, level: float, after: float, asked: tuple[Tensor, float] | None = None
    ) -> Tensor:
        """Go from a level to another along the network's output, in either direction.

        asked: latents and level that the output was made for, where these are not `x` and `level`.
        """

    def nearest_stored(self, steps: int, stored: Collection[Any]) -> Sequence[Any]:
        """The sampling timesteps, each moved to the nearest that an inversion has stored."""

    def check_stored(self, timesteps: Sequence[Any], stored: Collection[Any], what: str) -> None:
        """Raise UsageError, with a step count that fits, unless an inversion has stored all of them.

        what: "an inversion of 12 steps", say, for the message.
        """

    def after(self, timesteps: Sequence[Any], index: int) -> float:
        """The level that step `index` of a descending sequence arrives at."""

    def mix(self, x0: Tensor, noise: Tensor, level: Tensor | float) -> Tensor:
        """Latents at a level: the forward process with a given noise. level: a number, or a tensor that
        broadcasts.
        """
