"""Uni-Edit: invert a flow part of the way, and lead it back along both prompts at one place.

    d = v(Z, c*) - v(Z, c),   m = mean over channels of d, from 0 (least) to 1 (most)
    Z <- Z + omega h (1 + m) d + h (m v* + (1 - m) v)

Source: Jiao et al. 2025 (arXiv 2504.13109) and its public code, UniEdit-Flow; docs/methods.md 9.2. The last
floor(alpha N) levels are inverted with Uni-Inv and no prompt, and sampled back: 3 alpha N + 1 evaluations.
Both branches are asked at the same latents, without guidance. Deviation: m is scaled over the whole clip
of a window, and outside the user's mask the latents of the inversion are put back.
Shape letters: F frames, C channels, Y X latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import torch
from pydantic import AliasChoices, Field
from torch import Tensor

from vedit.engine.blend import blend
from vedit.engine.invert import walk
from vedit.engine.rules import Plan
from vedit.engine.sample import Step, Stream, check_finite, predict
from vedit.engine.solvers import evaluations
from vedit.errors import UsageError
from vedit.methods.base import Prepared, Request, Window
from vedit.methods.params import SamplingParams
from vedit.methods.sampled import Looks, Texts, bound, check_flow
from vedit.models.family import Family

SUMMARY = "Invert the flow part of the way, and lead it back along both prompts; a third of FlowEdit's cost."
NEEDS = frozenset({"source prompt", "flow"})
BRANCHES = ("src", "tgt")


class Params(SamplingParams):
    steps: int = Field(15, ge=1, le=1000, validation_alias=AliasChoices("steps", "n_steps"),
                       description="levels of the whole way")  # fmt: skip
    guidance: Literal[1] = Field(1, description="there is none: both prompts are asked once")
    alpha: float = Field(0.6, gt=0, le=1, description="share of the steps that are inverted and edited")
    omega: float = Field(5.0, ge=0, le=100, description="weight of the difference between the prompts")
    invert_with: Literal["nothing", "source"] = Field(
        "nothing", description="prompt of the inversion: none, or the source's"
    )


def prepare(model: Family, request: Request, params: Params) -> Prepared:
    """Raises ModelError for a model that is not of flow matching."""
    check_flow(model, "unedit")
    steps, texts = len(request.timesteps), Texts(model, request, params)
    taken = int(params.alpha * steps + 1e-9)
    if taken < 1:
        raise UsageError(
            f"alpha {params.alpha:g} of {steps} steps is not a whole step.",
            f"Give at least {1 / steps:.2g}, or more steps.",
        )
    first, looks = steps - taken, Looks(model, request, BRANCHES)
    plan = Plan((), looks.probes())

    @torch.inference_mode()
    def run(window: Window) -> Iterator[Step]:
        stored = _inverted(texts, params, window, first)
        edit = stored[first]
        controller = bound(model, request, plan, BRANCHES, len(edit))
        with controller.installed():
            for index in range(first, steps):
                timestep = request.timesteps[index]
                streams = [
                    Stream("src", edit, texts.of(request.source_prompt)),
                    Stream("tgt", edit, texts.of(request.target_prompt)),
                ]
                outputs = predict(model, streams, timestep, index, controller, request.frames_per_call)
                h = model.schedule.after(request.timesteps, index) - model.schedule.level(timestep)
                edit = fused(edit, outputs["src"], outputs["tgt"], h, params.omega)
                check_finite(edit, index, model.network_dtype, window.first_frame)
                if window.mask_F1YX is not None:
                    edit = blend(stored[index + 1], edit, window.mask_F1YX)
                step = Step(index, timestep, {"tgt": edit}, {"tgt": edit})
                is_last = index + 1 == steps
                yield replace(step, attention=looks.shown(controller.store, taken)) if is_last else step

    bound(model, request, plan, BRANCHES, request.frames)
    cost = evaluations("uni-inv", taken) + 2 * taken
    return Prepared(run, BRANCHES, plan, taken, first, taken, cost=cost)


def _inverted(texts: Texts, params: Params, window: Window, first: int) -> dict[int, Tensor]:
    """The latents of the clip by the index of the step that begins there, up to the first that is taken."""
    request, model = texts.request, texts.model
    prompt = request.source_prompt if params.invert_with == "source" else ""
    clean, steps = window.latents_FCYX.to(model.device), len(request.timesteps)
    timesteps = request.timesteps[first:]
    reached = walk(model, timesteps, clean, texts.of(prompt), "uni-inv",
                   frames_per_call=request.frames_per_call)  # fmt: skip
    return {steps: clean, **{first + level.index: level.latents for level in reached}}


def fused(z_FCYX: Tensor, source_FCYX: Tensor, target_FCYX: Tensor, h: float, omega: float) -> Tensor:
    """The latents after a step of length h along both velocities."""
    field = target_FCYX - source_FCYX
    where = field.mean(1, keepdim=True)
    low, high = where.amin(), where.amax()
    m = (where - low) / (high - low).clamp(min=torch.finfo(where.dtype).tiny)
    return z_FCYX + omega * h * (1 + m) * field + h * (source_FCYX + m * field)
