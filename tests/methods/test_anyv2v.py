"""AnyV2V: docs/methods.md 7.7."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.engine import tiny
from tests.engine.motion import TinyFirstFrame
from tests.methods.inputs import Asked
from vedit.engine.invert import invert
from vedit.engine.rules import Replace
from vedit.errors import ModelError, UsageError
from vedit.methods import anyv2v
from vedit.methods.params import read_params

PROMPT, STEPS, FRAMES = "a red dog at night", 5, 3
EVERYTHING = {"feature_until": 1.0, "attention_until": 1.0, "motion_until": 1.0}
NOTHING = {"feature_until": 0.0, "attention_until": 0.0, "motion_until": 0.0}


@pytest.fixture(scope="module")
def model() -> TinyFirstFrame:
    return TinyFirstFrame()


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    """A clip of pixels, twice the latents' size as the tiny model has it."""
    generator = torch.Generator().manual_seed(6)
    return (
        torch.rand(FRAMES, 3, 2 * tiny.SIDE, 2 * tiny.SIDE, generator=generator, dtype=torch.float64) * 2 - 1
    )


@pytest.fixture(scope="module")
def clip(model: TinyFirstFrame, pixels: Tensor) -> Asked:
    """The clip, inverted with the prompt and its first frame."""
    clean, timesteps = tiny.latents(FRAMES), model.schedule.timesteps(STEPS)
    shown, _ = model.show(pixels[0], FRAMES)
    made = invert(model, timesteps, clean, model.encode_prompt(PROMPT), fixed_point=4, shown=shown)
    levels = {level.index: level.latents for level in made}
    stored = [*(levels[index] for index in range(STEPS)), clean]
    return Asked(clean, stored.__getitem__, timesteps, PROMPT, PROMPT, pixels_F3YX=pixels)


def settings(**more: Any) -> Any:
    return read_params(anyv2v.Params, {"steps": STEPS, "guidance": 3.0, **more}, "test")


def edited(model: TinyFirstFrame, clip: Asked, picture: Tensor, **more: Any) -> Tensor:
    request = dataclasses.replace(clip.request, reference=picture)
    *_, last = anyv2v.prepare(model, request, settings(**more)).run(clip.window)
    return last.latents["tgt"]


def error(found: Tensor, clip: Asked) -> float:
    return float((found - clip.latents_FCYX).pow(2).mean().sqrt())


def test_the_unedited_frame_and_everything_injected_reconstruct(
    model: TinyFirstFrame, clip: Asked, pixels: Tensor
) -> None:
    found = edited(model, clip, pixels[0], guidance=1.0, **EVERYTHING)
    assert error(found, clip) < 1e-3
    other = edited(model, clip, -pixels[0], guidance=1.0, **NOTHING)
    assert error(other, clip) > 10 * error(found, clip)


def test_what_is_injected_holds_the_clip_under_another_first_frame(
    model: TinyFirstFrame, clip: Asked, pixels: Tensor
) -> None:
    alone = edited(model, clip, -pixels[0], **NOTHING)
    for part in EVERYTHING:
        held = edited(model, clip, -pixels[0], **{**NOTHING, part: 1.0})
        assert float((held - alone).abs().max()) > 1e-6, f"{part} does nothing"


def test_fresh_noise_takes_the_place_of_the_inversion(
    model: TinyFirstFrame, clip: Asked, pixels: Tensor
) -> None:
    first, second = (edited(model, clip, pixels[0], random_ratio=ratio, **NOTHING) for ratio in (0.0, 1.0))
    assert float((first - second).abs().max()) > 1e-3
    again = edited(model, clip, pixels[0], random_ratio=1.0, **NOTHING)
    assert torch.equal(second, again)


def test_rules_are_those_of_the_published_code(model: TinyFirstFrame, clip: Asked, pixels: Tensor) -> None:
    """Its lists of layers, and shares 0.2, 0.2 and 0.5 of fifty steps."""
    request = dataclasses.replace(
        clip.request, reference=pixels[0], timesteps=tuple(model.schedule.timesteps(50))
    )
    plan = anyv2v.prepare(model, request, settings(steps=50)).plan
    rules = {rule.name: rule for rule in plan.rules if isinstance(rule, Replace)}
    assert {name: sum(rule.steps) for name, rule in rules.items()} == {
        "features": 10, "self-attention": 10, "attention over frames": 25
    }  # fmt: skip
    found = {
        name: [site.path for site in model.sites() if rule.select.matches(site)]
        for name, rule in rules.items()
    }
    assert found["features"] == ["up_blocks.1.resnets.1.conv2"]
    places = [(1, 1), (1, 2), *((block, place) for block in (2, 3) for place in (0, 1, 2))]
    for name, layer in (("self-attention", "attentions"), ("attention over frames", "temp_attentions")):
        assert found[name] == [
            f"up_blocks.{block}.{layer}.{place}.transformer_blocks.0.attn1" for block, place in places
        ]
        assert rules[name].targets == ("tgt/uncond", "tgt") and rules[name].tensors == ("q", "k")


def test_what_does_not_go_with_a_picture_is_refused(
    model: TinyFirstFrame, clip: Asked, pixels: Tensor
) -> None:
    request = dataclasses.replace(clip.request, reference=pixels[0])
    with pytest.raises(ModelError, match="motion_layers"):
        anyv2v.prepare(model, request, settings(motion_layers=("motion_modules",)))
    with pytest.raises(UsageError, match="edits by a picture"):
        anyv2v.prepare(model, dataclasses.replace(request, wants_attention=True), settings())
