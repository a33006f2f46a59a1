"""SDEdit: add noise up to a level, and sample from there with the new prompt.

Source: Meng et al. 2021. `strength` s keeps the last floor(s N) steps, as in diffusers. All frames
take the same noise unless `shared_noise` is off, when frame i of a clip has its own whatever the window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from pydantic import Field
from torch import Tensor

from vedit.diffusion.noise import noise_like
from vedit.diffusion.sample import Step
from vedit.diffusion.schedule import add_noise
from vedit.errors import UsageError
from vedit.methods.base import EditInput, Outline, SamplingParams, branches_of, control, guided_stream, hold_outside, plan_of, sample_with

SUMMARY = "Add noise to the clip and sample it away with the new prompt."
NEEDS: frozenset[str] = frozenset()


class Params(SamplingParams):
    strength: float = Field(0.6, gt=0, le=1, description="share of the steps that are taken; 1 keeps nothing but the layout's average")
    shared_noise: bool = Field(True, description="the same noise for all frames, against flicker")


def outline(model: Any, clip: EditInput, params: Params) -> Outline:
    steps = len(clip.timesteps)
    taken = int(params.strength * steps + 1e-9)
    if taken < 1:
        raise UsageError(f"strength {params.strength:g} of {steps} steps is no step at all.", f"Give at least {1 / steps:.2g}, or more steps.")
    branches = branches_of(params.guidance)
    rules = hold_outside(clip, noised(model, clip, params))
    return Outline(branches, plan_of(model, clip, branches, rules), taken, steps - taken)


def noised(model: Any, clip: EditInput, params: Params) -> Callable[[int], Tensor]:
    """The clip at the noise level before a step, by its index; one past the last is the clip itself."""

    @cache
    def noise() -> Tensor:
        return noise_like(clip.latents_FCYX, clip.seed, 0, shared=params.shared_noise, first_frame=clip.first_frame)

    def source(index: int) -> Tensor:
        if index == len(clip.timesteps):
            return clip.latents_FCYX
        return add_noise(clip.latents_FCYX, noise(), model.schedule.level(clip.timesteps[index]))

    return source


def run(model: Any, clip: EditInput, params: Params) -> Iterator[Step]:
    announced = outline(model, clip, params)
    streams = [guided_stream(model, clip, params, noised(model, clip, params)(announced.start))]
    yield from sample_with(model, clip, streams, control(model, clip, streams, announced.plan), announced.start)
