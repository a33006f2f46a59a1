"""Plug-and-Play: the target takes the source's residual features and self-attention.

Source: Tumanyan et al. 2023, eq. 6-8, defaults as in MichalGeyer/pnp-diffusers; docs/methods.md 4.
The source branch is fed the stored latents of each step. Features are the output of a residual
block's second convolution; self-attention is taken over by giving both target branches the
source's queries and keys. Checked against the layer lists and step thresholds of that code.

The settings t0, t1, t2 and skip_layer_* of the thesis are read as start steps and first
attention modules in forward order (docs/methods.md 4.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import AliasChoices, Field
from torch import Tensor

from vedit.diffusion.attention.locate import Select
from vedit.diffusion.attention.rules import Replace, Steps, step_range
from vedit.diffusion.sample import Step
from vedit.methods.base import (
    EditInput,
    InversionParams,
    Outline,
    Share,
    Words,
    branches_of,
    check_start,
    control,
    guided_stream,
    hold_outside,
    plan_of,
    replayed_stream,
    sample_with,
    sites_of_layers,
)

SUMMARY = "Keep the clip's layout by its features and self-attention; the prompt sets the look."
NEEDS = frozenset({"inversion"})
FEATURES = ("up_blocks.1.resnets.1",)
ATTENTION = (
    *(f"up_blocks.1.attentions.{place}" for place in (1, 2)),
    *(f"up_blocks.2.attentions.{place}" for place in (0, 1, 2)),
    *(f"up_blocks.3.attentions.{place}" for place in (0, 1, 2)),
)


class Params(InversionParams):
    feature_until: Share = Field(
        0.8, validation_alias=AliasChoices("feature_until", "tau_f", "pnp_f_t"), description="share of steps that inject residual features"
    )
    attention_until: Share = Field(
        0.5, validation_alias=AliasChoices("attention_until", "tau_A", "pnp_attn_t"), description="share of steps that inject self-attention"
    )
    feature_layers: Words = Field(FEATURES, description="residual blocks that inject features; * stands for any text")
    attention_layers: Words = Field(ATTENTION, description="transformers that inject self-attention; * stands for any text")
    start_index: int = Field(
        0, ge=0, validation_alias=AliasChoices("start_index", "ddim_init_latents_t_idx"), description="sampling step to start at; later keeps more of the clip"
    )
    content_from: int | None = Field(
        None, ge=0, validation_alias=AliasChoices("content_from", "t0"), description="first step that injects values outside the mask"
    )
    motion_from: int | None = Field(None, ge=0, validation_alias=AliasChoices("motion_from", "t1"), description="first step that injects temporal attention")
    structure_from: int = Field(
        0, ge=0, validation_alias=AliasChoices("structure_from", "t2"), description="first step that injects features and self-attention"
    )
    skip_layer_content: int = Field(0, ge=0, description="first attention module, in forward order, that injects values")
    skip_layer_motion: int = Field(0, ge=0, description="first attention module that injects temporal attention")
    skip_layer_structure: int = Field(0, ge=0, description="first attention module that injects self-attention")


def outline(model: Any, clip: EditInput, params: Params) -> Outline:
    """The rules; raises ModelError for a layer that the model does not have."""
    steps = len(clip.timesteps)
    check_start(params.start_index, steps)
    branches = branches_of(params.guidance, "src")
    notes: list[str] = []
    rules = tuple(injections(model.unet, params, branches[1:], clip, notes, range(steps), steps))
    return Outline(branches, plan_of(model, clip, branches, (*rules, *hold_outside(clip))), steps - params.start_index, params.start_index, tuple(notes))


def injections(
    unet: Any, params: Params, targets: tuple[str, ...], clip: EditInput, notes: list[str], positions: Sequence[int], steps: int
) -> Iterator[Replace]:
    """What the targets take from "src".

    notes: is told of settings that have no effect. positions: where in the schedule of `steps` steps
    each call lies; range(steps) when sampling.
    """

    def span(first: int, until: float) -> Steps:
        table = step_range(steps, 0.0, until)
        return tuple(position >= first and table[position] for position in positions)

    features = span(params.structure_from, params.feature_until)
    attention = span(params.structure_from, params.attention_until)
    if any(features) and params.feature_layers:
        found = sites_of_layers(unet, "conv", params.feature_layers, "feature_layers")
        yield Replace(Select("conv", params.feature_layers, expect=len(found)), "src", targets, features, name="features")
    if any(attention) and params.attention_layers:
        found = sites_of_layers(unet, "self", params.attention_layers, "attention_layers")
        expected = sum(site.layer >= params.skip_layer_structure for site in found)
        select = Select("self", params.attention_layers, first_layer=params.skip_layer_structure, expect=expected or None)
        yield Replace(select, "src", targets, attention, name="self-attention")
    if params.content_from is not None:
        if clip.mask_F1YX is None:
            notes.append("content_from: there is no edit mask, so no content is injected; give one with --mask")
        else:
            select = Select("self", first_layer=params.skip_layer_content)
            yield Replace(select, "src", targets, span(params.content_from, 1.0), ("v",), "content outside the mask", clip.mask_F1YX)
    if params.motion_from is not None or params.skip_layer_motion:
        notes.append("motion_from, skip_layer_motion: the model has no temporal attention, so no motion is injected")


def run(model: Any, clip: EditInput, params: Params, latents: Tensor | None = None) -> Iterator[Step]:
    """latents: what the target starts as; the source's own inversion by default."""
    announced = outline(model, clip, params)
    for note in announced.notes:
        clip.warn(note)
    start = clip.trajectory(announced.start)
    streams = [replayed_stream(model, clip, start), guided_stream(model, clip, params, start if latents is None else latents)]
    yield from sample_with(model, clip, streams, control(model, clip, streams, announced.plan), announced.start)
