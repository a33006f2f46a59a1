"""FateZero: the clip's own attention at every step, but for the place of the words whose shape may change.

    A_tgt <- m A_tgt + (1 - m) A_src      self-attention, in the first steps; m: where source words look

Source: Qi et al. 2023 and ChenyangQiQi/FateZero; docs/methods.md 7.2. Cross-attention is edited as
in `p2p`. What the published code keeps of the inversion as whole maps (100 GB for eight frames) is
read here as queries and keys of the branch "src", which is fed the inverted latents of each step;
and since blending rows of two maps over the same values is blending their outputs, no
self-attention map is made: m Attn(Q_T, K_T, V_T) + (1 - m) Attn(Q_S, K_S, V_T). The mask is made
before the edit, from the source's cross maps of the same step. Frames see the middle frame, in the
inversion too. Latents are not blended, unless `blend_words` ask for it.
Deviation: the branch is asked at the latents of a level, where the published inversion was at those
before it.
Shape letters: F frames, N heads, Q query tokens, K key tokens, D head width, Y X latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import AliasChoices, Field
from torch import Tensor

from vedit.engine.blend import resize_mask, threshold_map
from vedit.engine.controller import Controller
from vedit.engine.inflation import Inflation, inflation_rules
from vedit.engine.prompts import as_pair
from vedit.engine.rules import Call, Override, Plan, Rule, Tensors, step_range
from vedit.engine.rules.rule import mixed
from vedit.engine.sample import Step, predict
from vedit.engine.words import WordMaps
from vedit.methods import p2p
from vedit.methods.base import Prepared, Request, Window
from vedit.methods.params import Span, Words
from vedit.methods.sampled import Texts
from vedit.models.family import Family

SUMMARY = "Keep the clip's own attention, but where named words look: shapes change there, styles everywhere."
NEEDS = frozenset({"inversion", "source prompt", "pictures"})


class Params(p2p.Params):
    frame_attention: Literal["middle-frame", "sparse-causal", "first-frame", "none"] = Field(
        "middle-frame",
        description="which frame the others see: the middle one, the first and the one before, the"
        " first, or only themselves",
    )
    shape_words: Words = Field(
        (),
        validation_alias=AliasChoices("shape_words", "blend_self_words"),
        description="words of the source whose place has its own self-attention, so that its shape may"
        " change; a style needs none",
    )
    shape_threshold: float = Field(
        0.3,
        ge=0,
        description="share of a map's maximum that counts as the place of shape_words; above 1 nothing does",
    )
    self_replace: Span = Field(
        0.8,
        validation_alias=AliasChoices("self_replace", "self_replace_steps"),
        description="share of steps, or a pair, that take over the source's self-attention",
    )
    cross_replace: Span | dict[str, Span] = Field(
        0.8,
        validation_alias=AliasChoices("cross_replace", "cross_replace_steps"),
        description="share of steps, or a pair of shares, that edit cross-attention; or a table of them"
        " by word, default_ for the others",
    )
    null_text: Literal["both", "source", "none"] = Field(
        "none",
        description="branches that are guided away from the null embeddings of the inversion, where it"
        " has them",
    )

    @property
    def inflation(self) -> Inflation:
        return self.frame_attention

    @property
    def self_target(self) -> p2p.SelfTarget:
        return "none"  # taken over here, under the mask

    @property
    def needs_masks(self) -> bool:
        """Whether there is a place that keeps its own self-attention, in some step."""
        first, last = as_pair(self.self_replace)
        return bool(self.shape_words) and self.shape_threshold <= 1 and first < last


def prepare(model: Family, request: Request, params: Params) -> Prepared:
    """Raises UsageError for words that do not occur and prompts that do not fit."""
    masks = SourceMasks(model, request, params)
    return edited(model, request, params, masks)


def edited(model: Family, request: Request, params: Params, masks: SourceMasks) -> Prepared:
    """Prompt-to-Prompt under an inflation, with self-attention taken over outside of masks."""
    steps = len(request.timesteps)
    table = step_range(steps, *as_pair(params.self_replace))

    def more(branches: tuple[str, ...]) -> tuple[Rule, ...]:
        seen = inflation_rules(model, params.inflation, branches, steps, request.frames)
        if not any(table):
            return seen
        sites = p2p.self_sites(model, params.self_max_tokens, request.size)
        return (
            *seen,
            Override(
                sites,
                "tgt",
                lambda tensors, call: taken_over(tensors, masks.at(call)),
                table,
                name="self-attention outside the mask",
            ),
        )

    prepared = p2p.prepare(model, request, params, more)
    if not params.needs_masks:
        return prepared

    def run(window: Window) -> Iterator[Step]:
        masks.look(window)
        yield from prepared.run(window)

    return replace(
        prepared,
        run=run,
        before=steps - params.start_index,
        about=(*prepared.about, f"shape: {', '.join(params.shape_words)}"),
    )


def taken_over(tensors: Tensors, share_FNQD: Tensor | None) -> Tensor:
    """The target's output where the share is 1, where it is 0 the source's attention to its values."""
    kept = F.scaled_dot_product_attention(tensors["q", "src"], tensors["k", "src"], tensors["v", "tgt"])
    return kept if share_FNQD is None else mixed(kept, tensors["out", "tgt"], share_FNQD)


class SourceMasks:
    """Where words of the source look, step by step, found before the edit by asking for the source alone."""

    def __init__(self, model: Family, request: Request, params: Params) -> None:
        self.model, self.request, self.params = model, request, params
        source = model.words(request.source_prompt)
        self.tokens = tuple(token for word in params.shape_words for token in source.tokens_of(word))
        self.words = WordMaps(
            model, ("src",) if self.tokens else (), params.blend_scales, request.size, "blend_scales"
        )
        self.by_step: dict[int, Tensor] = {}

    def rules(self) -> tuple[Rule, ...]:
        """What else is looked at while the source is asked for."""
        return ()

    @torch.inference_mode()
    def look(self, window: Window) -> None:
        """Make the masks of all steps of a window."""
        self.by_step.clear()
        frames, params = len(window.latents_FCYX), self.params
        texts = Texts(self.model, self.request, params)
        steps = len(self.request.timesteps)
        table = step_range(steps, *as_pair(params.self_replace))
        rules = (*inflation_rules(self.model, params.inflation, ("src",), steps, frames), *self.rules())
        for step in range(params.start_index, steps):
            if not table[step]:
                continue
            # maps of this step alone: sums begin anew with each controller
            plan = Plan(rules, self.words.probes())
            controller = Controller(
                self.model, plan, ("src",), frames, self.request.size, self.model.text_tokens
            )
            stream = texts.replayed(window, window.trajectory(step))
            with controller.installed():
                predict(
                    self.model,
                    [stream],
                    self.request.timesteps[step],
                    step,
                    controller,
                    self.request.frames_per_call,
                )
            self.by_step[step] = self.made(controller)

    def made(self, controller: Controller) -> Tensor:
        """The mask of a step, (F, 1, Y, X) in 0 to 1."""
        looked = self.words.of(controller.store, "src", self.tokens)
        params = self.params
        return threshold_map(
            looked, self.request.size, params.shape_threshold, stretch=params.blend_stretch
        ).float()

    def at(self, call: Call) -> Tensor | None:
        """The mask of a call by query token (F, 1, Q, 1); None where nothing keeps its own."""
        mask_F1YX = self.by_step.get(call.step)
        if mask_F1YX is None:
            return None
        return resize_mask(call.of_frames(mask_F1YX), call.grid).flatten(1)[:, None, :, None]
