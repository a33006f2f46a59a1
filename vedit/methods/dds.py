"""Delta denoising score: move the clip's latents along the difference of two noise predictions.

    g = eps(z_t, t, target prompt) - eps(zsrc_t, t, source prompt),   z <- z - lr (w1 g + w2 (1 - m)(z -
    zsrc))

Source: Hertz, Aberman and Cohen-Or 2023; docs/methods.md 5.1. Noise and timestep are the same for both
sides, and for all frames unless `shared_noise` is off. Nothing is differentiated through the
network. reference = "uncond" takes the empty prompt at z itself instead of the source (classifier
score distillation), as the GLP thesis prints its loss.
Shape letters: F frames, C channels, Y X latent rows and columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from vedit.engine.blend import MaskWatch, cell_mask, grow, threshold_map, widened
from vedit.engine.controller import Controller
from vedit.engine.noise import noise_like, substream
from vedit.engine.purify import clip_rms, dds_gradient, structure_gradient, update
from vedit.engine.rules import Plan, Rule
from vedit.engine.sample import Step, Stream, branch_names, finite_advice, predict
from vedit.engine.store import MapStore
from vedit.engine.words import WordMaps
from vedit.errors import ModelError
from vedit.methods.base import Prepared, Request, Window
from vedit.methods.params import MethodParams, Numbers, Share, Words
from vedit.methods.sampled import Looks, Texts, bound, no_rules
from vedit.models.family import Family

SUMMARY = "Move the clip's latents towards the new prompt, step by step, without inversion."
NEEDS: frozenset[str] = frozenset()


class ScoreParams(MethodParams):
    """Settings of methods that optimise latents."""

    iterations: int = Field(200, ge=1, le=5000, description="optimisation steps")
    lr: float = Field(0.05, gt=0, lt=1, description="step size")
    w1: float = Field(1.0, ge=0, description="weight of the text's gradient")
    w2: float = Field(
        1.0, ge=0, description="weight that pulls places outside the edit mask back to the clip"
    )
    t_min: int = Field(50, ge=0, le=999, description="lowest timestep that is drawn")
    t_max: int = Field(950, ge=1, le=1000, description="timesteps that are drawn lie below this")
    shared_noise: bool = Field(True, description="the same noise for all frames, against flicker")
    reference: Literal["source", "uncond"] = Field(
        "source", description="what is subtracted: the clip with its prompt, or the empty prompt"
    )
    lr_decay: Literal["none", "cosine"] = Field(
        "none", description="let the step size fall to zero along a cosine"
    )
    grad_rms_max: float | None = Field(
        None, gt=0, description="largest root mean square of a frame's gradient"
    )
    mask_words: Words = Field((), description="the edit mask is where these words of the source prompt look")
    mask_threshold: Share = Field(0.3, description="share of a map's maximum that counts as looking")
    mask_stretch: bool = Field(False, description="subtract a map's minimum too before the threshold")
    mask_scales: Numbers = Field(
        (4,),
        min_length=1,
        description="map sizes that the mask is made of: the latent's side divided by these",
    )
    mask_fit: Literal["pixels", "cells"] = Field(
        "pixels",
        description="a mask with the extent of what the words look at, and the picture's edges; or cells of"
        " the map, which they also are where frames see each other",
    )
    mask_salient: bool = Field(
        False, description="weigh a word's map by where the prompt's start token does not look; with pixels"
    )
    mask_grow: int = Field(
        0, ge=-16, le=16, description="widen the mask by so many latent cells, as room for another shape"
    )
    mask_after: int = Field(
        10, ge=1, description="iterations that are only looked at, before the mask of mask_words holds"
    )

    @model_validator(mode="after")
    def _is_stable(self) -> ScoreParams:
        if self.mask_words and self.reference == "uncond":
            raise ValueError('mask_words read the source branch, which reference = "uncond" leaves out')
        if self.mask_words and self.mask_after >= self.iterations:
            raise ValueError(
                f"mask_after = {self.mask_after} leaves none of {self.iterations} iterations to the mask of"
                " mask_words"
            )
        if self.lr * self.w2 >= 1:
            raise ValueError(f"lr * w2 is {self.lr * self.w2:g}; from 1 on the pull back overshoots")
        if self.t_min >= self.t_max:
            raise ValueError(f"t_min = {self.t_min} is not below t_max = {self.t_max}")
        return self


class Params(ScoreParams):
    pass


def prepare(model: Family, request: Request, params: Params) -> Prepared:
    def descend(score: Score, mask: EditMask) -> Iterator[tuple[int, Tensor]]:
        latents = score.source_FCYX
        for iteration in range(params.iterations):
            timestep, gradient = score.gradient(latents, iteration)
            latents = moved(score, latents, gradient, mask.at(iteration), iteration)
            yield timestep, latents

    return optimised(model, request, params, descend)


def optimised(
    model: Family,
    request: Request,
    params: ScoreParams,
    descend: Callable[[Score, EditMask], Iterator[tuple[int, Tensor]]],
    rules: Callable[[Window], tuple[Rule, ...]] = no_rules,
    **facts: Any,
) -> Prepared:
    """A method that optimises latents: `descend` yields the timestep and the latents of each iteration.

    rules: that act inside the calls, by iteration. facts: further fields of `Prepared`.
    """
    names = ("src", "tgt") if params.reference == "source" else ("tgt",)
    guided = params.guidance != 1 or params.reference == "uncond"
    branches = tuple(branch for name in names for branch in ((f"{name}/uncond", name) if guided else (name,)))
    tokens = mask_tokens(model, request, params)
    needed, scales = (("src",), params.mask_scales) if tokens else ((), None)
    fits = params.mask_fit == "pixels" and bool(tokens) and not model.frame_axis
    looks = Looks(model, request, branches, scales, needed, groups=fits)
    texts = Texts(model, request, params)

    def plan(window: Window) -> Plan:
        return Plan(rules(window), looks.probes())

    @torch.inference_mode()
    def run(window: Window) -> Iterator[Step]:
        controller = bound(model, request, plan(window), branches, len(window.latents_FCYX))
        score = Score(texts, window, controller, params)
        assert tuple(branch_names(score.streams)) == branches, "the branches announced are those that run"
        mask = EditMask(request, window, params, controller.store, looks.words, tokens)
        with controller.installed():
            for iteration, (timestep, latents) in enumerate(descend(score, mask)):
                step = Step(iteration, timestep, {"tgt": latents}, {"tgt": latents})
                if iteration + 1 < params.iterations:
                    yield step
                else:
                    attention = looks.shown(controller.store, params.iterations)
                    # the user's own is put back pixel for pixel: upon itself, it would weaken its edges
                    last = mask.at(params.iterations) if tokens else None
                    yield replace(step, mask=last, fine=mask.fine, attention=attention)

    has_mask = request.has_mask or bool(tokens)
    notes = () if has_mask else ("no edit mask: nothing pulls the background back; w2 has no effect",)
    told = {**facts, "notes": (*notes, *facts.get("notes", ()))}
    prepared = Prepared(
        run,
        branches,
        plan(request.blank()),
        params.iterations,
        0,
        params.iterations,
        makes_mask=bool(tokens),
        **told,
    )
    bound(model, request, prepared.plan, branches, request.frames)
    return prepared


def timestep_of(params: ScoreParams, request: Request, iteration: int, train_steps: int) -> int:
    """The timestep that an iteration asks the network at."""
    high = min(params.t_max, train_steps)
    return int(
        torch.randint(
            min(params.t_min, high - 1), high, (1,), generator=substream(request.seed, 1, iteration)
        )
    )


class Score:
    """The gradients of one window, iteration by iteration."""

    def __init__(self, texts: Texts, window: Window, controller: Controller, params: ScoreParams) -> None:
        self.window, self.controller, self.params = window, controller, params
        self.model, self.request = texts.model, texts.request
        self.source_FCYX = window.latents_FCYX.to(self.model.device)
        self.streams = [texts.guided(window, self.source_FCYX)]
        if self.params.reference == "source":
            cond, uncond = texts.of(self.request.source_prompt), texts.of(self.params.negative_prompt)
            self.streams.insert(0, Stream("src", self.source_FCYX, cond, uncond, self.params.guidance))
        elif self.params.guidance == 1:  # both sides are needed whatever the weight
            self.streams[0].guidance = 2.0
        self.bad = 0

    def gradient(self, latents_FCYX: Tensor, iteration: int) -> tuple[int, Tensor]:
        """The timestep and g (F, C, Y, X). Raises ModelError when three in a row are not finite."""
        params, window, schedule = self.params, self.window, self.model.schedule
        timestep = timestep_of(params, self.request, iteration, schedule.train_steps)
        level = schedule.level(timestep)
        noise = noise_like(
            latents_FCYX,
            self.request.seed,
            2,
            iteration,
            shared=params.shared_noise,
            first_frame=window.first_frame,
        )
        for stream in self.streams:
            stream.latents = schedule.mix(
                self.source_FCYX if stream.name == "src" else latents_FCYX, noise, level
            )
        frames = self.request.frames_per_call
        outputs = predict(self.model, self.streams, timestep, iteration, self.controller, frames)
        if params.reference == "uncond":
            at = self.streams[-1].latents
            target, source = (schedule.to_eps(outputs[name], at, level) for name in ("tgt", "tgt/uncond"))
        else:
            source, target = (
                schedule.to_eps(stream.output(outputs, timestep), stream.latents, level)
                for stream in self.streams
            )
        gradient = dds_gradient(target, source)
        self._check(gradient, iteration, timestep)
        return timestep, gradient

    def _check(self, gradient_FCYX: Tensor, iteration: int, timestep: int) -> None:
        finite_F = gradient_FCYX.isfinite().flatten(1).all(1)
        self.bad = 0 if bool(finite_F.all()) else self.bad + 1
        if self.bad == 3:
            name = str(self.model.network_dtype).removeprefix("torch.")
            frame = self.window.first_frame + int((~finite_F).nonzero()[0]) + 1
            raise ModelError(
                f"the gradient of frame {frame} is not finite, the third time in a row (iteration"
                f" {iteration + 1}, timestep {timestep}, network in {name}).",
                *finite_advice(self.model.network_dtype),
            )


def rate(params: ScoreParams, iteration: int) -> float:
    """The step size of an iteration."""
    share = (
        0.5 * (1 + math.cos(math.pi * iteration / params.iterations)) if params.lr_decay == "cosine" else 1.0
    )
    return params.lr * share


class EditMask:
    """Where the picture may change: the user's mask, and where `mask_words` have looked so far.

    fine: the words' last mask in pixels, where the clip's are known.
    """

    def __init__(
        self,
        request: Request,
        window: Window,
        params: ScoreParams,
        store: MapStore,
        words: WordMaps,
        tokens: tuple[int, ...],
    ) -> None:
        self.request, self.window, self.own, self.params = request, window, window.mask_F1YX, params
        self.fine: Tensor | None = None
        self.store, self.words, self.tokens = store, words, tokens
        advice = "Try another mask_threshold, or other mask_words."
        self.watch = MaskWatch(params.iterations, request.warn, advice, window.first_frame)

    def at(self, iteration: int) -> Tensor | None:
        """The mask (F, 1, Y, X) that holds in an iteration; None for everywhere."""
        if not self.tokens or iteration < self.params.mask_after:
            return self.own
        mask = self._of_words()
        self.watch.see(mask)
        return mask if self.own is None else mask * self.own.to(mask)

    def _of_words(self) -> Tensor:
        """Where the words look, (F, 1, Y, X) in [0, 1] at the latents' size."""
        params, guide = self.params, self.window.pixels_F3YX
        if self.words.groups and guide is not None:
            found = self.words.fitted(
                self.store, "src", self.tokens, guide, params.mask_threshold, salient=params.mask_salient
            )
            self.fine = widened(found, self.request.size, params.mask_grow)
            return cell_mask(self.fine, self.request.size)
        looked = self.words.of(self.store, "src", self.tokens)
        mask = threshold_map(looked, self.request.size, params.mask_threshold, stretch=params.mask_stretch)
        return grow(mask, params.mask_grow).float()


def mask_tokens(model: Family, request: Request, params: ScoreParams) -> tuple[int, ...]:
    """The source's tokens of `mask_words`; raises UsageError for a word that is not there."""
    if not params.mask_words:
        return ()
    source = model.words(request.source_prompt)
    return tuple(token for word in params.mask_words for token in source.tokens_of(word))


def moved(
    score: Score, latents_FCYX: Tensor, semantic_FCYX: Tensor, mask_F1YX: Tensor | None, iteration: int
) -> Tensor:
    """The latents after one update with a gradient that may have been purified."""
    params = score.params
    semantic = clip_rms(torch.nan_to_num(semantic_FCYX, 0.0, 0.0, 0.0), params.grad_rms_max)
    pull = structure_gradient(latents_FCYX, score.source_FCYX, mask_F1YX)
    return update(latents_FCYX, semantic, pull, rate(params, iteration), params.w1, params.w2)
