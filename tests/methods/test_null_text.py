"""Null embeddings of an inversion in the methods that take them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.engine.tiny import TinyModel
from tests.methods.inputs import Asked, edit_input, result, steps_of
from vedit.engine.null_text import NullText, null_text
from vedit.methods import ddim, p2p, pnp
from vedit.methods.params import read_params

STEPS = 3
GUIDANCE = 7.5
SOURCE = "a red cat"


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


def optimised(model: TinyModel, clip: Asked, inner_steps: int) -> Asked:
    """The clip with null embeddings for the guidance of these tests."""
    settings = NullText(GUIDANCE, inner_steps=inner_steps, early_stop=0.0)
    text, empty = model.encode_prompt(clip.source_prompt), model.encode_prompt("")
    stored = lambda index: clip.trajectory(index).clone()  # inversion gives inference tensors
    steps = list(null_text(model, clip.timesteps, stored, text, empty, settings))
    return replace(clip, uncond=lambda index: steps[index].embedding)


def test_the_clip_s_own_prompt_at_full_guidance_comes_back_to_the_clip(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, SOURCE, STEPS)
    params = read_params(ddim.Params, {"steps": STEPS, "guidance": GUIDANCE}, "test")
    plain, guided = (result(ddim, model, one, params) for one in (clip, optimised(model, clip, 6)))
    assert float((guided - clip.latents_FCYX).pow(2).mean()) < 0.8 * float(
        (plain - clip.latents_FCYX).pow(2).mean()
    )


@pytest.mark.parametrize("null_text", ["both", "source"])
def test_embeddings_that_were_not_optimised_change_nothing(model: TinyModel, null_text: str) -> None:
    clip = edit_input(model, SOURCE, "a blue dog", STEPS)
    params = read_params(
        p2p.Params,
        {"steps": STEPS, "guidance": GUIDANCE, "source_branch": "resample", "null_text": null_text},
        "test",
    )
    assert torch.equal(
        result(p2p, model, optimised(model, clip, 0), params), result(p2p, model, clip, params)
    )


def test_decoupled_guidance_gives_the_embeddings_to_the_source_only(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, "a blue dog", STEPS)
    table = {
        "steps": STEPS,
        "guidance": GUIDANCE,
        "source_branch": "resample",
        "cross_replace": 0.0,
        "self_replace": 0.0,
    }
    last = {}
    for null in ("both", "source", "none"):
        *_, step = steps_of(
            p2p,
            model,
            optimised(model, clip, 3),
            read_params(p2p.Params, {**table, "null_text": null}, "test"),
        )
        last[null] = step.latents
    assert torch.equal(last["both"]["src"], last["source"]["src"]) and not torch.equal(
        last["source"]["src"], last["none"]["src"]
    )
    assert torch.equal(last["source"]["tgt"], last["none"]["tgt"]) and not torch.equal(
        last["both"]["tgt"], last["none"]["tgt"]
    )


def test_plug_and_play_takes_them_too(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, "a blue dog", STEPS)
    params = read_params(pnp.Params, {"steps": STEPS, "guidance": GUIDANCE}, "test")
    with_null = optimised(model, clip, 2)
    assert not torch.equal(result(pnp, model, with_null, params), result(pnp, model, clip, params))
    assert torch.equal(
        result(pnp, model, with_null, params.model_copy(update={"null_text": "none"})),
        result(pnp, model, clip, params),
    )
