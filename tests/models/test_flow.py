"""Flow matching against diffusers' FlowMatchEulerDiscreteScheduler."""

from __future__ import annotations

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from vedit.errors import UsageError
from vedit.models.flow import Flow, Moving, read_moving


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    latents, output = torch.randn(
        2, 2, 4, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    return latents, output


@pytest.mark.parametrize("steps", [1, 4, 50])
@pytest.mark.parametrize("shift", [1.0, 3.0, 8.0])
def test_levels_and_steps_are_those_of_the_euler_scheduler(shift: float, steps: int) -> None:
    ours, theirs = Flow(shift), FlowMatchEulerDiscreteScheduler(shift=shift)
    theirs.set_timesteps(sigmas=[1 - step / steps for step in range(steps)])
    timesteps = ours.timesteps(steps)
    assert timesteps == pytest.approx(theirs.timesteps.tolist(), rel=1e-6)
    x, output = pair()
    for index, timestep in enumerate(timesteps):
        expected = theirs.step(output, theirs.timesteps[index], x).prev_sample
        found = ours.step(x, output, ours.level(timestep), ours.after(timesteps, index))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert ours.after(timesteps, steps - 1) == 0.0


@pytest.mark.parametrize("steps", [1, 2, 25])
def test_a_last_level_gives_the_spacing_that_the_scheduler_takes_by_itself(steps: int) -> None:
    theirs = FlowMatchEulerDiscreteScheduler()
    theirs.set_timesteps(steps)
    assert Flow(last=1 / 1000).timesteps(steps) == pytest.approx(theirs.timesteps.tolist(), rel=1e-6)


def test_mixing_is_the_scheduler_s_own_scaling_of_noise() -> None:
    theirs, ours = FlowMatchEulerDiscreteScheduler(shift=3.0), Flow(3.0)
    theirs.set_timesteps(10)
    x0, noise = pair()
    timestep = theirs.timesteps[4]
    torch.testing.assert_close(
        ours.mix(x0, noise, ours.level(float(timestep))),
        theirs.scale_noise(x0, timestep[None], noise),
        rtol=1e-6,
        atol=1e-6,
    )


@pytest.mark.parametrize("level", [0.05, 0.5, 1.0])
def test_the_true_direction_gives_clean_latents_and_noise_back(level: float) -> None:
    x0, noise = pair()
    x, flow = Flow().mix(x0, noise, level), Flow()
    torch.testing.assert_close(flow.to_x0(noise - x0, x, level), x0, rtol=0, atol=1e-14)
    torch.testing.assert_close(flow.to_eps(noise - x0, x, level), noise, rtol=0, atol=1e-14)


def test_a_step_there_and_back_along_one_direction_is_the_identity() -> None:
    x, output = pair()
    there = Flow().step(x, output, 0.9, 0.3)
    torch.testing.assert_close(Flow().step(there, output, 0.3, 0.9), x, rtol=0, atol=1e-14)


def test_more_steps_than_levels_are_refused() -> None:
    with pytest.raises(UsageError, match="1001 steps do not fit"):
        Flow().timesteps(1001)


MOVING = {
    "_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True, "base_shift": 0.95,
    "max_shift": 2.05, "base_image_seq_len": 1024, "max_image_seq_len": 4096, "shift_terminal": 0.1,
}  # fmt: skip


@pytest.mark.parametrize("kind", ["exponential", "linear"])
@pytest.mark.parametrize("tokens", [12, 1024, 7392])
def test_levels_that_move_with_a_clip_s_tokens_are_the_scheduler_s(tokens: int, kind: str) -> None:
    from diffusers.pipelines.ltx.pipeline_ltx import calculate_shift

    moving = read_moving({**MOVING, "time_shift_type": kind})
    assert isinstance(moving, Moving)
    theirs = FlowMatchEulerDiscreteScheduler.from_config({**MOVING, "time_shift_type": kind})
    for steps in (2, 30):
        mu = calculate_shift(tokens, 1024, 4096, 0.95, 2.05)
        theirs.set_timesteps(sigmas=[1 - step / steps for step in range(steps)], mu=mu)
        found = moving.at(tokens).timesteps(steps)
        assert found == pytest.approx(theirs.timesteps.tolist(), rel=1e-5)
        assert found[-1] == pytest.approx(100)  # it ends where shift_terminal says
    assert moving.at(tokens).timesteps(1) == [1000]


@pytest.mark.parametrize("steps", [1, 2, 5, 30])
def test_levels_that_stay_by_the_noise_are_those_of_the_condition_pipeline(steps: int) -> None:
    from diffusers.pipelines.ltx.pipeline_ltx_condition import linear_quadratic_schedule

    flow = read_moving({"_class_name": "FlowMatchEulerDiscreteScheduler"}, is_quadratic=True)
    assert isinstance(flow, Flow)
    expected = (1000 * linear_quadratic_schedule(steps)).tolist()
    assert flow.timesteps(steps) == pytest.approx(expected, rel=1e-5)
