"""DDIM inversion and a new prompt: sample from the clip's own noise with other words.

Source: Song et al. 2020; the baseline that every attention-control paper starts from. The layout
survives as far as the noise holds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from vedit.diffusion.sample import Step
from vedit.methods.base import EditInput, InversionParams, Outline, branches_of, check_start, control, guided_stream, hold_outside, plan_of, sample_with

SUMMARY = "Invert the clip and sample again with the new prompt."
NEEDS = frozenset({"inversion"})


class Params(InversionParams):
    start_index: int = Field(0, ge=0, description="sampling step to start at; later keeps more of the clip")


def outline(model: Any, clip: EditInput, params: Params) -> Outline:
    check_start(params.start_index, len(clip.timesteps))
    branches = branches_of(params.guidance)
    return Outline(branches, plan_of(model, clip, branches, hold_outside(clip)), len(clip.timesteps) - params.start_index, params.start_index)


def run(model: Any, clip: EditInput, params: Params) -> Iterator[Step]:
    announced = outline(model, clip, params)
    streams = [guided_stream(model, clip, params, clip.trajectory(announced.start))]
    yield from sample_with(model, clip, streams, control(model, clip, streams, announced.plan), announced.start)
