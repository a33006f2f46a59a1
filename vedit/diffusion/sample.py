"""Sampling as a generator of steps, over several branches that attention rules may join.

Shape letters: B branches, F frames, C channels, Y X rows and columns, L text tokens, E embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vedit.diffusion.attention.control import Controller, Pass
from vedit.diffusion.attention.rules.rule import Indices
from vedit.errors import ModelError
from vedit.models.family import Family, Network
from vedit.models.levels import move


@dataclass(frozen=True)
class Step:
    """One step done: its index, timestep, and the latents of each stream after it.

    latents: by stream name, each (F, C, Y, X). x0: the clean latents foreseen, for propagated streams.
    mask: (F, 1, Y, X), where the edit may act, when a rule made one. attention: of the last step, by
    "BRANCH/WORD", where the word looked (F, 1, y, x), when that is wanted.
    """

    index: int
    timestep: int
    latents: dict[str, Tensor]
    x0: dict[str, Tensor]
    mask: Tensor | None = None
    attention: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass
class Stream:
    """Latents that move through the noise levels, and the branches that carry them.

    cond, uncond: text embeddings (1 or F, L, E), or a function of the step index giving them.
    Without `uncond` (or with guidance 1) one branch does: it is called `name`; the other `name/uncond`.
    replay: gives the stored latents of a step index instead of propagating them; one past the
    last index is the clean clip. A replayed stream needs no guidance: its branch is `cond` alone.
    """

    name: str
    latents: Tensor
    cond: Any
    uncond: Any = None
    guidance: float = 1.0
    replay: Callable[[int], Tensor] | None = None

    @property
    def branches(self) -> list[str]:
        guided = self.uncond is not None and self.guidance != 1.0 and self.replay is None
        return [f"{self.name}/uncond", self.name] if guided else [self.name]

    def text(self, branch: str, step: int) -> Tensor:
        value = self.uncond if branch.endswith("/uncond") else self.cond
        return value(step) if callable(value) else value


def branch_names(streams: Sequence[Stream]) -> list[str]:
    """All branches in batch order."""
    return [branch for stream in streams for branch in stream.branches]


def predict(
    network: Network,
    streams: Sequence[Stream],
    timestep: int,
    step: int,
    controller: Controller | None,
    frames_per_call: int,
) -> dict[str, Tensor]:
    """The network's output for every branch, (F, C, Y, X) each; frames go through as the rules need them."""
    names = branch_names(streams)
    total = streams[0].latents.shape[0]
    pieces: dict[str, list[Tensor]] = {name: [] for name in names}
    for part in passes(controller, step, total, frames_per_call):
        latents = [stream.latents[part.frames] for stream in streams for _ in stream.branches]
        texts = _texts(streams, controller, step, part.frames, len(latents[0]))
        dtype = network.network_dtype
        batch, text_batch = torch.cat(latents).to(dtype), torch.cat(texts).to(dtype)
        with nullcontext() if controller is None else controller.call(step, part.frames, part.is_key_pass):
            output = network.predict(batch, timestep, text_batch)
        if part.is_key_pass:
            continue  # it was there for its rules; these frames come again
        for name, piece in zip(names, at_least_float32(output).chunk(len(names)), strict=True):
            pieces[name].append(piece)
    return {name: torch.cat(parts) for name, parts in pieces.items()}


def passes(controller: Controller | None, step: int, total: int, frames_per_call: int) -> Iterator[Pass]:
    """The calls of the network in a step."""
    if controller is not None:
        yield from controller.passes(step, frames_per_call)
        return
    for first in range(0, total, frames_per_call):
        yield Pass(slice(first, min(total, first + frames_per_call)))


def _texts(streams: Sequence[Stream], controller: Controller | None, step: int, frames: Indices, count: int) -> list[Tensor]:
    """The text embedding of each branch for some frames, (F, L, E), as rules leave it."""
    texts = {}
    for stream in streams:
        for branch in stream.branches:
            text = stream.text(branch, step)
            texts[branch] = text.expand(count, -1, -1) if len(text) == 1 else text[frames]
    return list((texts if controller is None else controller.outside("inputs", "text", texts, step, frames)).values())


@torch.inference_mode()
def sample(
    model: Family,
    timesteps: Sequence[int],
    streams: Sequence[Stream],
    controller: Controller | None = None,
    *,
    frames_per_call: int = 8,
    start: int = 0,
    first_frame: int = 0,
) -> Iterator[Step]:
    """Take the DDIM steps `start`..N-1; yields after each.

    streams: their `latents` are moved along, blended as the rules of the plan say, and hold the
    result at the end. first_frame: index in the whole clip of this window's first frame, for messages.
    Raises ModelError when a latent stops being finite, naming step, frame and dtype.
    """
    schedule = model.schedule
    for index in range(start, len(timesteps)):
        timestep = timesteps[index]
        level, after = schedule.level(timestep), schedule.after(timesteps, index)
        for stream in streams:
            if stream.replay is not None:
                stream.latents = stream.replay(index)
        outputs = predict(model, streams, timestep, index, controller, frames_per_call)
        x0: dict[str, Tensor] = {}
        for stream in streams:
            if stream.replay is not None:
                stream.latents = stream.replay(index + 1)
                continue
            output = outputs[stream.name]
            if len(stream.branches) == 2:
                uncond = outputs[f"{stream.name}/uncond"]
                output = uncond + stream.guidance * (output - uncond)
            eps = schedule.eps(output, stream.latents, level)
            x0[stream.name] = schedule.x0(output, stream.latents, level)
            stream.latents = move(stream.latents, eps, level, after)
            check_finite(stream.latents, index, model.network_dtype, first_frame)
        latents = {stream.name: stream.latents for stream in streams}
        if controller is not None:
            latents = controller.outside("latents", "latents", latents, index, slice(0, controller.total))
            for stream in streams:
                stream.latents = latents[stream.name]
        yield Step(index, timestep, latents, x0, None if controller is None else controller.shown.get("mask"))


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision becomes float32; float64, which tests of exactness use, stays."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def check_finite(latents_FCYX: Tensor, step: int, dtype: torch.dtype, first_frame: int = 0) -> None:
    """Raise where a latent first stops being a number; it is never decoded to a black frame."""
    finite = latents_FCYX.isfinite().flatten(1).all(1)
    if not bool(finite.all()):
        frame = first_frame + int((~finite).nonzero()[0])
        name = str(dtype).removeprefix("torch.")
        raise ModelError(f"the latent of frame {frame + 1} is not finite after step {step + 1} (network in {name}).", *finite_advice(dtype))


def finite_advice(dtype: torch.dtype) -> tuple[str, str]:
    """What would be right and what to try where a network in a precision gives values that are not finite."""
    if dtype == torch.float16:
        return "Half precision overflows in some checkpoints.", "Try --dtype bf16 or --dtype fp32"
    if dtype == torch.bfloat16:
        return "Half precision is too coarse for some checkpoints.", "Try --dtype fp32"
    return (
        "In full precision the weights themselves are damaged, or guidance or a factor of words is far too large.",
        "Try a smaller --guidance, or another copy of the model",
    )
