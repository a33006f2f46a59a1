"""Plug-and-Play: the target takes the source's residual features and self-attention.

Source: Tumanyan et al. 2023, eq. 6-8, defaults as in MichalGeyer/pnp-diffusers; docs/methods.md 4.
The source branch is fed the stored latents of each step. Features are the output of a residual
block's second convolution; self-attention is taken over by giving both target branches the
source's queries and keys. Checked against the layer lists and step thresholds of that code.

The settings t0, t1, t2 and skip_layer_* of the thesis are read as start steps and first
attention modules in forward order (docs/methods.md 4.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pydantic import AliasChoices, Field

from vedit.engine.rules import Replace, Rule, Steps, step_range
from vedit.errors import option
from vedit.methods.base import Prepared, Request, Window
from vedit.methods.params import MergeParams, Share, StartParams, Words
from vedit.methods.sampled import Texts, branches_of, check_start, hold_outside, sampled, sites_of_layers
from vedit.models.family import Family, Network
from vedit.models.sites import Select

SUMMARY = "Keep the clip's layout by its features and self-attention; the prompt sets the look."
NEEDS = frozenset({"inversion", "pictures"})
FEATURES = ("up_blocks.1.resnets.1",)
ATTENTION = (
    *(f"up_blocks.1.attentions.{place}" for place in (1, 2)),
    *(f"up_blocks.2.attentions.{place}" for place in (0, 1, 2)),
    *(f"up_blocks.3.attentions.{place}" for place in (0, 1, 2)),
)


class LayoutParams(StartParams):
    """What holds the layout, of this method and of others that build on it."""

    feature_until: Share = Field(
        0.8,
        validation_alias=AliasChoices("feature_until", "tau_f", "pnp_f_t"),
        description="share of steps that inject residual features",
    )
    attention_until: Share = Field(
        0.5,
        validation_alias=AliasChoices("attention_until", "tau_A", "pnp_attn_t"),
        description="share of steps that inject self-attention",
    )
    feature_layers: Words = Field(
        FEATURES, description="residual blocks that inject features; * stands for any text"
    )
    attention_layers: Words = Field(
        ATTENTION, description="transformers that inject self-attention; * stands for any text"
    )


class Params(MergeParams, LayoutParams):
    content_from: int | None = Field(
        None,
        ge=0,
        validation_alias=AliasChoices("content_from", "t0"),
        description="first step that injects values outside the mask",
    )
    motion_from: int | None = Field(
        None,
        ge=0,
        validation_alias=AliasChoices("motion_from", "t1"),
        description="first step that injects temporal attention",
    )
    structure_from: int = Field(
        0,
        ge=0,
        validation_alias=AliasChoices("structure_from", "t2"),
        description="first step that injects features and self-attention",
    )
    skip_layer_content: int = Field(
        0, ge=0, description="first attention module, in forward order, that injects values"
    )
    skip_layer_motion: int = Field(
        0, ge=0, description="first attention module that injects temporal attention"
    )
    skip_layer_structure: int = Field(
        0, ge=0, description="first attention module that injects self-attention"
    )


def prepare(
    model: Family,
    request: Request,
    params: Params,
    more: Callable[[Window, tuple[str, ...]], tuple[Rule, ...]] = lambda window, branches: (),
) -> Prepared:
    """Raises ModelError for a layer that the model does not have.

    more: further rules of a window, from the branches of the call.
    """
    steps = len(request.timesteps)
    check_start(params.start_index, steps)
    branches, texts = branches_of(params.guidance, "src"), Texts(model, request, params)
    injected = injections(model, params, branches[1:], request, range(steps), steps)

    return sampled(
        model,
        request,
        lambda window: texts.pair(window, params.start_index),
        branches,
        lambda window: (
            *more(window, branches),
            *injected.rules(window),
            *hold_outside(request, window),
        ),
        start=params.start_index,
        notes=injected.notes,
        merging=params,
    )


class Injected(NamedTuple):
    """What the targets take from "src". rules: of a window. notes: settings that have no effect."""

    rules: Callable[[Window], tuple[Rule, ...]]
    notes: tuple[str, ...]


def injections(
    network: Network,
    params: Params,
    targets: tuple[str, ...],
    request: Request,
    positions: Sequence[int],
    steps: int,
) -> Injected:
    """Features, self-attention, and content outside a mask.

    positions: where in the schedule of `steps` steps each call lies; range(steps) when sampling.
    """

    def span(first: int, until: float) -> Steps:
        table = step_range(steps, 0.0, until)
        return tuple(position >= first and table[position] for position in positions)

    fixed = tuple(_structure(network, params, targets, span))
    content = Select("self", first_layer=params.skip_layer_content)
    notes = []
    if params.content_from is not None and not request.has_mask:
        notes.append(
            f"content_from: there is no edit mask, so no content is injected; give one with {option('mask')}"
        )
    if params.motion_from is not None or params.skip_layer_motion:
        notes.append(
            "motion_from, skip_layer_motion: the model has no temporal attention, so no motion is injected"
        )

    def rules(window: Window) -> tuple[Rule, ...]:
        if params.content_from is None or window.mask_F1YX is None:
            return fixed
        outside = span(params.content_from, 1.0)
        return (
            *fixed,
            Replace(content, "src", targets, outside, ("v",), "content outside the mask", window.mask_F1YX),
        )

    return Injected(rules, tuple(notes))


def _structure(
    network: Network, params: Params, targets: tuple[str, ...], span: Callable[[int, float], Steps]
) -> Iterator[Rule]:
    """What holds the layout: residual features, and the source's queries and keys."""
    features = span(params.structure_from, params.feature_until)
    attention = span(params.structure_from, params.attention_until)
    if any(features) and params.feature_layers:
        found = sites_of_layers(network, "conv", params.feature_layers, "feature_layers")
        yield Replace(
            Select("conv", params.feature_layers, expect=len(found)),
            "src",
            targets,
            features,
            name="features",
        )
    if any(attention) and params.attention_layers:
        found = sites_of_layers(network, "self", params.attention_layers, "attention_layers")
        expected = sum(site.layer >= params.skip_layer_structure for site in found)
        select = Select(
            "self", params.attention_layers, first_layer=params.skip_layer_structure, expect=expected or None
        )
        yield Replace(select, "src", targets, attention, name="self-attention")
