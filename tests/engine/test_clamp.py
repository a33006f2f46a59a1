"""Sampling with clamped clean latents, DDPM's noise and held parts, against diffusers' scheduler."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from diffusers import DDIMScheduler

from vedit.engine import clamp as module
from vedit.engine.clamp import dynamic_threshold, read_clip
from vedit.engine.sample import Hold, Stream, guided, sample
from vedit.errors import UsageError, VeditError
from vedit.models.alpha_bar import cosine

SHAPE = (2, 3, 4, 4)


def clip(seed=0, scale=1.0):
    return scale * torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def output_of(x, timestep):
    """A network that is a formula."""
    return torch.sin(3 * x + timestep / 100) + 0.2 * x


class Formula:
    """A denoiser whose network is a function of latents and timestep; frames go through together."""

    frame_axis, sees_picture, network_dtype = True, False, torch.float64

    def __init__(self, schedule, output=output_of):
        self.schedule, self.output = schedule, output

    def predict(self, latents, timestep, text):
        return self.output(latents, timestep)


def denoise(output, schedule, timesteps, x, *, start=0, **settings):
    stream = Stream("clip", x, torch.zeros(1, 1, 1), **settings)
    return sample(Formula(schedule, output), timesteps, [stream], start=start)


def noises(seed=5):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(SHAPE, generator=generator, dtype=torch.float64)


def theirs(schedule):
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        clip_sample=False,
        set_alpha_to_one=True,
        prediction_type=schedule.prediction,
        timestep_spacing=schedule.spacing,
    )
    scheduler.alphas_cumprod = schedule.alpha_bar  # theirs is rounded to float32
    return scheduler


def test_the_cosine_table_is_diffusers_own_up_to_its_float32():
    assert torch.allclose(
        cosine(1000, "epsilon").alpha_bar,
        DDIMScheduler(beta_schedule="squaredcos_cap_v2").alphas_cumprod.double(),
        atol=1e-6,
    )
    first = math.cos(0.009 / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert math.isclose(cosine(1000, "epsilon").alpha_bar[0], first, rel_tol=1e-12)


@pytest.mark.parametrize("timestep", [0, 500, 999])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_target_and_x0_are_inverse(prediction, timestep):
    schedule = cosine(1000, prediction)
    level = schedule.alpha_bar[timestep].view(1, 1, 1, 1)
    x0, noise = clip(0), clip(1)
    noisy = schedule.mix(x0, noise, level)
    found = schedule.to_x0(schedule.target(x0, noise, level), noisy, level)
    assert torch.allclose(found, x0, atol=1e-10, rtol=0)
    assert torch.allclose(
        schedule.to_eps(schedule.target(x0, noise, float(level)), noisy, float(level)), noise, atol=1e-6
    )


@pytest.mark.parametrize("steps", [10, 20, 50])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_every_step_equals_ddim_scheduler(steps, prediction, spacing, eta):
    schedule = cosine(1000, prediction, spacing)
    scheduler = theirs(schedule)
    scheduler.set_timesteps(steps)
    timesteps = schedule.timesteps(steps)
    assert timesteps == scheduler.timesteps.tolist()
    x = their_x = clip()
    noise, their_noise = noises(), noises()
    for done in denoise(output_of, schedule, timesteps, x, eta=eta, noise=noise):
        variance = (
            their_noise() if eta and done.index < steps - 1 else torch.zeros(SHAPE, dtype=torch.float64)
        )
        out = scheduler.step(
            output_of(their_x, done.timestep), done.timestep, their_x, eta=eta, variance_noise=variance
        )
        their_x = out.prev_sample
        scale = their_x.abs().max()
        assert torch.allclose(done.latents["clip"], their_x, atol=1e-6 * scale, rtol=1e-6)
        assert torch.allclose(
            done.x0["clip"],
            out.pred_original_sample,
            atol=1e-6 * out.pred_original_sample.abs().max(),
            rtol=1e-6,
        )
    assert torch.allclose(done.latents["clip"], done.x0["clip"])


def test_linspace_takes_diffusers_timesteps():
    """Its steps differ: diffusers goes from t to t - T // S, and not to the next timestep of its own list."""
    schedule = cosine(1000, "epsilon", "linspace")
    scheduler = theirs(schedule)
    scheduler.set_timesteps(20)
    assert schedule.timesteps(20) == scheduler.timesteps.tolist()


