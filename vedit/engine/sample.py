"""Sampling as a generator of steps, over several branches that attention rules may join.

    x0 = clamp(x0hat(x_t)),   eps = (x_t - a_t x0) / b_t            a, b: the shares of a level
    sigma = eta (b_s / b_t) sqrt(b_t^2 - (a_t b_s / a_s)^2)
    x_s = a_s x0 + sqrt(b_s^2 - sigma^2) eps + sigma z

Source: Song et al. 2020 (DDIM), eq. 12 and 16. Where x0 is clamped, eps is made again from it. eta = 1
with as many steps as the schedule has is DDPM. Checked against diffusers' DDIMScheduler.
Shape letters: B branches, F frames, C channels, Y X rows and columns, L text tokens, E embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from vedit.engine.clamp import Clamp
from vedit.engine.controller import Controller, Pass
from vedit.engine.rules.rule import Indices
from vedit.engine.solvers import UniPC
from vedit.errors import ModelError, option
from vedit.models.family import Denoiser, Network, PictureReader
from vedit.models.levels import Levels
from vedit.models.shown import Shown


@dataclass(frozen=True)
class Step:
    """One step done: its index, timestep, and the latents of each stream after it.

    latents: by stream name, each (F, C, Y, X). x0: the clean latents foreseen, for propagated streams.
    mask: (F, 1, Y, X), where the edit may act, when a rule made one; fine: the same in pixels, where it is
    known in pixels. attention: of the last step, by
    "BRANCH/WORD", where the word looked (F, 1, y, x), when that is wanted.
    """

    index: int
    timestep: float
    latents: dict[str, Tensor]
    x0: dict[str, Tensor]
    mask: Tensor | None = None
    fine: Tensor | None = None
    attention: Mapping[str, Tensor] = field(default_factory=dict)


class Hold(NamedTuple):
    """What stays as it is: `x0` wherever `mask` (1: make anew, 0: keep; it broadcasts) is 0."""

    x0: Tensor
    mask: Tensor


@dataclass
class Stream:
    """Latents that move through the noise levels, and the branches that carry them.

    cond, uncond: text embeddings (1 or F, L, E), or a function of the step index giving them.
    Without `uncond` (or with guidance 1) one branch does: it is called `name`; the other `name/uncond`.
    replay: gives the stored latents of a step index instead of propagating them; one past the
    last index is the clean clip. A replayed stream needs no guidance: its branch is `cond` alone.
    weights: guidance by timestep, where it is not one number for all. clamp: what becomes of the clean
    latents foreseen. eta: share of DDPM's noise in a step. hold: what stays. noise: gives a tensor like the
    latents each time it is called; read with eta or hold. solver: takes the steps instead of the levels' own.
    shown, unshown: the picture that a network which sees one is shown with `cond`, and with `uncond`.
    """

    name: str
    latents: Tensor
    cond: Any
    uncond: Any = None
    guidance: float = 1.0
    replay: Callable[[int], Tensor] | None = None
    weights: Callable[[float], float] | None = None
    clamp: Clamp | None = None
    eta: float = 0.0
    hold: Hold | None = None
    noise: Callable[[], Tensor] | None = None
    solver: UniPC | None = None
    shown: Shown | None = None
    unshown: Shown | None = None

    @property
    def branches(self) -> list[str]:
        guided = self.uncond is not None and self.guidance != 1.0 and self.replay is None
        return [f"{self.name}/uncond", self.name] if guided else [self.name]

    def text(self, branch: str, step: int) -> Tensor:
        value = self.uncond if branch.endswith("/uncond") else self.cond
        return value(step) if callable(value) else value

    def picture(self, branch: str) -> Shown | None:
        return self.unshown if branch.endswith("/uncond") else self.shown

    def output(self, outputs: Mapping[str, Tensor], timestep: float) -> Tensor:
        """The network's output for the stream, guided where it has two branches."""
        cond = outputs[self.name]
        if len(self.branches) == 1:
            return cond
        weight = self.guidance if self.weights is None else self.weights(timestep)
        return guided(cond, outputs[f"{self.name}/uncond"], weight)

    def moved(self, levels: Levels, output: Tensor, level: float, after: float) -> Tensor:
        """Take the latents from a level to another; the clean ones foreseen."""
        x, x0 = self.latents, levels.to_x0(output, self.latents, level)
        if self.clamp is None and not self.eta:
            self.latents = (
                levels.step(x, output, level, after)
                if self.solver is None
                else self.solver.step(x, x0, level, after)
            )
        else:
            x0 = x0 if self.clamp is None else self.clamp(x0[None])[0]
            self.latents = self._towards(x0, levels, level, after)
        if self.hold is not None:
            kept = (
                levels.mix(self.hold.x0, self._drawn(), after)
                if levels.shares(after)[1] > 0
                else self.hold.x0
            )
            self.latents = self.hold.mask * self.latents + (1 - self.hold.mask) * kept
        return x0

    def _towards(self, x0: Tensor, levels: Levels, level: float, after: float) -> Tensor:
        (a_t, b_t), (a_s, b_s) = levels.shares(level), levels.shares(after)
        eps = (self.latents - a_t * x0) / b_t
        sigma = self.eta * b_s / b_t * float(max(0.0, b_t**2 - (a_t * b_s / a_s) ** 2) ** 0.5)
        moved = a_s * x0 + float(max(0.0, b_s**2 - sigma**2) ** 0.5) * eps
        return moved + sigma * self._drawn() if sigma > 0 else moved

    def _drawn(self) -> Tensor:
        assert self.noise is not None, "who asks for eta or a hold gives noise"
        return self.noise()


