"""Walks along a flow whose exact solution is known: Gaussian data of mean .7 and deviation .5.

V(s) = (1 - s)^2 .25 + s^2,  v = (s - (1 - s) .25) / V d - .7 with d = z - (1 - s) .7, and the exact flow
scales d by sqrt(V(s') / V(s)).
"""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from diffusers import UniPCMultistepScheduler
from torch import Tensor

from vedit.engine.solvers import Solver, UniPC, evaluations, solve
from vedit.models.flow import Flow, read_flow

MEAN, POWER = 0.7, 0.25


def spread(level: float) -> float:
    return (1 - level) ** 2 * POWER + level**2


def velocity(z: Tensor, level: float) -> Tensor:
    return (level - (1 - level) * POWER) / spread(level) * (z - (1 - level) * MEAN) - MEAN


def exact(x: float, level: float) -> float:
    return (1 - level) * MEAN + math.sqrt(spread(level) / POWER) * (x - MEAN)


def levels(steps: int) -> list[float]:
    flow = Flow(3.0)
    return [*(flow.level(t) for t in flow.timesteps(steps)), 0.0]


def walk(solver: Solver, path: list[float], start: float) -> float:
    *_, (_, last) = solve(velocity, path, torch.tensor([start], dtype=torch.float64), solver)
    return float(last)


def errors(solver: Solver, back: Solver, steps: int) -> tuple[float, float]:
    """Of the noise found for 1.3, and of the round trip."""
    up = levels(steps)[::-1]
    noise = walk(solver, up, 1.3)
    return abs(noise - exact(1.3, 1.0)), abs(walk(back, up[::-1], noise) - 1.3)


@pytest.mark.parametrize(
    "solver, back, steps, noise, trip",
    [
        ("euler", "euler", 16, 2.0e-1, 1.9e-1),
        ("euler", "euler", 256, 1.4e-2, 1.4e-2),
        ("rf-solver", "rf-solver", 16, 4.1e-4, 4.1e-4),
        ("rf-solver", "rf-solver", 64, 7.2e-6, 7.2e-6),
        ("fireflow", "fireflow", 16, 5.9e-3, 3.9e-3),
        ("fireflow", "fireflow", 64, 8.6e-5, 8.9e-5),
        ("uni-inv", "euler", 16, 2.2e-1, 9.5e-3),
        ("uni-inv", "euler", 64, 5.6e-2, 6.2e-5),
    ],
)
def test_errors_on_a_gaussian_are_those_worked_out_beforehand(
    solver: Solver, back: Solver, steps: int, noise: float, trip: float
) -> None:
    assert errors(solver, back, steps) == pytest.approx((noise, trip), rel=0.04)


@pytest.mark.parametrize(
    "solver, back, place, low, high",
    [
        ("euler", "euler", 0, 0.9, 1.1),
        ("rf-solver", "rf-solver", 0, 2.0, 4.0),
        ("fireflow", "fireflow", 0, 1.8, 4.0),
        ("uni-inv", "euler", 0, 0.9, 1.1),  # its noise is of first order,
        ("uni-inv", "euler", 1, 1.8, 4.0),  # its round trip of second
    ],
)
def test_errors_fall_with_the_order_of_the_solver(
    solver: Solver, back: Solver, place: int, low: float, high: float
) -> None:
    coarse, fine = (errors(solver, back, steps)[place] for steps in (64, 256))
    assert low <= math.log(coarse / fine, 4) <= high


def test_rf_solver_as_it_is_written_is_the_midpoint_rule() -> None:
    z, level, h = torch.tensor([1.3], dtype=torch.float64), 0.4, 0.1
    first = velocity(z, level)
    middle = velocity(z + h / 2 * first, level + h / 2)
    written = z + h * first + h**2 / 2 * (middle - first) / (h / 2)
    [(_, found)] = solve(velocity, [level, level + h], z, "rf-solver")
    torch.testing.assert_close(found, written, rtol=0, atol=1e-14)


@pytest.mark.parametrize("solver", ["euler", "rf-solver", "fireflow", "uni-inv"])
def test_evaluations_are_as_many_as_said(solver: Solver) -> None:
    asked = []

    def counted(z: Tensor, level: float) -> Tensor:
        asked.append(level)
        return velocity(z, level)

    reached = [level for level, _ in solve(counted, levels(7), torch.zeros(1), solver)]
    assert len(asked) == evaluations(solver, 7) and reached == levels(7)[1:]


@pytest.mark.parametrize("shift", [3.0, 12.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 50])
def test_unipc_arrives_where_that_of_diffusers_does(shift: float, steps: int) -> None:
    theirs = UniPCMultistepScheduler(
        use_flow_sigmas=True, flow_shift=shift, prediction_type="flow_prediction"
    )
    theirs.set_timesteps(steps)
    schedule = read_flow({**theirs.config, "_class_name": "UniPCMultistepScheduler"})
    timesteps, ours = schedule.timesteps(steps), UniPC()
    mixing = 0.3 * torch.randn(4, 4, generator=torch.Generator().manual_seed(0))

    def asked(z: Tensor, timestep: float) -> Tensor:
        return torch.tanh(z @ mixing + timestep / 1000) - 0.3 * z

    x = z = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    for index, told in enumerate(theirs.timesteps):
        x = theirs.step(asked(x, float(told)), told, x, return_dict=False)[0]
        level, after = schedule.level(timesteps[index]), schedule.after(timesteps, index)
        x0 = schedule.to_x0(asked(z, schedule.told(timesteps[index])), z, level)
        z = ours.step(z, x0, level, after)
        torch.testing.assert_close(z, x, rtol=0, atol=1e-5)


def pc(path: list[float], start: float) -> float:
    """Where UniPC arrives."""
    solver, z = UniPC(), torch.tensor([start], dtype=torch.float64)
    for level, after in pairwise(path):
        z = solver.step(z, z - level * velocity(z, level), level, after)
    return float(z)


def test_unipc_is_of_second_order() -> None:
    errors = []
    for steps in (64, 256):
        path = [0.9 - 0.8 * step / steps for step in range(steps + 1)]
        errors.append(abs(pc(path, exact(1.3, 0.9)) - exact(1.3, 0.1)))
    assert math.log(errors[0] / errors[1]) / math.log(4) > 1.8, errors


def test_unipc_begins_at_pure_noise_and_ends_clean_nearer_than_euler() -> None:
    path = levels(64)
    right = MEAN + math.sqrt(POWER) * -1.2  # V(1) is 1, and the mean there 0
    assert abs(pc(path, -1.2) - right) < 0.2 * abs(walk("euler", path, -1.2) - right)