@pytest.mark.parametrize("quantile", [0.37, 0.9, 0.995, 1.0])
def test_the_dynamic_threshold_is_diffusers_own_to_the_bit(quantile):
    scheduler = DDIMScheduler(thresholding=True, dynamic_thresholding_ratio=quantile, sample_max_value=1e9)
    for seed in range(20):
        x0 = clip(seed, 3.0).float()
        assert torch.equal(dynamic_threshold(x0, quantile), scheduler._threshold_sample(x0).view_as(x0))


def test_the_dynamic_threshold_leaves_what_is_in_range_and_treats_clips_apart():
    x0 = clip().clamp(-1, 1)
    assert torch.equal(dynamic_threshold(x0, 0.9), x0)
    loud = torch.stack([x0[0], 5 * x0[1]])
    assert torch.equal(dynamic_threshold(loud, 0.9)[0], x0[0])


def test_a_clip_too_large_for_torch_quantile_is_thresholded_to_its_nearest_value(monkeypatch):
    x0 = clip(0, 3.0)
    exact = dynamic_threshold(x0, 1.0)
    monkeypatch.setattr(module, "LARGEST_QUANTILE", 5)
    assert torch.equal(dynamic_threshold(x0, 1.0), exact)


def test_clipping_makes_eps_again_from_the_clipped_x0():
    schedule = cosine(1000, "epsilon")
    timesteps = schedule.timesteps(10)
    first = next(denoise(output_of, schedule, timesteps, clip(0, 3.0), clamp=read_clip("static")))
    level, after = schedule.level(900), schedule.level(800)
    x0 = ((clip(0, 3.0) - (1 - level) ** 0.5 * output_of(clip(0, 3.0), 900)) / level**0.5).clamp(-1, 1)
    eps = (clip(0, 3.0) - level**0.5 * x0) / (1 - level) ** 0.5
    assert torch.allclose(first.latents["clip"], after**0.5 * x0 + (1 - after) ** 0.5 * eps, atol=1e-12)


@pytest.mark.parametrize("text", ["dynamo", "dynamic:2", "dynamic:x", "static:1", "dynamic:0", ""])
def test_a_clip_that_is_not_known_is_refused(text):
    with pytest.raises(UsageError, match="is not known"):
        read_clip(text)


def test_sampling_repeats_bit_by_bit():
    schedule = cosine(1000, "v_prediction")
    for eta in (0.0, 1.0):
        ends = []
        for _ in range(2):
            *_, last = denoise(output_of, schedule, schedule.timesteps(10), clip(), eta=eta, noise=noises())
            ends.append(last.latents["clip"])
        assert torch.equal(*ends)


def test_guidance_leads_from_the_unconditional_output():
    cond, uncond = clip(0), clip(1)
    assert torch.allclose(guided(cond, uncond, 2.5), 2.5 * cond - 1.5 * uncond)
    assert torch.equal(guided(cond, uncond, 0.0), uncond)


def test_outside_the_mask_the_held_clip_comes_back_and_inside_it_is_made_anew():
    schedule = cosine(1000, "v_prediction")
    timesteps = schedule.timesteps(10)
    kept, mask = clip(9), torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    mask[..., :2] = 1
    start = 4
    x = schedule.mix(kept, clip(3), schedule.level(timesteps[start]))
    done = list(
        denoise(output_of, schedule, timesteps, x, start=start, noise=noises(), hold=Hold(kept, mask))
    )
    assert [step.index for step in done] == [4, 5, 6, 7, 8, 9]
    assert torch.equal(done[-1].latents["clip"][..., 2:], kept[..., 2:])
    assert not torch.allclose(done[-1].latents["clip"][..., :2], kept[..., :2], atol=0.1)


def test_a_clip_that_stops_being_finite_is_an_error_and_not_a_black_one():
    schedule = cosine(1000, "epsilon")
    with pytest.raises(VeditError, match="not finite after step 3"):
        list(
            denoise(lambda x, t: x * (math.nan if t == 700 else 1), schedule, schedule.timesteps(10), clip())
        )


def test_a_schedule_may_be_sampled_by_another_spacing():
    schedule = dataclasses.replace(cosine(1000, "epsilon"), spacing="trailing")
    assert schedule.timesteps(4) == [999, 749, 499, 249]
