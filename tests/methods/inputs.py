"""What the tests of methods share: a clip with an inversion, ways to run a method on it, and plain sampling
written out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from tests.engine.tiny import TinyModel, latents
from vedit.engine.invert import invert
from vedit.engine.sample import Step
from vedit.methods.base import Prepared, Request, Window


@dataclass(frozen=True)
class Asked:
    """A request and its only window, in one."""

    latents_FCYX: Tensor
    trajectory: Callable[[int], Tensor]
    timesteps: Sequence[int]
    source_prompt: str
    target_prompt: str
    mask_F1YX: Tensor | None = None
    seed: int = 0
    frames_per_call: int = 8
    first_frame: int = 0
    wants_attention: bool = False
    uncond: Callable[[int], Tensor] | None = None
    pixels_F3YX: Tensor | None = None
    warn: Callable[[str], None] = field(default=lambda message: None)

    @property
    def frames(self) -> int:
        return len(self.latents_FCYX)

    @property
    def size(self) -> tuple[int, int]:
        return int(self.latents_FCYX.shape[-2]), int(self.latents_FCYX.shape[-1])

    @property
    def request(self) -> Request:
        return Request(
            source_prompt=self.source_prompt,
            target_prompt=self.target_prompt,
            timesteps=tuple(self.timesteps),
            shape=(int(self.latents_FCYX.shape[1]), *self.size),
            frames=self.frames,
            has_mask=self.mask_F1YX is not None,
            seed=self.seed,
            frames_per_call=self.frames_per_call,
            wants_attention=self.wants_attention,
            warn=self.warn,
        )

    @property
    def window(self) -> Window:
        return Window(
            self.latents_FCYX,
            self.trajectory,
            self.mask_F1YX,
            self.uncond,
            self.first_frame,
            pixels_F3YX=self.pixels_F3YX,
        )


def trajectory_of(model: TinyModel, clean: Tensor, prompt: str, timesteps: list[int]) -> list[Tensor]:
    """Latents of every step by its index, then the clip."""
    levels = {
        level.index: level.latents for level in invert(model, timesteps, clean, model.encode_prompt(prompt))
    }
    return [*(levels[index] for index in range(len(timesteps))), clean]


def edit_input(
    model: TinyModel,
    source: str,
    target: str,
    steps: int,
    *,
    frames: int = 2,
    trajectory: list[Tensor] | None = None,
    **more: Any,
) -> Asked:
    clean = more.pop("latents_FCYX", latents(frames))
    timesteps = model.schedule.timesteps(steps)
    stored = trajectory if trajectory is not None else trajectory_of(model, clean, source, timesteps)
    return Asked(clean, stored.__getitem__, timesteps, source, target, **more)


def prepared(method: ModuleType, model: TinyModel, clip: Asked, params: Any) -> Prepared:
    """A method made ready for a clip."""
    found: Prepared = method.prepare(model, clip.request, params)
    return found


def steps_of(method: ModuleType, model: TinyModel, clip: Asked, params: Any) -> Iterator[Step]:
    """The steps of a method on a clip."""
    return prepared(method, model, clip, params).run(clip.window)


def last_step(method: ModuleType, model: TinyModel, clip: Asked, params: Any) -> Step:
    *_, step = steps_of(method, model, clip, params)
    return step


def result(method: ModuleType, model: TinyModel, clip: Asked, params: Any) -> Tensor:
    return last_step(method, model, clip, params).latents["tgt"]


@torch.no_grad()
def plain_ddim(
    model: TinyModel,
    clip: Asked,
    prompt: str,
    guidance: float,
    start: int = 0,
    keep: list[Tensor] | None = None,
    negative: str = "",
) -> Tensor:
    """DDIM with guidance from the inverted latents, without the engine; keep: collects the latents after each
    step.
    """
    x = clip.trajectory(start)
    cond, uncond = (model.encode_prompt(text).expand(len(x), -1, -1) for text in (prompt, negative))
    for index in range(start, len(clip.timesteps)):
        timestep = clip.timesteps[index]
        eps = model.unet(x, timestep, encoder_hidden_states=cond).sample
        if guidance != 1:
            none = model.unet(x, timestep, encoder_hidden_states=uncond).sample
            eps = none + guidance * (eps - none)
        a, b = model.schedule.level(timestep), model.schedule.after(clip.timesteps, index)
        x = b**0.5 * (x - (1 - a) ** 0.5 * eps) / a**0.5 + (1 - b) ** 0.5 * eps
        if keep is not None:
            keep.append(x)
    return x
