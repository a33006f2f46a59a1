"""Noise levels and the DDIM step, against diffusers' schedulers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler

from tests.engine.tiny import SD_SCHEDULER
from vedit.errors import ModelError, UsageError
from vedit.models.alpha_bar import AlphaBar, read_schedule

CONFIGS: dict[str, dict[str, Any]] = {
    "sd15": {},
    "offset 0": {"steps_offset": 0},
    "alpha to one": {"set_alpha_to_one": True},
    "trailing": {"timestep_spacing": "trailing"},
    "linspace": {"timestep_spacing": "linspace"},
    "linear": {"beta_schedule": "linear"},
    "v": {"prediction_type": "v_prediction"},
    "sample": {"prediction_type": "sample"},
    "shapes": {"beta_end": 0.03, "prediction_type": "v_prediction"},
    "zero snr": {
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
    },
}


def config(name: str) -> dict[str, Any]:
    return {key: value for key, value in {**SD_SCHEDULER, **CONFIGS[name]}.items() if key != "_class_name"}


def on_their_table(theirs: Any, ours: AlphaBar) -> AlphaBar:
    """Our schedule with diffusers' own table, which is rounded to float32: what is left to compare is the
    step.
    """
    theirs.alphas_cumprod = theirs.alphas_cumprod.double()
    final = 1.0 if ours.final_alpha_bar == 1.0 else float(theirs.alphas_cumprod[0])
    return dataclasses.replace(ours, alpha_bar=theirs.alphas_cumprod, final_alpha_bar=final)


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    latents, output = torch.randn(2, 2, 4, 3, 3, generator=generator, dtype=torch.float64)
    return latents, output


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("steps", [10, 50])
def test_every_sampling_step_equals_ddim_scheduler(name: str, steps: int) -> None:
    theirs = DDIMScheduler(**config(name))
    ours = on_their_table(theirs, read_schedule(config(name)))
    theirs.set_timesteps(steps)
    timesteps = ours.timesteps(steps)
    assert timesteps == theirs.timesteps.tolist()
    latents, output = pair()
    for index, timestep in enumerate(timesteps):
        if name == "zero snr" and index == 0:
            continue  # their level is 0 there, which only a v-prediction can step from; ours is 2^-24
        level, after = ours.level(timestep), ours.after(timesteps, index)
        expected = theirs.step(output, timestep, latents)
        torch.testing.assert_close(
            ours.to_x0(output, latents, level), expected.pred_original_sample, rtol=1e-6, atol=1e-6
        )
        if (
            name != "linspace"
        ):  # diffusers steps to t - T // N, which is not the next timestep of this spacing
            found = ours.step(latents, output, level, after)
            torch.testing.assert_close(found, expected.prev_sample, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["sd15", "offset 0", "alpha to one", "v", "shapes"])
@pytest.mark.parametrize("steps", [10, 50])
def test_every_inversion_step_equals_ddim_inverse_scheduler(name: str, steps: int) -> None:
    theirs = DDIMInverseScheduler(**config(name))
    ours = on_their_table(theirs, read_schedule(config(name)))
    theirs.set_timesteps(steps)
    ascending = ours.timesteps(steps)[::-1]
    assert ascending == theirs.timesteps.tolist()
    latents, output = pair()
    before = ours.final_alpha_bar
    for place, timestep in enumerate(ascending):
        expected = theirs.step(output, timestep, latents).prev_sample
        found = ours.step(latents, output, before, ours.level(timestep))
        if (
            place or name != "alpha to one"
        ):  # diffusers starts its inverse at abar_0 there, its sampler ends at 1
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
        before = ours.level(timestep)


@pytest.mark.parametrize(
    ("steps", "offset", "first", "second", "last"),
    [
        (50, 1, 981, 961, 1),
        (50, 0, 980, 960, 0),
        (500, 1, 999, 997, 1),
        (999, 1, 999, 998, 1),
        (999, 0, 998, 997, 0),
        (1000, 0, 999, 998, 0),
    ],
)
def test_timesteps_of_stable_diffusion(steps: int, offset: int, first: int, second: int, last: int) -> None:
    found = read_schedule({**SD_SCHEDULER, "steps_offset": offset}).timesteps(steps)
    assert (found[0], found[1], found[-1], len(found)) == (first, second, last, steps)


def test_50_and_100_steps_lie_inside_500_and_999_and_30_do_not() -> None:
    schedule = read_schedule(SD_SCHEDULER)
    for fine in (500, 999):
        stored = set(schedule.timesteps(fine))
        assert set(schedule.timesteps(50)) <= stored and set(schedule.timesteps(100)) <= stored
    assert not set(schedule.timesteps(30)) <= set(schedule.timesteps(500))


@pytest.mark.parametrize("steps", [0, 1000, 1001])
def test_step_counts_that_do_not_fit_are_refused(steps: int) -> None:
    with pytest.raises(UsageError):
        read_schedule(SD_SCHEDULER).timesteps(steps)


def test_levels_of_stable_diffusion_are_those_of_its_table() -> None:
    schedule = read_schedule(SD_SCHEDULER)
    theirs = DDIMScheduler(**config("sd15"))
    torch.testing.assert_close(schedule.alpha_bar.float(), theirs.alphas_cumprod, rtol=2e-6, atol=0)
    assert (
        schedule.final_alpha_bar == float(schedule.alpha_bar[0])
        and schedule.level(-1) == schedule.final_alpha_bar
    )
    assert read_schedule({**SD_SCHEDULER, "set_alpha_to_one": True}).final_alpha_bar == 1.0


@pytest.mark.parametrize("name", ["sd15", "v", "sample"])
def test_a_prediction_and_its_noise_and_clean_latents_agree(name: str) -> None:
    schedule, (latents, output) = read_schedule(config(name)), pair()
    level = schedule.level(500)
    eps, x0 = schedule.to_eps(output, latents, level), schedule.to_x0(output, latents, level)
    torch.testing.assert_close(schedule.mix(x0, eps, level), latents, rtol=1e-5, atol=1e-5)


def test_a_step_there_and_back_is_the_identity() -> None:
    latents, eps = (part.double() for part in pair())
    schedule = read_schedule(SD_SCHEDULER)
    there = schedule.step(latents, eps, 0.9, 0.3)
    torch.testing.assert_close(schedule.step(there, eps, 0.3, 0.9), latents, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"prediction_type": "flow"}, "flow"),
        ({"beta_schedule": "squaredcos_cap_v2"}, "squaredcos"),
        (None, "no noise table"),
    ],
)
def test_other_families_are_refused_by_name(wrong: dict[str, Any] | None, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        read_schedule(
            {**SD_SCHEDULER, **wrong} if wrong else {"_class_name": "FlowMatchEulerDiscreteScheduler"}
        )


def test_a_trained_table_is_used_as_it_is() -> None:
    schedule = read_schedule({"trained_betas": [0.1, 0.5], "set_alpha_to_one": True})
    assert schedule.alpha_bar.tolist() == pytest.approx([0.9, 0.45])


def test_steps_that_an_inversion_has_not_stored_are_refused_with_those_that_fit() -> None:
    schedule = read_schedule(SD_SCHEDULER)
    schedule.check_stored(schedule.timesteps(50), schedule.timesteps(500), "it")
    with pytest.raises(UsageError) as error:
        schedule.check_stored(schedule.timesteps(8), schedule.timesteps(12), "an inversion of 12 steps")
    assert (
        error.value.what
        == "an inversion of 12 steps holds 12 levels, and 8 steps need timestep 876, which is not among them."
    )
    # 6 is no divisor's luck: 1000 // 6 = 166 is twice 1000 // 12 = 83, while 1000 // 4 = 250 is not thrice
    assert (error.value.right, error.value.next_step) == ("Step counts that fit: 1, 6, 12.", "Try --steps 6")
    for count in (1, 6, 12):
        schedule.check_stored(schedule.timesteps(count), schedule.timesteps(12), "it")
    with pytest.raises(UsageError) as error:  # of many that fit those near to what was asked are named
        schedule.check_stored(schedule.timesteps(3), schedule.timesteps(500), "it")
    assert error.value.next_step == "Try --steps 4" and "500" not in error.value.right


@pytest.mark.parametrize("spacing", ["linspace", "trailing"])
@pytest.mark.parametrize(("steps", "stored"), [(50, 500), (30, 500), (7, 50), (20, 20), (33, 999)])
def test_sampling_moves_to_the_nearest_level_of_an_inversion(spacing: str, steps: int, stored: int) -> None:
    schedule = read_schedule({**SD_SCHEDULER, "timestep_spacing": spacing})
    levels = schedule.timesteps(stored)
    found = schedule.nearest_stored(steps, levels)
    assert set(found) <= set(levels) and found == sorted(set(found), reverse=True) and len(found) == steps
    stride = np.diff(sorted(levels)).max() if stored > 1 else 0
    assert np.abs(np.subtract(found, schedule.timesteps(steps))).max() <= stride // 2


def test_leading_steps_stay_where_they_are() -> None:
    schedule = read_schedule({**SD_SCHEDULER, "timestep_spacing": "leading"})
    assert schedule.nearest_stored(30, schedule.timesteps(500)) == schedule.timesteps(30)
