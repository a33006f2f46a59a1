"""Sampling over branches: guidance, replay, texts by step, and what stops it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from tests.engine.tiny import SD_SCHEDULER, TinyModel, latents, unet
from vedit.engine.sample import Stream, branch_names, sample
from vedit.errors import VeditError


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


def end(model: TinyModel, streams: list[Stream], steps: int = 4, **more: Any) -> dict[str, Tensor]:
    *_, step = sample(model, model.schedule.timesteps(steps), streams, **more)
    return step.latents


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_equals_the_loop_of_a_diffusers_pipeline(model: TinyModel, guidance: float) -> None:
    scheduler = DDIMScheduler(**{key: value for key, value in SD_SCHEDULER.items() if key != "_class_name"})
    scheduler.set_timesteps(4)
    cond, uncond = model.encode_prompt("a cat"), model.encode_prompt("")
    z = latents(2)
    with torch.no_grad():
        for timestep in scheduler.timesteps:
            text = torch.cat([uncond.expand(2, -1, -1), cond.expand(2, -1, -1)])
            none, given = model.unet(torch.cat([z, z]), timestep, encoder_hidden_states=text).sample.chunk(2)
            z = scheduler.step(none + guidance * (given - none), timestep, z).prev_sample
    found = end(model, [Stream("tgt", latents(2), cond, uncond, guidance)])
    torch.testing.assert_close(found["tgt"], z, rtol=1e-6, atol=1e-6)


def test_branches_are_only_those_that_are_needed(model: TinyModel) -> None:
    text = model.encode_prompt("a")
    streams = [
        Stream("a", latents(), text, text, 1.0),
        Stream("b", latents(), text, text, 2.0),
        Stream("c", latents(), text, text, 2.0, replay=lambda i: latents()),
    ]
    assert branch_names(streams) == ["a", "b/uncond", "b", "c"]


def test_streams_that_no_rule_joins_do_not_touch_each_other(model: TinyModel) -> None:
    cat, dog, empty = (model.encode_prompt(text) for text in ("a cat", "a dog", ""))
    one, two = Stream("one", latents(2, 1), cat, empty, 3.0), Stream("two", latents(2, 2), dog, empty, 5.0)
    together = end(model, [one, two])
    torch.testing.assert_close(
        together["one"],
        end(model, [Stream("one", latents(2, 1), cat, empty, 3.0)])["one"],
        rtol=0,
        atol=1e-12,
    )
    torch.testing.assert_close(
        together["two"],
        end(model, [Stream("two", latents(2, 2), dog, empty, 5.0)])["two"],
        rtol=0,
        atol=1e-12,
    )


def test_a_replayed_stream_is_what_is_stored_at_every_step(model: TinyModel) -> None:
    text = model.encode_prompt("a cat")
    stored = [latents(2, seed) for seed in range(5)]
    asked: list[int] = []

    def replay(index: int) -> Tensor:
        asked.append(index)
        return stored[index]

    streams = [Stream("src", stored[0], text, replay=replay), Stream("tgt", latents(2), text)]
    for step in sample(model, model.schedule.timesteps(4), streams):
        assert torch.equal(step.latents["src"], stored[step.index + 1]) and "src" not in step.x0
    assert asked == [0, 1, 1, 2, 2, 3, 3, 4]


def test_starting_later_and_texts_by_step_or_frame(model: TinyModel) -> None:
    cat, dog = model.encode_prompt("a cat"), model.encode_prompt("a dog")
    asked: list[int] = []

    def text(step: int) -> Tensor:
        asked.append(step)
        return cat

    late = end(model, [Stream("tgt", latents(2), text)], start=2)
    assert sorted(set(asked)) == [2, 3]
    torch.testing.assert_close(late["tgt"], end(model, [Stream("tgt", latents(2), cat)], start=2)["tgt"])
    both = end(model, [Stream("tgt", latents(2), torch.cat([cat, dog]))], frames_per_call=1)["tgt"]
    torch.testing.assert_close(
        both[1], end(model, [Stream("tgt", latents(2), dog)])["tgt"][1], rtol=0, atol=1e-12
    )


def test_the_clean_latents_foreseen_at_the_last_step_are_the_result_up_to_its_noise_level(
    model: TinyModel,
) -> None:
    text = model.encode_prompt("a cat")
    *_, step = sample(model, model.schedule.timesteps(4), [Stream("tgt", latents(2), text)])
    assert float((step.x0["tgt"] - step.latents["tgt"]).abs().max()) < 0.1  # abar_0 is 0.99915
    assert (step.index, step.timestep) == (3, 1)


def test_a_latent_that_is_no_number_is_never_handed_on() -> None:
    broken = TinyModel(unet(seed=2))
    broken.unet.conv_out.bias.data.fill_(float("nan"))
    with pytest.raises(VeditError, match="frame 1 is not finite after step 1"):
        end(broken, [Stream("tgt", latents(2), broken.encode_prompt("a"))])


def test_half_precision_networks_keep_latents_in_float32() -> None:
    half = TinyModel(unet(torch.bfloat16))
    found = end(half, [Stream("tgt", latents(2).float(), half.encode_prompt("a").float())])["tgt"]
    assert found.dtype == torch.float32
    exact = end(TinyModel(), [Stream("tgt", latents(2), half.encode_prompt("a"))])["tgt"]
    assert float((found - exact).abs().max()) < 0.1
