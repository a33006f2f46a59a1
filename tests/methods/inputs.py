"""What the tests of methods share: a clip with an inversion, and plain sampling written out."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from tests.diffusion.tiny import TinyModel, latents
from vedit.diffusion.invert import invert
from vedit.methods.base import EditInput


def trajectory_of(model: TinyModel, clean: Tensor, prompt: str, timesteps: list[int]) -> list[Tensor]:
    """Latents of every step by its index, then the clip."""
    levels = {level.index: level.latents for level in invert(model.unet, model.schedule, timesteps, clean, model.encode_prompt(prompt))}
    return [*(levels[index] for index in range(len(timesteps))), clean]


def edit_input(model: TinyModel, source: str, target: str, steps: int, *, frames: int = 2, trajectory: list[Tensor] | None = None, **more: Any) -> EditInput:
    clean = more.pop("latents_FCYX", latents(frames))
    timesteps = model.schedule.timesteps(steps)
    stored = trajectory if trajectory is not None else trajectory_of(model, clean, source, timesteps)
    return EditInput(clean, stored.__getitem__, timesteps, source, target, **more)


def result(method: ModuleType, model: TinyModel, clip: EditInput, params: Any) -> Tensor:
    *_, step = method.run(model, clip, params)
    return step.latents["tgt"]


@torch.no_grad()
def plain_ddim(model: TinyModel, clip: EditInput, prompt: str, guidance: float, start: int = 0, keep: list[Tensor] | None = None, negative: str = "") -> Tensor:
    """DDIM with guidance from the inverted latents, without the engine; keep: collects the latents after each step."""
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
