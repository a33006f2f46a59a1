"""FLATTEN: Plug-and-Play whose tokens also attend to themselves in other frames, along the clip's motion.

    K, V of all frames             in self-attention, in the inversion too
    then each token to its track   what attention gave serves as query, key and value

Source: Cong et al. 2024, eq. 4-5, and yrcong/flatten; docs/methods.md 7.8. Tracks follow the optical flow
of the source, at every grid of tokens; the published code has them where there are 64x64 tokens (`compat`:
at the finest grid). Its formula leaves the token itself out of its track and its code does not; here it is
part of it. All else is taken of `pnp`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import AliasChoices, Field

from vedit.engine.inflation import Inflation, inflation_rules
from vedit.engine.rules import AlongTracks, KeepKeys, Rule
from vedit.engine.tracks import Motion, standing
from vedit.methods import pnp
from vedit.methods.base import Prepared, Request, Window
from vedit.methods.params import FlowParams, Share, of_flow
from vedit.models.family import Family
from vedit.models.sites import Select

SUMMARY = "Plug-and-Play with attention along the clip's optical flow, against flicker."
NEEDS = frozenset({"inversion", "pictures"})


class Params(FlowParams, pnp.Params):
    sees: Literal["dense", "sparse-causal", "none"] = Field(
        "dense",
        description="frames that self-attention sees: all, the first and the one before, or a frame's own",
    )
    track_until: Share = Field(1.0, description="share of steps with attention along tracks")
    likeness: Literal["output", "keys"] = Field(
        "output",
        description="what weighs the places of a track: what attention gave, or its queries and keys",
    )
    compat: bool = Field(False, description="tracks at the finest grid of tokens alone, as published")
    attention_until: Share = Field(
        0.8,
        validation_alias=AliasChoices("attention_until", "tau_A", "pnp_attn_t"),
        description="share of steps that inject self-attention",
    )

    @property
    def inflation(self) -> Inflation:
        return self.sees


def prepare(model: Family, request: Request, params: Params) -> Prepared:
    """Raises ModelError for a layer that the model does not have."""
    steps = len(request.timesteps)
    tracking = tuple(index < params.track_until * steps for index in range(steps))
    scales = {site.scale for site in model.sites() if site.kind == "self"}
    select = Select("self", scales=(min(scales),)) if params.compat else Select("self")

    def rules(window: Window, branches: tuple[str, ...]) -> tuple[Rule, ...]:
        frames = len(window.latents_FCYX)
        seeing = inflation_rules(model, params.sees, branches, steps, frames)
        if not any(tracking):
            return seeing
        kept = (KeepKeys(select, branches, tracking),) if params.likeness == "keys" else ()
        motion = None if window.pixels_F3YX is None else Motion(window.pixels_F3YX, params.flow)
        along = AlongTracks(
            select,
            branches,
            (lambda grid: standing(frames, grid)) if motion is None else motion.tracks,
            tracking,
            params.likeness,
        )
        return (*kept, *seeing, along)

    return replace(pnp.prepare(model, request, params, rules), facts=of_flow(params.flow))
