"""AnyV2V: an edited first frame, and a network that makes a clip of it, moving as the source moves.

    S       the source's latents as they were stored, shown the source's first frame
    T       from the same noise, shown the edited first frame

T takes of S residual features, queries and keys of attention within frames, and of attention over frames,
each for a share of the steps. Source: Ku et al. 2024, section 4, and TIGER-AI-Lab/AnyV2V, whose layers and
steps for I2VGen-XL are the defaults; docs/methods.md 7.7. The inversion has the empty prompt as a rule and is
shown the source's first frame too.

Deviation: no noise is drawn for the first frame's latents (`vedit.models.motion.model`).
Shape letters: F frames, C channels, Y X latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

from pydantic import AliasChoices, Field
from torch import Tensor

from vedit.engine.noise import noise_like
from vedit.engine.rules import Replace, Rule, Steps, step_range
from vedit.engine.sample import Stream
from vedit.errors import UsageError, option
from vedit.methods import pnp
from vedit.methods.base import Prepared, Request, Window
from vedit.methods.params import Share, Words
from vedit.methods.sampled import Texts, branches_of, check_start, hold_outside, sampled, sites_of_layers
from vedit.models.family import Family, Showing
from vedit.models.sites import Select

SUMMARY = "Edit the first frame with anything; the clip follows it, moving as the source does."
NEEDS = frozenset({"inversion", "temporal", "first frame"})
# beside the layers within frames, by whatever name a network has for them
OVER_FRAMES = tuple(
    f"up_blocks.{block}.*.{place}.*.attn1"
    for block, places in ((1, (1, 2)), (2, (0, 1, 2)), (3, (0, 1, 2)))
    for place in places
)


class Params(pnp.LayoutParams):
    guidance: float = Field(
        9.0,
        ge=1,
        le=100,
        validation_alias=AliasChoices("guidance", "cfg", "cfg_txt"),
        description="weight of classifier-free guidance, away from the negative prompt and from no picture",
    )
    feature_until: Share = Field(
        0.2,
        validation_alias=AliasChoices("feature_until", "tau_f", "pnp_f_t"),
        description="share of steps that inject residual features",
    )
    attention_until: Share = Field(
        0.2,
        validation_alias=AliasChoices("attention_until", "tau_A", "pnp_spatial_attn_t"),
        description="share of steps that inject attention within frames",
    )
    motion_until: Share = Field(
        0.5,
        validation_alias=AliasChoices("motion_until", "temporal_until", "pnp_temp_attn_t"),
        description="share of steps that inject attention over frames",
    )
    motion_layers: Words = Field(
        OVER_FRAMES, description="layers that inject attention over frames; * stands for any text"
    )
    random_ratio: Share = Field(
        0.0, description="share of fresh noise in the latents that the edit starts from; loosens the layout"
    )
    frame_method: str = Field(
        "p2p", description="method that edits the first frame, where no picture of it is given"
    )
    frame_model: str = Field("", description="model that it is edited with")
    frame_prompt: str = Field(
        "", description="what the first frame should show, or the instruction; the prompt if not given"
    )
    frame_set: dict[str, Any] = Field({}, description="settings of the method that edits it")


def prepare(model: Family, request: Request, params: Params) -> Prepared:
    """Raises ModelError for layers that the model does not have, UsageError for what goes with no picture."""
    steps = len(request.timesteps)
    check_start(params.start_index, steps)
    if request.wants_attention:
        raise UsageError(
            f"{option('save_attention')} shows where the words of prompts look, and anyv2v edits by a"
            " picture.",
            "",
            f"Leave out {option('save_attention')}",
        )
    branches, texts = branches_of(params.guidance, "src"), Texts(model, request, params)
    fixed = tuple(injections(model, params, branches[1:], steps))

    def streams(window: Window) -> list[Stream]:
        showing, frames = cast(Showing, model), len(window.latents_FCYX)
        assert window.pixels_F3YX is not None and request.reference is not None, "who runs it gives both"
        source, _ = showing.show(window.pixels_F3YX[0], frames)
        seen, unseen = showing.show(request.reference.to(model.device), frames)
        begin = loosened(request, params, window)
        return [
            replace(texts.replayed(window, window.trajectory(params.start_index)), shown=source),
            replace(texts.guided(window, begin), shown=seen, unshown=unseen),
        ]

    return sampled(
        model,
        request,
        streams,
        branches,
        lambda window: (*fixed, *hold_outside(request, window)),
        start=params.start_index,
    )


def injections(model: Family, params: Params, targets: tuple[str, ...], steps: int) -> Iterator[Rule]:
    """What the targets take from the source: features, and attention within frames and over them."""
    kinds = (
        ("conv", "feature_layers", params.feature_layers, params.feature_until, "features"),
        ("self", "attention_layers", params.attention_layers, params.attention_until, "self-attention"),
        ("temporal", "motion_layers", params.motion_layers, params.motion_until, "attention over frames"),
    )
    for kind, what, layers, until, name in kinds:
        acting: Steps = step_range(steps, 0.0, until)
        if any(acting) and layers:
            found = sites_of_layers(model, kind, layers, what)
            yield Replace(Select(kind, layers, expect=len(found)), "src", targets, acting, name=name)


def loosened(request: Request, params: Params, window: Window) -> Tensor:
    """The latents that the edit starts from: the source's, with a share of fresh noise."""
    begin, ratio = window.at(params.start_index), params.random_ratio
    if not ratio:
        return begin
    noise = noise_like(begin, request.seed, 0, shared=False, first_frame=window.first_frame)
    return (1 - ratio) * begin + ratio * noise
