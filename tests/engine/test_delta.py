"""The field between two flows on Gaussians, where the edit is known, and its corrections by hand."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from vedit.engine.delta import Delta, contrasted, redirected
from vedit.models.flow import Flow

SOURCE, TARGET, SPREAD = 0.7, 2.2, 0.5  # means, and the deviation of both


def velocity(z: Tensor, level: float, mean: float) -> Tensor:
    power = (1 - level) ** 2 * SPREAD**2 + level**2
    return (level - (1 - level) * SPREAD**2) / power * (z - (1 - level) * mean) - mean


def edited(delta: Delta, n_max: int, *, steps: int = 50, fixed: bool = False) -> Tensor:
    """The shift of a clip of the first Gaussian towards the second, in differences of their means."""
    generator = torch.Generator().manual_seed(0)
    x = SOURCE + SPREAD * torch.randn(4, 2, 3, 3, generator=generator, dtype=torch.float64)
    flow, z = Flow(3.0), x
    timesteps = flow.timesteps(steps)
    noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    for index in range(steps - n_max, steps):
        level, after = flow.level(timesteps[index]), flow.after(timesteps, index)
        if not fixed:
            noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        at = partial(velocity, level=level)
        z, _ = delta.step(
            x, z, [noise], level, after, lambda p, q, at=at: (at(p, mean=TARGET), at(q, mean=SOURCE))
        )
    return (z - x) / (TARGET - SOURCE)


@pytest.mark.parametrize("steps", [4, 50])
@pytest.mark.parametrize("fixed", [False, True])
def test_the_edit_between_gaussians_of_equal_spread_is_exact_at_any_number_of_steps(
    steps: int, fixed: bool
) -> None:
    shift = edited(Delta(), steps, steps=steps, fixed=fixed)
    torch.testing.assert_close(shift, torch.ones_like(shift), rtol=0, atol=1e-12)


def test_fewer_levels_carry_the_edit_as_far_as_the_formula_says() -> None:
    level = 3 * 0.7 / (1 + 2 * 0.7)
    power = (1 - level) ** 2 * SPREAD**2 + level**2
    wanted = 1 - (1 - level) * SPREAD / math.sqrt(power)
    assert wanted == pytest.approx(0.929, abs=1e-3)
    for steps, error in ((50, 5e-3), (500, 5e-4)):  # of Euler's steps, which are of first order
        shift = edited(Delta(), 7 * steps // 10, steps=steps)
        assert float(shift.std()) < 1e-12 and float(shift.mean()) == pytest.approx(wanted, abs=error)


def test_noise_that_forgets_the_edit_overshoots() -> None:
    assert float(edited(Delta(kappa=1.0), 50).mean()) == pytest.approx(1.135, abs=0.02)


def test_a_pull_keeps_the_clip_nearer() -> None:
    assert float(edited(Delta(zeta=0.05), 35).mean()) < float(edited(Delta(), 35).mean()) - 0.05


def test_equal_velocities_leave_every_bit() -> None:
    x, noise = torch.randn(2, 3, 4, 5, 5, generator=torch.Generator().manual_seed(1))
    for delta in (Delta(), Delta(kappa=1.0, zeta=0.1, mean_free=0.5, along=0.25)):
        moved, field = delta.step(x, x, [noise], 0.7, 0.6, lambda p, q: (torch.sin(p), torch.sin(q)))
        assert torch.equal(moved, x) and not bool(field.any())


def test_what_goes_along_the_source_is_dropped_and_what_goes_against_it_grows() -> None:
    source = torch.tensor([2.0, 0.0]).reshape(1, 2, 1, 1)
    with_it, against = (torch.tensor(value).reshape(1, 2, 1, 1) for value in ([3.0, 4.0], [-3.0, 4.0]))
    assert redirected(with_it, source, 0.25).flatten().tolist() == [0.0, 4.0]
    assert redirected(against, source, 0.25).flatten().tolist() == [-3.75, 4.0]
    assert redirected(with_it, 0 * source, 0.25).flatten().tolist() == [3.0, 4.0]


def test_the_mean_of_fields_is_led_away_from_the_two_that_fit_least() -> None:
    fields = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 3.0]]).reshape(3, 1, 2, 1, 1)
    mean = torch.tensor([2 / 3, 1.0])
    worst = torch.tensor([1.0, 0.0])  # both of the first kind: their cosine to the mean is .55, not .83
    found = contrasted(fields, 2.75).flatten()
    torch.testing.assert_close(found, mean + 1.75 * (mean - worst))
    torch.testing.assert_close(contrasted(fields, 1.0).flatten(), mean)


def test_the_pull_lets_off_its_mean_over_frames() -> None:
    x = torch.zeros(2, 1, 1, 1)
    z = torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1)
    moved, _ = Delta(zeta=0.5, mean_free=1.0).step(
        x, z, [x], 0.5, 0.4, lambda p, q: (torch.zeros_like(p), torch.zeros_like(q))
    )
    # d is Z - X here: 1 and 3, its mean 2
    assert moved.flatten().tolist() == [1.0 - 0.5 * (1 - 2), 3.0 - 0.5 * (3 - 2)]
