"""EasyV2V: follow an instruction, with a network that sees the clip, a mask and a reference picture.

Source: arXiv 2512.16920, for what is seen and how it is put together (`vedit.models.wan.conditions`);
neither its code nor its weights are released, so they come from `vedit train --method easyv2v`, or are the
embedded editor's. Inference is unpublished: steps, guidance and levels are the backbone's. Guidance is of
the text alone, and both halves see the source; `source_guidance` is that of InstructPix2Pix (Brooks et al.
2023, eq. 3). Shape letters: F frames, C channels, Y X latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import torch
from pydantic import Field

from vedit.engine.noise import noise_like
from vedit.engine.rules import Plan
from vedit.engine.sample import Step, Stream, branch_names, sample
from vedit.errors import UsageError, option
from vedit.methods.base import Prepared, Request, Window
from vedit.methods.params import SamplingParams
from vedit.methods.sampled import check_flow
from vedit.models.family import Family
from vedit.models.wan.weights import editor_for

SUMMARY = "Follow an instruction, with trained weights; the embedded ones know drawn scenes."
NEEDS = frozenset({"flow", "instruction"})

EXAMPLE = '"make the circle blue"'  # an instruction, as it is typed


class Params(SamplingParams):
    steps: int = Field(50, ge=1, le=1000, description="steps of sampling")
    guidance: float = Field(5.0, ge=1, le=100, description="how strongly the instruction leads; 1 is none")
    source_guidance: float = Field(
        1.0,
        ge=0,
        le=100,
        description="how strongly the clip leads, for weights that have also learnt without it",
    )
    shared_noise: bool = Field(False, description="the same noise for all frames")
    weights: str = Field("", description="folder or Hub id of trained weights; without it the embedded ones")


def longest(model: Family, params: Params) -> int:
    """Frames of a clip that are edited together: as many as the weights were trained on."""
    return editor_for(params.weights, model).recipe.frames


def spoken(model: Family, params: Params, instruction: str) -> tuple[Fraction, Fraction] | None:
    """When an instruction says that it holds, in shares of the clip; None for all of it, and for weights that
    are told so in free words. Raises UsageError for words that the weights do not know.
    """
    return editor_for(params.weights, model).timed(instruction)[1]


def prepare(model: Family, request: Request, params: Params) -> Prepared:
    """Raises ModelError for a model or weights that do not fit, UsageError for words that the weights do not
    know.
    """
    check_flow(model, "easyv2v")
    editor = editor_for(params.weights, model)
    text, _ = editor.timed(request.target_prompt)
    if request.reference is None and editor.needs_picture(text):
        raise UsageError(
            f'"{request.target_prompt}" speaks of a picture, and none is given.',
            "It shows what the edit should look like.",
            f"Add {option('ref', 'FILE')}, or make one of a frame: {option('ref_from', 0)}"
            f" {option('ref_edit', EXAMPLE)}",
        )
    if request.wants_attention:
        raise UsageError(
            f"{option('save_attention')} shows where the words of prompts look, and easyv2v follows an"
            " instruction.",
            "",
            f"Leave out {option('save_attention')}",
        )
    if params.source_guidance != 1 and not editor.recipe.drops_source:
        raise UsageError(
            f"source_guidance = {params.source_guidance:g} leads away from an edit without the clip, and"
            " these weights have never learnt one.",
            "",
            f"Try {option('set.source_guidance', 1)}",
        )
    names = tuple(branch_names([Stream("tgt", torch.zeros(1), 0, 0, params.guidance)]))

    @torch.inference_mode()
    def run(window: Window) -> Iterator[Step]:
        said, none = (editor.encode(each).to(model.device) for each in (text, params.negative_prompt))
        noise = noise_like(
            window.latents_FCYX, request.seed, 0, shared=params.shared_noise, first_frame=window.first_frame
        )
        stream = Stream("tgt", noise.to(model.device), said, none, params.guidance)
        with editor.network() as network:
            mask = None if window.mask_pixels is None else window.mask_pixels()
            network.given = editor.conditions(window.latents_FCYX, mask, request.reference)
            network.blind, network.source_guidance = none, params.source_guidance
            yield from sample(
                network, request.timesteps, [stream],
                frames_per_call=request.frames_per_call, first_frame=window.first_frame,
            )  # fmt: skip

    steps = len(request.timesteps)
    each = len(names) + 2 * (params.source_guidance != 1)
    return Prepared(
        run,
        names,
        Plan((), ()),
        steps,
        total=steps,
        cost=each * steps,
        beside=(request.frames if editor.recipe.way == "sequence" else 0) + (request.reference is not None),
        about=editor.about,
        facts={"weights_sha256": editor.sha256},
    )
