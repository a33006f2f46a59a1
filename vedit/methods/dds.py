"""Delta denoising score: move the clip's latents along the difference of two noise predictions.

    g = eps(z_t, t, target prompt) - eps(zsrc_t, t, source prompt),   z <- z - lr (w1 g + w2 (1 - m)(z - zsrc))

Source: Hertz, Aberman and Cohen-Or 2023; docs/methods.md 5.1. Noise and timestep are the same for both
sides, and for all frames unless `shared_noise` is off. Nothing is differentiated through the
network. reference = "uncond" takes the empty prompt at z itself instead of the source (classifier
score distillation), as the GLP thesis prints its loss.
Shape letters: F frames, C channels, Y X latent rows and columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from vedit.diffusion.attention.control import Controller
from vedit.diffusion.attention.rules import Plan, Rule
from vedit.diffusion.blend import MaskWatch, threshold_map
from vedit.diffusion.noise import noise_like, substream
from vedit.diffusion.prompts import read_prompt
from vedit.diffusion.purify import clip_rms, dds_gradient, structure_gradient, update
from vedit.diffusion.sample import Step, Stream, branch_names, finite_advice, predict
from vedit.diffusion.schedule import add_noise
from vedit.errors import ModelError
from vedit.methods.base import EditInput, MethodParams, Numbers, Outline, Share, Words, control, guided_stream, plan_of, save_words, watched_words

SUMMARY = "Move the clip's latents towards the new prompt, step by step, without inversion."
NEEDS: frozenset[str] = frozenset()


class ScoreParams(MethodParams):
    """Settings of methods that optimise latents."""

    iterations: int = Field(200, ge=1, le=5000, description="optimisation steps")
    lr: float = Field(0.05, gt=0, lt=1, description="step size")
    w1: float = Field(1.0, ge=0, description="weight of the text's gradient")
    w2: float = Field(1.0, ge=0, description="weight that pulls places outside the edit mask back to the clip")
    t_min: int = Field(50, ge=0, le=999, description="lowest timestep that is drawn")
    t_max: int = Field(950, ge=1, le=1000, description="timesteps that are drawn lie below this")
    shared_noise: bool = Field(True, description="the same noise for all frames, against flicker")
    reference: Literal["source", "uncond"] = Field("source", description="what is subtracted: the clip with its prompt, or the empty prompt")
    lr_decay: Literal["none", "cosine"] = Field("none", description="let the step size fall to zero along a cosine")
    grad_rms_max: float | None = Field(None, gt=0, description="largest root mean square of a frame's gradient")
    mask_words: Words = Field((), description="the edit mask is where these words of the source prompt look")
    mask_threshold: Share = Field(0.3, description="share of a map's maximum that counts as looking")
    mask_stretch: bool = Field(False, description="subtract a map's minimum too before the threshold")
    mask_scales: Numbers = Field((4,), min_length=1, description="map sizes that the mask is made of: the latent's side divided by these")
    mask_after: int = Field(10, ge=1, description="iterations that are only looked at, before the mask of mask_words holds")

    @model_validator(mode="after")
    def _is_stable(self) -> ScoreParams:
        if self.mask_words and self.reference == "uncond":
            raise ValueError('mask_words read the source branch, which reference = "uncond" leaves out')
        if self.mask_words and self.mask_after >= self.iterations:
            raise ValueError(f"mask_after = {self.mask_after} leaves none of {self.iterations} iterations to the mask of mask_words")
        if self.lr * self.w2 >= 1:
            raise ValueError(f"lr * w2 is {self.lr * self.w2:g}; from 1 on the pull back overshoots")
        if self.t_min >= self.t_max:
            raise ValueError(f"t_min = {self.t_min} is not below t_max = {self.t_max}")
        return self


class Params(ScoreParams):
    pass


def timestep_of(params: ScoreParams, clip: EditInput, iteration: int, train_steps: int) -> int:
    """The timestep that an iteration asks the network at."""
    high = min(params.t_max, train_steps)
    return int(torch.randint(min(params.t_min, high - 1), high, (1,), generator=substream(clip.seed, 1, iteration)))


class Score:
    """The gradients of one clip, iteration by iteration."""

    def __init__(self, model: Any, clip: EditInput, params: ScoreParams) -> None:
        self.model, self.clip, self.params = model, clip, params
        self.source_FCYX = clip.latents_FCYX.to(model.device)
        self.streams = [guided_stream(model, clip, params, self.source_FCYX)]
        if params.reference == "source":
            cond, uncond = (model.encode_prompt(text).to(model.device) for text in (clip.source_prompt, params.negative_prompt))
            self.streams.insert(0, Stream("src", self.source_FCYX, cond, uncond, params.guidance))
        elif params.guidance == 1:  # both sides are needed whatever the weight
            self.streams[0].guidance = 2.0
        self.bad = 0

    def gradient(self, latents_FCYX: Tensor, iteration: int, controller: Controller) -> tuple[int, Tensor]:
        """The timestep and g (F, C, Y, X). Raises ModelError when three in a row are not finite."""
        clip, schedule = self.clip, self.model.schedule
        timestep = timestep_of(self.params, clip, iteration, schedule.train_steps)
        level = schedule.level(timestep)
        noise = noise_like(latents_FCYX, clip.seed, 2, iteration, shared=self.params.shared_noise, first_frame=clip.first_frame)
        for stream in self.streams:
            stream.latents = add_noise(self.source_FCYX if stream.name == "src" else latents_FCYX, noise, level)
        outputs = predict(self.model.unet, self.streams, timestep, iteration, controller, clip.frames_per_call)
        if self.params.reference == "uncond":
            target, source = (schedule.eps(outputs[name], self.streams[-1].latents, level) for name in ("tgt", "tgt/uncond"))
        else:
            source, target = (schedule.eps(_guided(outputs, stream), stream.latents, level) for stream in self.streams)
        gradient = dds_gradient(target, source)
        finite_F = gradient.isfinite().flatten(1).all(1)
        self.bad = 0 if bool(finite_F.all()) else self.bad + 1
        if self.bad == 3:
            name = str(self.model.unet.dtype).removeprefix("torch.")
            raise ModelError(
                f"the gradient of frame {clip.first_frame + int((~finite_F).nonzero()[0]) + 1} is not finite, the third time in a row "
                f"(iteration {iteration + 1}, timestep {timestep}, network in {name}).",
                *finite_advice(self.model.unet.dtype),
            )
        return timestep, gradient


def _guided(outputs: dict[str, Tensor], stream: Stream) -> Tensor:
    if len(stream.branches) == 1:
        return outputs[stream.name]
    uncond = outputs[f"{stream.name}/uncond"]
    return uncond + stream.guidance * (outputs[stream.name] - uncond)


def rate(params: ScoreParams, iteration: int) -> float:
    """The step size of an iteration."""
    share = 0.5 * (1 + math.cos(math.pi * iteration / params.iterations)) if params.lr_decay == "cosine" else 1.0
    return params.lr * share


class EditMask:
    """Where the picture may change: the user's mask, and where `mask_words` have looked in the source so far."""

    def __init__(self, model: Any, clip: EditInput, params: ScoreParams, controller: Controller) -> None:
        self.clip, self.params, self.store = clip, params, controller.store
        self.tokens: tuple[int, ...] = ()
        if params.mask_words:
            self.tokens = mask_tokens(model, clip, params)
            self.words = watched_words(model, clip, ["src"], params.mask_scales)
        self.watch = MaskWatch(params.iterations, clip.warn, "Try another mask_threshold, or other mask_words.", clip.first_frame)

    def at(self, iteration: int) -> Tensor | None:
        """The mask (F, 1, Y, X) that holds in an iteration; None for everywhere."""
        if not self.tokens or iteration < self.params.mask_after:
            return self.clip.mask_F1YX
        looked = self.words.of(self.store, "src", self.tokens)
        mask = threshold_map(looked, self.clip.size, self.params.mask_threshold, stretch=self.params.mask_stretch).float()
        self.watch.see(mask)
        return mask if self.clip.mask_F1YX is None else mask * self.clip.mask_F1YX.to(mask)

    def save(self) -> None:
        """Give the last mask to the user who wants to see it."""
        if self.clip.save is not None and (mask := self.at(self.params.iterations)) is not None:
            self.clip.save["mask"] = mask


