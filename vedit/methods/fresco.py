"""FRESCO: the clip noised and sampled anew, features and attention held to the source's motion and layout.

    features   of the decoder's last blocks agree along the flow, and resemble each other as the source's
    queries    mixed as the source's tokens resemble each other
    K, V       of the first frame, and of what later frames show for the first time
    tracks     each token attends to itself in other frames

Source: Yang et al. 2024 and williamyang1991/FRESCO; docs/methods.md 7.9. What the source shows is taken of
one pass of it at a low level of noise. Deviations: the published pipeline adds ControlNet and keyframes with
interpolation between them; tracks end at occlusions; resemblance along a track is that of queries and keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from pydantic import Field

from vedit.engine.noise import noise_like
from vedit.engine.rules import AlongTracks, KeepKeys, Plan, Rule, Steps, step_range
from vedit.engine.rules.guide import GatherTokens, Keep, Kept, SpatialGuide
from vedit.engine.rules.optimise import OptimiseFeatures
from vedit.engine.sample import Step, Stream, predict
from vedit.engine.tracks import Motion, standing
from vedit.methods import sdedit
from vedit.methods.base import Prepared, Request, Window
from vedit.methods.params import FlowParams, Share, Words, of_flow
from vedit.methods.sampled import Texts, bound, sites_of_layers
from vedit.models.family import Family
from vedit.models.sites import Select, Site

SUMMARY = "Sample the noised clip with attention and features held to its motion; no inversion."
NEEDS = frozenset({"pictures"})
GUIDED, GATHERED = 0, 1  # queries are mixed before keys and values come from elsewhere


class Params(FlowParams, sdedit.Params):
    attention_layers: Words = Field(
        ("up_blocks.2.attentions.*", "up_blocks.3.attentions.*"),
        description="transformers whose self-attention follows the source; * stands for any text",
    )
    feature_layers: Words = Field(
        ("up_blocks.1.upsamplers.0", "up_blocks.2.upsamplers.0"),
        description="layers whose output is optimised; * stands for any text",
    )
    guide: float = Field(
        0.2,
        ge=0,
        le=100,
        description="how sharply queries are mixed by the source's resemblance; 0 leaves them",
    )
    tracks: float = Field(
        0.2, ge=0, le=100, description="how sharply the places of a track are told apart; 0 takes their mean"
    )
    iterations: int = Field(20, ge=0, le=1000, description="steps of Adam on features; 0 leaves them")
    lr: float = Field(0.2, gt=0, le=10, description="step size on features")
    resemblance: float = Field(100.0, ge=0, description="weight of the resemblance within a frame")
    hold_until: Share = Field(
        1.0, description="share of steps that are held to the source's motion and layout"
    )
    source_level: Share = Field(
        0.0, description="noise in the pass that shows the source, as a share of the schedule's steps"
    )


def prepare(model: Family, request: Request, params: Params) -> Prepared:
    """Raises ModelError for a layer that the model does not have."""
    steps = len(request.timesteps)
    holding = step_range(steps, 0.0, params.hold_until)
    attention = sites_of_layers(model, "self", params.attention_layers, "attention_layers")
    features = (
        sites_of_layers(model, "up", params.feature_layers, "feature_layers") if params.iterations else []
    )
    texts = Texts(model, request, params)

    def rules(window: Window, branches: tuple[str, ...], kept: Kept) -> tuple[Rule, ...]:
        return held(params, window, branches, kept, holding, attention, features)

    plain = sdedit.prepare(model, request, params, lambda window, branches: rules(window, branches, {}))
    if not any(holding):
        return plain

    def run(window: Window) -> Iterator[Step]:
        kept = shown(model, request, params, texts, window, attention, features)
        held_to = sdedit.prepare(model, request, params, lambda seen, branches: rules(window, branches, kept))
        yield from held_to.run(window)

    held_bytes = bytes_of(model, request, attention, features)
    return replace(plain, run=run, before=1, held_bytes=held_bytes, facts=of_flow(params.flow))


def held(
    params: Params,
    window: Window,
    branches: tuple[str, ...],
    kept: Kept,
    holding: Steps,
    attention: list[Site],
    features: list[Site],
) -> tuple[Rule, ...]:
    """The rules of a window, by what the source showed."""
    if not any(holding):
        return ()
    frames = len(window.latents_FCYX)
    select = Select("self", params.attention_layers, expect=len(attention))
    motion = None if window.pixels_F3YX is None else Motion(window.pixels_F3YX, params.flow)
    tracks = (lambda grid: standing(frames, grid)) if motion is None else motion.tracks
    rules: list[Rule] = [KeepKeys(select, branches, holding)]
    if params.guide:
        rules.append(SpatialGuide(select, branches, kept, holding, params.guide, order=GUIDED))
    rules += [
        GatherTokens(select, branches, lambda grid: tracks(grid).begun(), holding, order=GATHERED),
        AlongTracks(select, branches, tracks, holding, "keys", params.tracks),
    ]
    if features:
        rules.append(
            OptimiseFeatures(
                Select("up", params.feature_layers, expect=len(features)),
                branches,
                (lambda grid: None) if motion is None else motion.warps,
                kept,
                holding,
                params.iterations,
                params.lr,
                params.resemblance,
            )
        )
    return tuple(rules)


def shown(
    model: Family,
    request: Request,
    params: Params,
    texts: Texts,
    window: Window,
    attention: list[Site],
    features: list[Site],
) -> Kept:
    """Queries, keys and features of the source, from one pass of the network."""
    kept: Kept = {}
    plan = [Keep(Select("self", params.attention_layers, expect=len(attention)), "src", kept)]
    if features:
        plan.append(
            Keep(Select("up", params.feature_layers, expect=len(features)), "src", kept, tensors=("h",))
        )
    clean = window.latents_FCYX.to(model.device)
    timestep = request.timesteps[round((1 - params.source_level) * (len(request.timesteps) - 1))]
    noise = noise_like(clean, request.seed, 1, shared=True, first_frame=window.first_frame)
    noisy = model.schedule.mix(clean, noise, model.schedule.level(timestep))
    prompt = request.source_prompt or request.target_prompt
    controller = bound(model, request, Plan(tuple(plan)), ("src",), len(clean))
    with controller.installed(), torch.inference_mode():
        stream = Stream("src", noisy, texts.of(prompt))
        predict(model, [stream], timestep, 0, controller, request.frames_per_call)
    return kept


def bytes_of(model: Family, request: Request, attention: list[Site], features: list[Site]) -> int:
    """What the source showed, kept to the end."""

    def cells(site: Site) -> int:
        rows, columns = site.grid(request.size)
        return rows * columns * model.width(site)

    each = 2 * sum(map(cells, attention)) + sum(map(cells, features))
    return each * request.frames * model.network_dtype.itemsize