def branch_names(streams: Sequence[Stream]) -> list[str]:
    """All branches in batch order."""
    return [branch for stream in streams for branch in stream.branches]


def guided(cond: Tensor, uncond: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance (Ho & Salimans 2022, eq. 6, with their w + 1 as scale)."""
    return uncond + scale * (cond - uncond)


def ask(
    network: Network,
    latents_BFCYX: Tensor,
    timestep: float,
    text_BFLE: Tensor,
    frames: Indices = slice(None),
    shown: Sequence[Shown | None] = (),
) -> Tensor:
    """The network's output for whole clips, (B, F, C, Y, X), however it takes their frames.

    frames: which of the window they are, for a network that goes by pictures of them too. shown: the picture
    that each clip is shown, where the network sees one.
    """
    if network.sees_picture:
        return cast(PictureReader, network).predict(latents_BFCYX, timestep, text_BFLE[:, 0], shown)
    if network.frame_axis:
        return network.predict(latents_BFCYX, timestep, text_BFLE[:, 0])
    controls = getattr(network, "controls", None)  # most networks have no place for any
    with nullcontext() if controls is None else controls.of(frames):
        output = network.predict(latents_BFCYX.flatten(0, 1), timestep, text_BFLE.flatten(0, 1))
    return output.unflatten(0, latents_BFCYX.shape[:2])


def predict(
    network: Network,
    streams: Sequence[Stream],
    timestep: float,
    step: int,
    controller: Controller | None,
    frames_per_call: int,
) -> dict[str, Tensor]:
    """The network's output for every branch, (F, C, Y, X) each; frames go through as the rules need them."""
    names = branch_names(streams)
    total = streams[0].latents.shape[0]
    shown = [stream.picture(branch) for stream in streams for branch in stream.branches]
    pieces: dict[str, list[Tensor]] = {name: [] for name in names}
    order: list[int] = []
    if network.frame_axis:
        frames_per_call = total
    for part in passes(controller, step, total, frames_per_call):
        latents = [stream.latents[part.frames] for stream in streams for _ in stream.branches]
        texts = _texts(streams, controller, step, part.frames, len(latents[0]))
        dtype = network.network_dtype
        batch, text_batch = torch.stack(latents).to(dtype), torch.stack(texts).to(dtype)
        with nullcontext() if controller is None else controller.call_of(step, part):
            output = ask(network, batch, timestep, text_batch, part.frames, shown)
        if part.comes_again:
            continue  # it was there for its rules
        for name, piece in zip(names, at_least_float32(output), strict=True):
            pieces[name].append(piece)
        order += range(total)[part.frames] if isinstance(part.frames, slice) else part.frames
    whole = {name: torch.cat(parts) for name, parts in pieces.items()}
    return (
        whole
        if order == sorted(order)
        else {name: rows[torch.tensor(order).argsort()] for name, rows in whole.items()}
    )


def passes(controller: Controller | None, step: int, total: int, frames_per_call: int) -> Iterator[Pass]:
    """The calls of the network in a step."""
    if controller is not None:
        yield from controller.passes(step, frames_per_call)
        return
    for first in range(0, total, frames_per_call):
        yield Pass(slice(first, min(total, first + frames_per_call)))


def _texts(
    streams: Sequence[Stream], controller: Controller | None, step: int, frames: Indices, count: int
) -> list[Tensor]:
    """The text embedding of each branch for some frames, (F, L, E), as rules leave it."""
    texts = {}
    for stream in streams:
        for branch in stream.branches:
            text = stream.text(branch, step)
            texts[branch] = text.expand(count, -1, -1) if len(text) == 1 else text[frames]
    return list(
        (texts if controller is None else controller.outside("inputs", "text", texts, step, frames)).values()
    )


@torch.inference_mode()
def sample(
    model: Denoiser,
    timesteps: Sequence[float],
    streams: Sequence[Stream],
    controller: Controller | None = None,
    *,
    frames_per_call: int = 8,
    start: int = 0,
    first_frame: int = 0,
) -> Iterator[Step]:
    """Take the steps `start`..N-1; yields after each.

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
            x0[stream.name] = stream.moved(schedule, stream.output(outputs, timestep), level, after)
            check_finite(stream.latents, index, model.network_dtype, first_frame)
        latents = {stream.name: stream.latents for stream in streams}
        if controller is not None:
            latents = controller.outside("latents", "latents", latents, index, slice(0, controller.total))
            for stream in streams:
                stream.latents = latents[stream.name]
        shown: dict[str, Tensor] = {} if controller is None else controller.shown
        yield Step(index, timestep, latents, x0, shown.get("mask"), shown.get("fine"))


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision becomes float32; float64, which tests of exactness use, stays."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def check_finite(latents_FCYX: Tensor, step: int, dtype: torch.dtype, first_frame: int = 0) -> None:
    """Raise where a latent first stops being a number; it is never decoded to a black frame."""
    finite = latents_FCYX.isfinite().flatten(1).all(1)
    if not bool(finite.all()):
        frame = first_frame + int((~finite).nonzero()[0])
        name = str(dtype).removeprefix("torch.")
        raise ModelError(
            f"the latent of frame {frame + 1} is not finite after step {step + 1} (network in {name}).",
            *finite_advice(dtype),
        )


def finite_advice(dtype: torch.dtype) -> tuple[str, str]:
    """What would be right and what to try where a network in a precision gives values that are not finite."""
    if dtype == torch.float16:
        return (
            "Half precision overflows in some checkpoints.",
            f"Try {option('dtype', 'bf16')} or {option('dtype', 'fp32')}",
        )
    if dtype == torch.bfloat16:
        return "Half precision is too coarse for some checkpoints.", f"Try {option('dtype', 'fp32')}"
    return (
        (
            "In full precision the weights themselves are damaged, or guidance or a factor of words is far"
            " too large."
        ),
        f"Try a smaller {option('guidance')}, or another copy of the model",
    )