def mask_tokens(model: Any, clip: EditInput, params: ScoreParams) -> tuple[int, ...]:
    """The source's tokens of `mask_words`; raises UsageError for a word that is not there."""
    source = read_prompt(model.tokenizer, clip.source_prompt)
    return tuple(token for word in params.mask_words for token in source.tokens_of(word))


def moved(score: Score, latents_FCYX: Tensor, semantic_FCYX: Tensor, mask_F1YX: Tensor | None, iteration: int) -> Tensor:
    """The latents after one update with a gradient that may have been purified."""
    params = score.params
    semantic = clip_rms(torch.nan_to_num(semantic_FCYX, 0.0, 0.0, 0.0), params.grad_rms_max)
    return update(latents_FCYX, semantic, structure_gradient(latents_FCYX, score.source_FCYX, mask_F1YX), rate(params, iteration), params.w1, params.w2)


def outline(model: Any, clip: EditInput, params: ScoreParams) -> Outline:
    names = ("src", "tgt") if params.reference == "source" else ("tgt",)
    guided = params.guidance != 1 or params.reference == "uncond"
    branches = tuple(branch for name in names for branch in ((f"{name}/uncond", name) if guided else (name,)))
    if params.mask_words:
        mask_tokens(model, clip, params)
    has_mask = clip.mask_F1YX is not None or bool(params.mask_words)
    notes = () if has_mask else ("no edit mask: nothing pulls the background back; w2 has no effect",)
    return Outline(branches, Plan(probes=probes(model, clip, params, branches)), params.iterations, 0, notes, bool(params.mask_words))


def probes(model: Any, clip: EditInput, params: ScoreParams, branches: Sequence[str]) -> tuple[Rule, ...]:
    """Maps of the source for the mask, and of both sides for the user to see."""
    if not params.mask_words:
        return plan_of(model, clip, branches).probes
    return watched_words(model, clip, branches if clip.save_attention else ["src"], params.mask_scales).probes()


def finish(model: Any, clip: EditInput, params: ScoreParams, controller: Controller, mask: EditMask) -> None:
    """Hand over what the user wants to see."""
    mask.save()
    words = watched_words(model, clip, list(controller.branches), params.mask_scales) if params.mask_words else None
    save_words(model, clip, controller, params.iterations, words)


def score_control(model: Any, clip: EditInput, score: Score, plan: Plan) -> Controller:
    """A plan for the branches of a score, by iteration."""
    controller = control(model, clip, score.streams, plan)
    assert list(controller.branches) == branch_names(score.streams)
    return controller


@torch.inference_mode()
def run(model: Any, clip: EditInput, params: Params) -> Iterator[Step]:
    score = Score(model, clip, params)
    latents = score.source_FCYX
    with score_control(model, clip, score, outline(model, clip, params).plan).installed() as controller:
        mask = EditMask(model, clip, params, controller)
        for iteration in range(params.iterations):
            timestep, gradient = score.gradient(latents, iteration, controller)
            latents = moved(score, latents, gradient, mask.at(iteration), iteration)
            yield Step(iteration, timestep, {"tgt": latents}, {"tgt": latents})
    finish(model, clip, params, controller, mask)
