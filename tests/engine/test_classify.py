"""Which prompt a network foresees a clip by: against the loss written out, and the embedded model's own scenes."""

from __future__ import annotations

import pytest
import torch

from tests.engine.tiny import TinyModel, latents
from vedit.engine.classify import foreseen_better
from vedit.engine.noise import noise_like


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


def test_it_is_the_difference_of_the_losses_at_even_levels(model: TinyModel) -> None:
    clean = latents(2)
    texts = model.encode_prompt("a red dog"), model.encode_prompt("a cat at night")
    expected = 0.0
    for number, timestep in enumerate(model.schedule.timesteps(4)[1:]):
        bar = model.schedule.level(timestep)
        noise = noise_like(clean, 5, 11, number, shared=False)
        noisy = bar**0.5 * clean + (1 - bar) ** 0.5 * noise
        losses = []
        for text in texts:
            with torch.no_grad():
                eps = model.unet(noisy, timestep, encoder_hidden_states=text.expand(2, -1, -1)).sample
            x0 = (noisy - (1 - bar) ** 0.5 * eps) / bar**0.5
            velocity, wanted = (
                bar**0.5 * eps - (1 - bar) ** 0.5 * x0,
                bar**0.5 * noise - (1 - bar) ** 0.5 * clean,
            )
            losses.append(float((velocity - wanted).square().mean()))
        expected += (losses[1] - losses[0]) / 3
    # a network that predicts noise foresees eps, and its velocity differs by that and by x0
    found = foreseen_better(model, clean, texts, seed=5, levels=3)
    assert found == pytest.approx(expected, rel=1e-9)


def test_equal_texts_are_equally_good_and_turned_round_the_sign_turns(model: TinyModel) -> None:
    clean = latents(2)
    one, other = model.encode_prompt("a red dog"), model.encode_prompt("a cat at night")
    assert foreseen_better(model, clean, (one, one), seed=0) == 0.0
    there, back = (foreseen_better(model, clean, pair, seed=0) for pair in ((one, other), (other, one)))
    assert there == -back != 0.0


def test_the_embedded_model_knows_what_a_drawn_scene_shows() -> None:
    from vedit.data import scenes
    from vedit.data.cases import load_cases
    from vedit.models.load import load_model

    known, cases = load_model("shapes", None), load_cases("drawn-scenes-tuning")
    for kind in ("colour", "shape"):
        case = next(case for case in cases if case.kind == kind)
        clip = known.encode_frames(scenes.clip(case.scene, 2) * 2 - 1)
        texts = known.encode_prompt(case.source_prompt), known.encode_prompt(case.target_prompt)
        assert foreseen_better(known, clip, texts, seed=0) > 0.01
