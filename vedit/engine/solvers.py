"""Ways to walk a flow between levels of noise, in either direction.

    euler       z + h v(z, s)                                               1 evaluation
    rf-solver   z + h v(z + h/2 v(z, s), s + h/2)                           2
    fireflow    the same, with the last middle velocity for the first one   1, and one more at the start
    uni-inv     z + h v(z + h v', s')      v': the last velocity            1, and one more at the start

h = s' - s. Sources: RF-Solver (Wang et al. 2024, arXiv 2411.04746), whose second-order step is algebraically
the midpoint rule, and is computed as that here; FireFlow (Deng et al. 2024, arXiv 2412.07517); Uni-Inv (Jiao
et al. 2025, arXiv 2504.13109), which asks at the level being reached as sampling will, so that its round trip
with Euler steps is of second order though the noise that it finds is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor

Solver = Literal["euler", "rf-solver", "fireflow", "uni-inv"]
Way = Literal["ddim", "euler", "rf-solver", "fireflow", "uni-inv"]  # ddim: `vedit.engine.invert.invert`
SYMMETRIC = ("rf-solver", "fireflow")  # sampled back with themselves; the others with Euler steps
Velocity = Callable[[Tensor, float], Tensor]  # at some latents and a level


def solve(
    velocity: Velocity, levels: Sequence[float], latents: Tensor, solver: Solver
) -> Iterator[tuple[float, Tensor]]:
    """Walk from the first of the levels through all others; yields each with the latents there."""
    last: Tensor | None = None
    for level, after in pairwise(levels):
        h = after - level
        if solver == "uni-inv":
            first = velocity(latents, level) if last is None else last
            last = velocity(latents + h * first, after)
        elif solver == "euler":
            last = velocity(latents, level)
        else:
            first = velocity(latents, level) if last is None or solver == "rf-solver" else last
            last = velocity(latents + h / 2 * first, level + h / 2)
        latents = latents + h * last
        yield after, latents


def evaluations(solver: Solver, steps: int) -> int:
    """Network evaluations of so many steps."""
    return {"euler": steps, "rf-solver": 2 * steps}.get(solver, steps + 1)
