"""Walks along a flow whose exact solution is known: Gaussian data of mean .7 and deviation .5.

V(s) = (1 - s)^2 .25 + s^2,  v = (s - (1 - s) .25) / V d - .7 with d = z - (1 - s) .7, and the exact flow
scales d by sqrt(V(s') / V(s)).
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vedit.engine.solvers import Solver, evaluations, solve
from vedit.models.flow import Flow

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
