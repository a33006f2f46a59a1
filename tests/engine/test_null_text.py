"""Null-text inversion: the published loop, frames by themselves and together, and what it is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.engine.tiny import TinyModel, latents
from vedit.engine.invert import invert
from vedit.engine.null_text import NullStep, NullText, null_text
from vedit.engine.sample import Stream, sample

STEPS = 3
PROMPT = "a red cat"


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


@pytest.fixture(scope="module")
def path(model: TinyModel) -> list[Tensor]:
    """The inverted latents of two frames by step index, then the clip."""
    timesteps, clean = model.schedule.timesteps(STEPS), latents(2)
    levels = {
        level.index: level.latents.clone()
        for level in invert(model, timesteps, clean, model.encode_prompt(PROMPT))
    }
    return [*(levels[index] for index in range(STEPS)), clean]


def optimise(
    model: TinyModel, trajectory: Callable[[int], Tensor], settings: NullText, **more: Any
) -> list[NullStep]:
    timesteps = model.schedule.timesteps(STEPS)
    return list(
        null_text(
            model,
            timesteps,
            trajectory,
            model.encode_prompt(PROMPT),
            model.encode_prompt(""),
            settings,
            **more,
        )
    )


def published(model: TinyModel, path: list[Tensor], settings: NullText) -> list[Tensor]:
    """`null_optimization` of google/prompt-to-prompt for one frame, with its two constants as shares of the
    steps.
    """
    timesteps, text = model.schedule.timesteps(STEPS), model.encode_prompt(PROMPT)
    uncond, now, found = model.encode_prompt("").clone(), path[0], []
    for i, t in enumerate(timesteps):
        a, b = model.schedule.level(t), model.schedule.after(timesteps, i)

        def previous(noise: Tensor, at: Tensor, a: float = a, b: float = b) -> Tensor:
            return b**0.5 * (at - (1 - a) ** 0.5 * noise) / a**0.5 + (1 - b) ** 0.5 * noise

        uncond = uncond.clone().detach().requires_grad_(True)
        optimizer = torch.optim.Adam([uncond], lr=settings.lr * (1 - i * 50 / STEPS / 100))
        with torch.no_grad():
            conditioned = model.unet(now, t, encoder_hidden_states=text).sample
        for _ in range(settings.inner_steps):
            noise = model.unet(now, t, encoder_hidden_states=uncond).sample
            loss = torch.nn.functional.mse_loss(
                previous(noise + settings.guidance * (conditioned - noise), now), path[i + 1]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if loss.item() < settings.early_stop + i * 50 / STEPS * 2e-5:
                break
        found.append(uncond.detach())
        with torch.no_grad():
            noise = model.unet(now, t, encoder_hidden_states=uncond).sample
            now = previous(noise + settings.guidance * (conditioned - noise), now)
    return found


@pytest.mark.parametrize("early_stop", [1e-4, 1e9])
def test_equals_the_published_loop(model: TinyModel, path: list[Tensor], early_stop: float) -> None:
    settings = NullText(inner_steps=3, early_stop=early_stop)
    one = [level[:1] for level in path]
    found = optimise(model, one.__getitem__, settings)
    for step, expected in zip(found, published(model, one, settings), strict=True):
        torch.testing.assert_close(step.embedding, expected, rtol=0, atol=1e-9)


def test_without_inner_steps_the_embedding_stays_bit_for_bit(model: TinyModel, path: list[Tensor]) -> None:
    for shared, rows in ((True, 1), (False, 2)):
        for step in optimise(model, path.__getitem__, NullText(inner_steps=0, shared=shared)):
            assert torch.equal(step.embedding, model.encode_prompt("").repeat(rows, 1, 1))


@pytest.mark.parametrize("shared", [True, False])
def test_the_path_is_followed_closer_the_more_is_optimised(
    model: TinyModel, path: list[Tensor], shared: bool
) -> None:
    errors = [
        optimise(model, path.__getitem__, NullText(inner_steps=n, shared=shared, early_stop=0.0))[-1].errors
        for n in (0, 5)
    ]
    assert bool((errors[1] < 0.9 * errors[0]).all())


def test_guided_sampling_with_the_embeddings_comes_back_to_the_clip(
    model: TinyModel, path: list[Tensor]
) -> None:
    timesteps, text = model.schedule.timesteps(STEPS), model.encode_prompt(PROMPT)

    def missed(uncond: Any) -> float:
        *_, last = sample(model, timesteps, [Stream("tgt", path[0], text, uncond, 7.5)])
        return float((last.latents["tgt"] - path[-1]).pow(2).mean())

    steps = optimise(model, path.__getitem__, NullText(inner_steps=5, early_stop=0.0, shared=False))
    optimised = missed(lambda index: steps[index].embedding)
    assert optimised == pytest.approx(float(steps[-1].errors.mean()), rel=1e-9)
    assert optimised < 0.8 * missed(model.encode_prompt(""))


def test_frames_with_their_own_embeddings_do_not_touch_each_other(
    model: TinyModel, path: list[Tensor]
) -> None:
    settings = NullText(inner_steps=2, shared=False, early_stop=1e-4)
    together = optimise(model, path.__getitem__, settings)
    for frame in range(2):
        alone = [level[frame : frame + 1] for level in path]
        for both, one in zip(together, optimise(model, alone.__getitem__, settings), strict=True):
            torch.testing.assert_close(both.embedding[frame], one.embedding[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_chunks_of_frames_give_what_all_at_once_give(
    model: TinyModel, path: list[Tensor], shared: bool
) -> None:
    settings = NullText(inner_steps=1, shared=shared)
    whole = optimise(model, path.__getitem__, settings)
    for a, b in zip(whole, optimise(model, path.__getitem__, settings, frames_per_call=1), strict=True):
        torch.testing.assert_close(a.embedding, b.embedding, rtol=0, atol=1e-8)


def test_the_network_is_left_as_it_was(model: TinyModel, path: list[Tensor]) -> None:
    before = {name: weight.clone() for name, weight in model.unet.named_parameters()}
    optimise(model, path.__getitem__, replace(NullText(), inner_steps=1))
    assert not model.unet.is_gradient_checkpointing
    assert all(
        torch.equal(before[name], weight) and weight.grad is None
        for name, weight in model.unet.named_parameters()
    )


def test_half_precision_optimises_an_embedding_in_full_precision(path: list[Tensor]) -> None:
    half = TinyModel()
    half.unet.to(torch.bfloat16)
    errors = [optimise(half, path.__getitem__, NullText(inner_steps=n, early_stop=0.0))[-1] for n in (0, 4)]
    assert errors[1].embedding.dtype in (torch.float32, torch.float64)
    assert bool((errors[1].errors < errors[0].errors).all())
