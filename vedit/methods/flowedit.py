"""FlowEdit: carry the clip along the difference of two flows, without inversion.

Source: Kulikov et al. 2024 and its public code; docs/methods.md 9. Of N levels the last `n_max` are walked:
at each the clip is noised, and the edit moves by the difference of the two prompts' velocities; the last
`n_min` of them are ordinary sampling. FlowAlign, DFVEdit and FlowDirector are settings of the same field,
`vedit.engine.delta`. Deviations are named there.
Shape letters: F frames, C channels, Y X latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import torch
from pydantic import AliasChoices, Field, model_validator
from torch import Tensor

from vedit.engine.blend import blend
from vedit.engine.controller import Controller
from vedit.engine.delta import Delta
from vedit.engine.noise import noise_like
from vedit.engine.rules import Plan, Rule
from vedit.engine.sample import Step, Stream, branch_names, check_finite, predict, sample
from vedit.engine.solvers import UniPC, solver_of
from vedit.methods.base import Prepared, Request, Window
from vedit.methods.params import SolverParams
from vedit.methods.sampled import Looks, Texts, bound, check_flow, hold_outside
from vedit.models.family import Family

SUMMARY = "Carry the clip along the difference of two prompts' flows, without inversion."
NEEDS = frozenset({"source prompt", "flow"})


class Params(SolverParams):
    guidance: float = Field(
        13.5,
        ge=1,
        le=100,
        validation_alias=AliasChoices("guidance", "cfg", "tar_guidance_scale"),
        description="weight of guidance of the new prompt; 1 is none",
    )
    source_guidance: float = Field(
        5.0,
        ge=1,
        le=100,
        validation_alias=AliasChoices("source_guidance", "src_guidance_scale"),
        description="weight of guidance of the source prompt; 1 is none",
    )
    n_max: int = Field(35, ge=0, le=1000, description="of the steps, so many of the last are taken")
    n_min: int = Field(0, ge=0, le=1000, description="of those, so many of the last are ordinary sampling")
    n_avg: int = Field(1, ge=1, le=64, description="noises whose fields are averaged at each step")
    noise: Literal["fresh", "fixed"] = Field("fresh", description="noise of each step, or one for all")
    shared_noise: bool = Field(False, description="the same noise for all frames")
    away_from: Literal["negative", "source"] = Field(
        "negative",
        description="what guidance leads away from: negative_prompt, or the source's (FlowAlign)",
    )
    kappa: float = Field(
        0.0, ge=0, le=1, description="share of the edit so far that its noise forgets; 1 is DFVEdit"
    )
    zeta: float = Field(0.0, ge=0, le=1, description="pull back to the clip at each step (FlowAlign)")
    mean_free: float = Field(
        0.0, ge=0, le=1, description="share of the pull's mean over frames that is let off (FlowDirector)"
    )
    along: float | None = Field(
        None,
        ge=0,
        le=10,
        description=(
            "drop what the field has along the source's flow, and grow by this share what it has against it"
            " (FlowDirector)"
        ),
    )
    contrast: float = Field(
        1.0, ge=1, le=10, description="lead away from the two noises that fit least; needs n_avg of 3 or more"
    )

    @model_validator(mode="after")
    def _fits(self) -> Params:
        if self.n_max > self.steps:
            fits = max(1, 7 * self.steps // 10)
            raise ValueError(
                f"n_max = {self.n_max} is more than steps = {self.steps}; as large a share as is usual is"
                f" n_max = {fits}"
            )
        if self.n_min > self.n_max:
            raise ValueError(f"n_min = {self.n_min} is more than n_max = {self.n_max}")
        if self.contrast != 1 and self.n_avg < 3:
            raise ValueError(f"contrast = {self.contrast:g} needs n_avg = 3 or more")
        if self.zeta and self.solver != "euler":
            raise ValueError(f"zeta = {self.zeta:g} pulls at each step, which solver = euler alone takes")
        if self.mean_free and not self.zeta:
            raise ValueError("mean_free is a share of zeta's pull, and zeta is 0")
        return self

    @property
    def delta(self) -> Delta:
        return Delta(self.kappa, self.zeta, self.mean_free, self.along, self.contrast)


def prepare(model: Family, request: Request, params: Params) -> Prepared:
    """Raises ModelError for a model that is not of flow matching."""
    check_flow(model, "flowedit")
    texts, steps = Texts(model, request, params), len(request.timesteps)
    first, moving = steps - params.n_max, params.n_max - params.n_min
    names = tuple(branch_names(_streams(texts, params, request.blank())))
    looks = Looks(model, request, names)
    plan = Plan((), looks.probes())

    @torch.inference_mode()
    def run(window: Window) -> Iterator[Step]:
        edit = window.latents_FCYX.to(model.device)
        count, taken, solver = len(edit), 0, solver_of(params.solver)
        controller = bound(model, request, plan, names, count)
        with controller.installed():
            for index in range(first, first + moving):
                edit = _moved(texts, params, window, edit, index, controller, solver)
                taken += 1
                shown = looks.shown(controller.store, taken) if taken == moving and not params.n_min else {}
                yield Step(index, request.timesteps[index], {"tgt": edit}, {"tgt": edit}, attention=shown)
        if params.n_min:
            yield from _sampled(texts, params, window, edit, first + moving)
        elif not moving:
            yield Step(steps, 0, {"tgt": edit}, {"tgt": edit})

    late = len(names[-1:]) + (params.guidance != 1)
    prepared = Prepared(
        run,
        names,
        plan,
        params.n_max,
        first,
        max(1, params.n_max),
        cost=len(names) * params.n_avg * moving + late * params.n_min,
    )
    bound(model, request, plan, names, request.frames)
    return prepared


def _streams(texts: Texts, params: Params, window: Window) -> list[Stream]:
    """Source and target, guided each by a weight of its own."""
    source = texts.of(texts.request.source_prompt)
    target = texts.guided(window, window.latents_FCYX)
    away = texts.of(params.negative_prompt)
    if params.away_from == "source":
        return [Stream("src", window.latents_FCYX, source), replace(target, uncond=source)]
    return [Stream("src", window.latents_FCYX, source, away, params.source_guidance), target]


def _moved(
    texts: Texts,
    params: Params,
    window: Window,
    edit_FCYX: Tensor,
    index: int,
    controller: Controller,
    solver: UniPC | None,
) -> Tensor:
    """The edit after a step; outside the user's mask it stays the clip."""
    request, model = texts.request, texts.model
    timestep, device = request.timesteps[index], model.device
    source, streams = window.latents_FCYX.to(device), _streams(texts, params, window)
    turn = 0 if params.noise == "fixed" else 1 + index
    draws = [
        noise_like(
            source, request.seed, 3, turn, place, shared=params.shared_noise, first_frame=window.first_frame
        )
        for place in range(params.n_avg)
    ]

    def velocities(p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        streams[0].latents, streams[1].latents = q, p
        outputs = predict(model, streams, timestep, index, controller, request.frames_per_call)
        return streams[1].output(outputs, timestep), streams[0].output(outputs, timestep)

    level, after = model.schedule.level(timestep), model.schedule.after(request.timesteps, index)
    moved, field = params.delta.step(source, edit_FCYX, draws, level, after, velocities)
    if solver is not None:
        moved = solver.step(edit_FCYX, model.schedule.to_x0(field, edit_FCYX, level), level, after)
    check_finite(moved, index, model.network_dtype, window.first_frame)
    return moved if window.mask_F1YX is None else blend(source, moved, window.mask_F1YX)


def _sampled(texts: Texts, params: Params, window: Window, edit_FCYX: Tensor, start: int) -> Iterator[Step]:
    """The last levels as ordinary sampling, which is SDEdit where nothing came before."""
    request, model = texts.request, texts.model
    clean, source = window.latents_FCYX.to(model.device), texts.noised(window, params.shared_noise)
    stream = texts.guided(window, source(start) + (edit_FCYX - clean))
    names = tuple(branch_names([stream]))
    looks = Looks(model, request, names)
    rules: tuple[Rule, ...] = hold_outside(request, window, source)
    controller = bound(model, request, Plan(rules, looks.probes()), names, len(clean))
    with controller.installed():
        for step in sample(
            model, request.timesteps, [stream], controller,
            frames_per_call=request.frames_per_call, start=start, first_frame=window.first_frame,
        ):  # fmt: skip
            is_last = step.index + 1 == len(request.timesteps)
            shown = looks.shown(controller.store, params.n_min) if is_last else {}
            yield replace(step, attention=shown)
