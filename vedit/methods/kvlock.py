"""KV-Lock: sample the edit anew, and let the background attend to what the clip has there.

Source: 2603.09657 (Wan 2.1), by its published description; docs/methods.md 9.3. In the last `lock_steps`
steps self-attention takes, outside the edit mask, the keys and values of a source branch, mixed with its own
by alpha: the variance of the clean latents foreseen inside the mask over the last `variance_over` steps,
divided by `variance_scale` and cut to 0..1. What is unsure inside holds on to the clip. The source branch is
the clip noised at each level with one noise, so there is no inversion. `adapt` lets the weight of guidance
run from 1 - adapt to 1 + adapt times its own along alpha.
Deviations: the published text does not say how guidance follows the variance; ours is linear in alpha, and
off by default. Before there are two steps to compare, alpha is 1.
Shape letters: F frames, C channels, Y X latent rows and columns.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from vedit.engine.rules import Plan, Replace, Rule
from vedit.engine.sample import Step, Stream, branch_names, sample
from vedit.errors import UsageError, option
from vedit.methods.base import Prepared, Request, Window
from vedit.methods.params import Share, SolverParams
from vedit.methods.sampled import Looks, Texts, bound, branches_of, hold_outside
from vedit.models.family import Family
from vedit.models.sites import Select

SUMMARY = "Sample the edit inside a mask, with the clip's own keys and values around it."
NEEDS = frozenset({"mask"})


class Params(SolverParams):
    strength: float = Field(
        1.0, gt=0, le=1, description="share of the steps that are taken, from the clip noised that far"
    )
    lock_steps: int = Field(20, ge=0, le=1000, description="last steps whose background is locked")
    lock_layer: int = Field(0, ge=0, description="first self-attention module that is locked")
    variance_over: int = Field(10, ge=2, le=100, description="steps that the variance is taken over")
    variance_scale: float = Field(0.01, gt=0, description="variance that locks all of the background")
    adapt: Share = Field(0.0, description="how far guidance follows the lock; 1 is 0 to 2 times its weight")
    shared_noise: bool = Field(False, description="the same noise for all frames")


def prepare(model: Family, request: Request, params: Params) -> Prepared:
    """Raises UsageError without a mask, and for layers that the model does not have."""
    if not request.has_mask:
        raise UsageError(
            "kvlock keeps what is around the edit, and nothing says where that is.",
            "It needs a mask, white where the edit may act.",
            f"Add {option('mask', 'box:25%,25%,50%,50%')}, or a picture or clip",
        )
    steps = len(request.timesteps)
    taken = max(1, int(params.strength * steps + 1e-9))
    names = branches_of(params.guidance, "src")
    locked = Locked(
        Texts(model, request, params), params, names, steps - taken, _locked(model, params),
        Looks(model, request, names),
    )  # fmt: skip
    blank = request.blank()
    plan = locked.plan(blank, [1.0] * steps, lambda index: blank.latents_FCYX)
    bound(model, request, plan, names, request.frames)
    held = 4 * params.variance_over * request.frames * math.prod(request.shape)
    return Prepared(locked.run, names, plan, taken, locked.first, taken, held_bytes=held)


class Locked(NamedTuple):
    """A run whose background is held.

    names: of its branches. first: the step that it begins with. select: what is locked.
    """

    texts: Texts
    params: Params
    names: tuple[str, ...]
    first: int
    select: Select
    looks: Looks

    def plan(self, window: Window, amount: list[float], source: Callable[[int], Tensor]) -> Plan:
        """amount: of the clip's keys and values at each step, of which those ahead may still change. source:
        the noised clip before each step.
        """
        request = self.texts.request
        rules: tuple[Rule, ...] = hold_outside(request, window, source)
        steps = len(request.timesteps)
        locking = tuple(index >= max(self.first, steps - self.params.lock_steps) for index in range(steps))
        if any(locking):
            lock = Replace(
                self.select, "src", self.names[1:], locking, ("k", "v"), "keys and values of the clip",
                window.mask_F1YX, amount,
            )  # fmt: skip
            rules = (lock, *rules)
        return Plan(rules, self.looks.probes())

    def run(self, window: Window) -> Iterator[Step]:
        """Sample, and set the lock of each step by what the ones before it foresaw."""
        texts, params, request = self.texts, self.params, self.texts.request
        timesteps, source = request.timesteps, texts.noised(window, params.shared_noise)
        amount = [1.0] * len(timesteps)
        target = texts.guided(window, source(self.first))
        target.guidance, target.weights = texts.weight_at(timesteps[self.first]), None
        streams = [Stream("src", source(self.first), texts.of(request.source_prompt), replay=source), target]
        assert tuple(branch_names(streams)) == self.names, "the branches announced are those that run"
        plan = self.plan(window, amount, source)
        controller = bound(texts.model, request, plan, self.names, len(window.latents_FCYX))
        seen: deque[Tensor] = deque(maxlen=params.variance_over)
        with controller.installed():
            for step in sample(
                texts.model, timesteps, streams, controller,
                frames_per_call=request.frames_per_call, start=self.first, first_frame=window.first_frame,
            ):  # fmt: skip
                seen.append(step.x0["tgt"])
                after = step.index + 1
                if after == len(timesteps):
                    shown = self.looks.shown(controller.store, after - self.first)
                    yield replace(step, attention=shown)
                else:
                    amount[after] = locked_by(seen, window.mask_F1YX, params.variance_scale)
                    weight = texts.weight_at(timesteps[after])
                    target.guidance = adapted(weight, params.adapt, amount[after])
                    yield step


def _locked(model: Family, params: Params) -> Select:
    layers = [site.layer for site in model.sites() if site.kind == "self"]
    if params.lock_layer >= len(layers):
        raise UsageError(
            f"lock_layer {params.lock_layer} is behind the last of {len(layers)} self-attention modules.",
            f"Give 0 to {len(layers) - 1}.",
            f"Try {option('set.lock_layer', len(layers) - 1)}",
        )
    return Select("self", first_layer=layers[params.lock_layer])


def locked_by(seen: deque[Tensor], mask_F1YX: Tensor | None, scale: float) -> float:
    """The share of the clip's keys and values: how far the clean latents foreseen still move in the mask."""
    if len(seen) < 2 or mask_F1YX is None:
        return 1.0
    inside = (mask_F1YX > 0.5).to(seen[0].device).expand_as(seen[0])
    variance_FCYX = torch.stack([*seen]).var(0, correction=0)
    moving = variance_FCYX[inside].mean() if bool(inside.any()) else variance_FCYX.mean()
    return float((moving / scale).clamp(0, 1))


def adapted(guidance: float, adapt: float, amount: float) -> float:
    """The weight of guidance of the next step; never exactly 1, which would leave out a branch."""
    if guidance == 1 or not adapt:
        return guidance
    weight = guidance * (1 + adapt * (2 * amount - 1))
    return weight if weight != 1 else 1 + 1e-6
