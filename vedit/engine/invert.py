"""DDIM inversion: from a clip's latents to the noise that samples back to it.

    for t ascending:  e = eps(z, t, c);  z = DDIM(z, e, abar_previous -> abar_t);  store z as z*_t

Source: Song et al. 2020; docs/methods.md 1.1. The network is asked at the level being reached, as in
all public code. `fixed_point` passes ask it again at the latent just reached and redo the step,
which makes the round trip exact as they converge (Pan et al. 2023, AIDI; Garibi et al. 2024, ReNoise).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from vedit.engine.controller import Controller
from vedit.engine.sample import Stream, at_least_float32, check_finite, predict
from vedit.engine.solvers import Solver, solve
from vedit.models.family import Denoiser
from vedit.models.shown import Shown


@dataclass(frozen=True)
class Inverted:
    """One level reached: `latents` (F, C, Y, X) at timestep `timestep`; index counts from the noise end."""

    index: int
    timestep: Any
    latents: Tensor


@torch.inference_mode()
def invert(
    model: Denoiser,
    timesteps: Sequence[float],
    latents_FCYX: Tensor,
    text_1LE: Tensor,
    *,
    fixed_point: int = 0,
    frames_per_call: int = 8,
    first_frame: int = 0,
    reached: int | None = None,
    controller: Controller | None = None,
    shown: Shown | None = None,
) -> Iterator[Inverted]:
    """Yield the latents of every timestep, cleanest first. Guidance is 1.

    timesteps: descending, as sampling takes them. latents_FCYX: of the clip, float32 or finer.
    fixed_point: further passes per step; each costs one evaluation. first_frame: the clip's number
    of frame 0, for messages. reached: index of the level that latents_FCYX are at already, to go on
    from there; None for the clip's own. controller: rules of the branch "src" that the edit runs
    under too. shown: the picture that a network which sees one is shown.
    """
    schedule = model.schedule
    before = schedule.clean if reached is None else schedule.level(timesteps[reached])
    latents = at_least_float32(latents_FCYX)
    with nullcontext() if controller is None else controller.installed():
        for index in reversed(range(len(timesteps) if reached is None else reached)):
            timestep = timesteps[index]
            level = schedule.level(timestep)
            arrived, asked_level = latents, before
            for _ in range(fixed_point + 1):
                stream = Stream("src", arrived, text_1LE, shown=shown)
                output = predict(model, [stream], timestep, index, controller, frames_per_call)["src"]
                # a v-prediction becomes noise at the level the latents are at: the old one in the first
                # pass (as DDIMInverseScheduler), the new one from then on
                arrived, asked_level = (
                    schedule.step(latents, output, before, level, (arrived, asked_level)),
                    level,
                )
            # in one layout, whichever the network gave: sums in another order are not the same bit by bit
            latents, before = arrived.contiguous(), level
            check_finite(latents, index, model.network_dtype, first_frame)
            yield Inverted(index, timestep, latents)


@torch.inference_mode()
def walk(
    model: Denoiser,
    timesteps: Sequence[float],
    latents_FCYX: Tensor,
    text_1LE: Tensor,
    solver: Solver,
    *,
    frames_per_call: int = 8,
    first_frame: int = 0,
    reached: int | None = None,
    controller: Controller | None = None,
    back: bool = False,
) -> Iterator[Inverted]:
    """Walk a flow with one of its own solvers; as `invert` otherwise.

    back: from the noisiest level to the clean one, which has the index one past the last. A walk that goes
    on from `reached` has lost the velocity of the step before, which fireflow and uni-inv ask for again.
    """
    flow, count = model.schedule, len(timesteps)
    levels = [*(flow.level(timestep) for timestep in timesteps), flow.clean]
    places = [*range(count + 1)] if back else [*reversed(range(1 + (count if reached is None else reached)))]
    index = 0  # of the step that the network is asked for, which rules go by

    def velocity(latents: Tensor, level: float) -> Tensor:
        stream = Stream("src", latents, text_1LE)
        return predict(model, [stream], level * flow.train_steps, index, controller, frames_per_call)["src"]

    with nullcontext() if controller is None else controller.installed():
        walked = solve(velocity, [levels[place] for place in places], at_least_float32(latents_FCYX), solver)
        for before, place in pairwise(places):
            index = min(before, place)
            _, latents = next(walked)
            check_finite(latents, index, model.network_dtype, first_frame)
            yield Inverted(place, timesteps[place] if place < count else 0, latents.contiguous())
