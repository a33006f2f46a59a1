"""Null-text inversion: embeddings of the empty prompt that keep guided sampling on the inverted path.

    for each step, noisy to clean:  minimise |DDIM(z, e_u(u) + s (e_c - e_u(u))) - z*_next|^2  over u

Source: Mokady et al. 2023 and google/prompt-to-prompt; docs/methods.md 1.2. One embedding for all frames
(`shared`, as Video-P2P) or one per frame. A fresh Adam per step; u carries over to the next step.
Deviations: the published code is for 50 steps, where the rate falls by i/100 and the stopping error
rises by 2e-5 i; here both go by the share of the steps, which is the same at 50. A frame with an
embedding of its own stops by itself. The embedding is float32 whatever the network's dtype.
Shape letters: F frames, C channels, Y X rows and columns, L text tokens, E embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from vedit.engine.controller import Controller
from vedit.engine.sample import Stream, ask, at_least_float32, check_finite, guided, predict
from vedit.models.family import Denoiser, Network

Trajectory = Callable[[int], Tensor]
PUBLISHED_STEPS = 50
HALF_SCALE = 2.0**10  # errors near the stopping value would have gradients below what fp16 holds


@dataclass(frozen=True)
class NullText:
    """How to optimise.

    guidance: of the edit to come; the embeddings serve no other. inner_steps: of Adam, at most, per
    sampling step. lr: at the first step. early_stop: mean squared error to stop at, at the first step.
    shared: one embedding for all frames.
    """

    guidance: float = 7.5
    inner_steps: int = 10
    lr: float = 1e-2
    early_stop: float = 1e-5
    shared: bool = True


@dataclass(frozen=True)
class NullStep:
    """One step done. embedding: (1 or F, L, E). errors: mean squared distance of each frame from the path
    after the step.
    """

    index: int
    timestep: float
    embedding: Tensor
    errors: Tensor


def null_text(
    model: Denoiser,
    timesteps: Sequence[float],
    trajectory: Trajectory,
    text_1LE: Tensor,
    empty_1LE: Tensor,
    settings: NullText,
    *,
    frames_per_call: int = 8,
    first_frame: int = 0,
    controller: Controller | None = None,
) -> Iterator[NullStep]:
    """Yield the optimised embedding of every step, noisiest first.

    trajectory: the inverted latents (F, C, Y, X) by step index; one past the last gives the clip.
    text_1LE: the source prompt's embedding. Frames go through the network in chunks, also backwards.
    controller: rules of the branch "src" that the edit runs under too; backwards all frames go at once.
    """
    schedule = model.schedule
    text, empty = (at_least_float32(part.clone()) for part in (text_1LE, empty_1LE))
    moving = at_least_float32(trajectory(0))
    null = empty if settings.shared else empty.repeat(len(moving), 1, 1)
    with nullcontext() if controller is None else controller.installed():
        for index, timestep in enumerate(timesteps):
            level, after = schedule.level(timestep), schedule.after(timesteps, index)
            wanted = at_least_float32(trajectory(index + 1)).to(moving)
            with torch.no_grad():
                cond = predict(
                    model, [Stream("src", moving, text)], timestep, index, controller, frames_per_call
                )["src"]

            def arrive(
                uncond: Tensor, at: Tensor, cond_FCYX: Tensor, start: float = level, end: float = after
            ) -> Tensor:
                return schedule.step(at, guided(cond_FCYX, uncond, settings.guidance), start, end)

            if settings.inner_steps:
                share = index / len(timesteps)
                fit = _Fit(
                    model,
                    timestep,
                    moving,
                    cond,
                    wanted,
                    arrive,
                    settings,
                    frames_per_call,
                    index,
                    controller,
                )
                null = fit.run(
                    null, settings.lr * (1 - share / 2), settings.early_stop + 2e-5 * PUBLISHED_STEPS * share
                )
            with torch.no_grad():
                uncond = predict(
                    model, [Stream("src", moving, null)], timestep, index, controller, frames_per_call
                )["src"]
                moving = arrive(uncond, moving, cond)
            check_finite(moving, index, model.network_dtype, first_frame)
            yield NullStep(index, timestep, null, (moving - wanted).pow(2).mean((1, 2, 3)))


class _Fit:
    """The optimisation of one step: gradients of chunks of frames are summed."""

    def __init__(
        self,
        network: Network,
        timestep: float,
        moving: Tensor,
        cond: Tensor,
        wanted: Tensor,
        arrive: Callable[..., Tensor],
        settings: NullText,
        chunk: int,
        step: int,
        controller: Controller | None,
    ) -> None:
        self.network, self.timestep, self.arrive, self.step, self.controller = (
            network,
            timestep,
            arrive,
            step,
            controller,
        )
        self.chunk = chunk if controller is None else len(moving)
        self.moving, self.cond, self.wanted, self.settings = moving, cond, wanted, settings
        self.scale = HALF_SCALE if network.network_dtype == torch.float16 else 1.0

    def run(self, null: Tensor, lr: float, stop: float) -> Tensor:
        """The embedding after Adam's steps; a step is still taken at the error that stops, as published."""
        null = null.detach().clone().requires_grad_()
        adam = torch.optim.Adam([null], lr=lr)
        running = torch.ones(len(null), 1, 1, dtype=torch.bool, device=null.device)
        with torch.enable_grad(), self.network.checkpointing():
            for _ in range(self.settings.inner_steps):
                adam.zero_grad()
                errors_F = self.backward(null)
                before = null.detach().clone()
                adam.step()
                with torch.no_grad():
                    null.copy_(torch.where(running, null, before))
                running &= (errors_F.mean().expand(1) if self.settings.shared else errors_F).reshape(
                    -1, 1, 1
                ) >= stop
                if not bool(running.any()):
                    break
        return null.detach()

    def backward(self, null: Tensor) -> Tensor:
        """Fill the gradient; the error of each frame (F,)."""
        frames, dtype = len(self.moving), self.network.network_dtype
        errors = []
        for first in range(0, frames, self.chunk):
            part = slice(first, min(first + self.chunk, frames))
            own = null.expand(part.stop - part.start, -1, -1) if self.settings.shared else null[part]
            moving = self.moving[part]
            # backwards inside too: checkpointing makes the activations again, under the same rules
            with nullcontext() if self.controller is None else self.controller.call(self.step, part):
                output = ask(self.network, moving[None].to(dtype), self.timestep, own[None].to(dtype), part)[
                    0
                ]
                error = (
                    (self.arrive(at_least_float32(output), moving, self.cond[part]) - self.wanted[part])
                    .pow(2)
                    .mean((1, 2, 3))
                )
                (self.scale * error.sum() / (frames if self.settings.shared else 1)).backward()
            errors.append(error.detach())
        assert null.grad is not None
        null.grad /= self.scale
        return torch.cat(errors)
