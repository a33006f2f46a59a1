"""Tune an inflated network on one clip, so that it foresees the noise of this clip.

    minimise |eps - eps_theta(z_t, t, c)|^2     t uniform, eps by frame; W_Q and the layers over frames change

Source: Wu et al. 2022 (Tune-A-Video), Liu et al. 2023 (Video-P2P) and their public code; docs/methods.md 3.2.
AdamW, constant rate, gradients clipped by their norm. Weights that change are float32 whatever the
network's precision, which then runs under autocast. Noise and timesteps are drawn by the number of the
step, so that tuning that was stopped goes on as if it had not been.
Deviation: the clip's latents are the posterior's mean, which the published code draws anew each step.
Shape letters: F frames, C channels, Y X latent rows and columns, L text tokens, E embedding width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vedit.engine.inflation import Inflation, inflated_controller
from vedit.engine.noise import noise_like, substream
from vedit.engine.sample import ask, at_least_float32, finite_advice
from vedit.errors import ModelError
from vedit.models.family import Tunable

HALF_SCALE = 2.0**10  # gradients of a mean over a whole clip lie below what fp16 holds
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Tuning:
    """How to tune: AdamW's steps, rate and weight decay, the largest norm of a gradient, and a seed.

    The seed is that of noise and timesteps.
    """

    steps: int = 500
    lr: float = 3e-5
    weight_decay: float = 1e-2
    max_norm: float = 1.0
    seed: int = 33


@dataclass(frozen=True)
class Tuned:
    """One step done, and its loss. state: weights and moments by name, float32, to go on from."""

    index: int
    loss: float
    state: Mapping[str, Tensor]


def weights_of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a state, by path."""
    return {name.partition("/")[2]: tensor for name, tensor in state.items() if name.startswith("tuned/")}


def tune(
    model: Tunable,
    latents_FCYX: Tensor,
    text_1LE: Tensor,
    settings: Tuning,
    inflation: Inflation,
    *,
    done: int = 0,
    state: Mapping[str, Tensor] | None = None,
) -> Iterator[Tuned]:
    """Take the steps `done`.. ; the model holds the tuned weights behind the last one.

    model: an inflated one. state: of the last step that was done. Raises ModelError for a loss that is
    not a number.
    """
    latents, text = at_least_float32(latents_FCYX.clone()), at_least_float32(text_1LE.clone())
    controller = inflated_controller(model, inflation, "src", 1, len(latents), tuple(latents.shape[2:]))
    assert controller is not None, "an inflated network has rules"
    with controller.installed(), model.being_tuned() as weights:
        adam = torch.optim.AdamW(
            weights.values(), lr=settings.lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=settings.weight_decay
        )
        if state is not None:
            _restore(adam, weights, state)
        for index in range(done, settings.steps):
            loss = _step(model, controller, adam, latents, text, settings, index)
            yield Tuned(index, loss, _state(adam, weights))


def _step(
    model: Tunable,
    controller: Any,
    adam: torch.optim.Optimizer,
    latents: Tensor,
    text_1LE: Tensor,
    settings: Tuning,
    index: int,
) -> float:
    """A step of AdamW on one draw of noise."""
    schedule, dtype, device = model.schedule, model.network_dtype, latents.device
    timestep = int(torch.randint(schedule.train_steps, (), generator=substream(settings.seed, 1, index)))
    level = schedule.level(timestep)
    noise = noise_like(latents, settings.seed, 2, index, shared=False)
    scale = HALF_SCALE if dtype == torch.float16 else 1.0
    is_half = dtype in (torch.float16, torch.bfloat16)
    adam.zero_grad()
    with torch.enable_grad(), model.checkpointing(), controller.call(0, slice(0, len(latents))):
        with torch.autocast(device.type, dtype) if is_half else nullcontext():
            rows = text_1LE.expand(len(latents), -1, -1)
            output = ask(
                model, schedule.mix(latents, noise, level)[None].to(dtype), timestep, rows[None].to(dtype)
            )[0]
        loss = (at_least_float32(output) - schedule.target(latents, noise, level)).pow(2).mean()
        (scale * loss).backward()  # inside: checkpointing makes the activations again, under the same rules
    if not bool(loss.isfinite()):
        name = str(dtype).removeprefix("torch.")
        raise ModelError(
            f"the loss of tuning is not finite in step {index + 1} (network in {name}).",
            *finite_advice(dtype),
        )
    changing = [weight for group in adam.param_groups for weight in group["params"]]
    for weight in changing:
        weight.grad /= scale
    norm = torch.nn.utils.clip_grad_norm_(changing, settings.max_norm)
    if bool(norm.isfinite()):  # a gradient that overflowed in half precision is passed over
        adam.step()
    return float(loss.detach())


def _state(adam: torch.optim.Optimizer, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights and moments by name; views, which the next step changes."""
    found = {f"tuned/{name}": weight.detach() for name, weight in weights.items()}
    for name, weight in weights.items():
        for moment in MOMENTS if weight in adam.state else ():
            found[f"{moment}/{name}"] = adam.state[weight][moment]
            found["step"] = adam.state[weight]["step"].reshape(
                1
            )  # fewer than were done where one was passed over
    return found


def _restore(adam: torch.optim.Optimizer, weights: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(state[f"tuned/{name}"])
            moments = {
                moment: state[f"{moment}/{name}"].to(weight).clone()
                for moment in MOMENTS
                if f"{moment}/{name}" in state
            }
            if moments:
                adam.state[weight] = {"step": state["step"].reshape(()).float().cpu().clone(), **moments}
