"""Ways to walk a flow between levels of noise, in either direction.

    euler       z + h v(z, s)                                               1 evaluation
    rf-solver   z + h v(z + h/2 v(z, s), s + h/2)                           2
    fireflow    the same, with the last middle velocity for the first one   1, and one more at the start
    uni-inv     z + h v(z + h v', s')      v': the last velocity            1, and one more at the start
    unipc       of x0(z) and its last two values, in log(signal / noise)        1

h = s' - s. Sources: RF-Solver (Wang et al. 2024, arXiv 2411.04746), whose second-order step is algebraically
the midpoint rule, and is computed as that here; FireFlow (Deng et al. 2024, arXiv 2412.07517); Uni-Inv (Jiao
et al. 2025, arXiv 2504.13109), which asks at the level being reached as sampling will, so that its round trip
with Euler steps is of second order though the noise that it finds is not; UniPC (Zhao et al. 2023, arXiv
2302.04867), order 2 of its B2 form, checked against diffusers' UniPCMultistepScheduler.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from torch import Tensor

Solver = Literal["euler", "rf-solver", "fireflow", "uni-inv"]
Way = Literal["ddim", "euler", "rf-solver", "fireflow", "uni-inv"]  # ddim: `vedit.engine.invert.invert`
SYMMETRIC = ("rf-solver", "fireflow")  # sampled back with themselves; the others with Euler steps
Sampler = Literal["euler", "unipc"]  # how a flow is sampled or edited
MOST = 1 - 1e-6  # the noisiest level that has a logarithm, as diffusers cuts it
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


class _Foreseen(NamedTuple):
    """The clean latents foreseen at a level, and log(signal / noise) there."""

    x0: Tensor
    at: float


@dataclass
class UniPC:
    """UniPC of order 2 for a flow, as a state that goes along with the latents of one sampling.

    Each step first corrects the latents that the last one arrived at, by what the network foresees there, and
    then goes on from them. The first step and the last, to the clean level, are of order 1.
    """

    before: _Foreseen | None = None
    last: _Foreseen | None = None
    began: tuple[Tensor, float] | None = None  # the latents and the level that the last step went from
    order: int = 1  # of the last step

    def step(self, x: Tensor, x0: Tensor, level: float, after: float) -> Tensor:
        """The latents at the next level. x0: the clean latents that the network foresees at `x`."""
        now = _Foreseen(x0, _log_ratio(level))
        if self.last is not None and self.began is not None:
            x = self._corrected(now, level, self.last, *self.began)
        self.order = 1 if self.last is None or after == 0 else 2
        slope = 0.5 * _slope(now, self.last, after) if self.order == 2 and self.last else 0.0
        self.before, self.last, self.began = self.last, now, (x, level)
        return _arrived(x, level, after, now, slope)

    def _corrected(
        self, now: _Foreseen, level: float, last: _Foreseen, x: Tensor, from_level: float
    ) -> Tensor:
        """Where the last step arrives, with what is foreseen there; as far back as that step looked."""
        change = now.x0 - last.x0
        if self.order == 1 or self.before is None:
            return _arrived(x, from_level, level, last, 0.5 * change)
        h = now.at - last.at
        ratio = (self.before.at - last.at) / h
        first, second = _weights(-h, ratio)
        slope = first * (self.before.x0 - last.x0) / ratio + second * change
        return _arrived(x, from_level, level, last, slope)


def _log_ratio(level: float) -> float:
    """log(signal / noise) of a flow's level; endless at the clean one."""
    if level <= 0:
        return math.inf
    level = min(level, MOST)
    return math.log((1 - level) / level)


def _slope(now: _Foreseen, last: _Foreseen, after: float) -> Tensor:
    """How the clean latents foreseen change over a step of the length of the next."""
    return (last.x0 - now.x0) * ((_log_ratio(after) - now.at) / (last.at - now.at))


def _arrived(x: Tensor, level: float, after: float, foreseen: _Foreseen, slope: Tensor | float) -> Tensor:
    share = math.expm1(foreseen.at - _log_ratio(after))  # -1 at the clean level
    return after / min(level, MOST) * x - (1 - after) * share * (foreseen.x0 + slope)


def _weights(hh: float, ratio: float) -> tuple[float, float]:
    """The weights of the corrector's two differences, of which the first is taken `ratio` of a step away.

    They solve  a + b = c1,  ratio a + b = c2  with c_k = k! phi_(k+1)(hh) / phi_1(hh).
    """
    grown = math.expm1(hh)
    second = grown / hh - 1
    c1, c2 = second / grown, 2 * (second / hh - 0.5) / grown
    a = (c1 - c2) / (1 - ratio)
    return a, c1 - a


def solver_of(name: Sampler) -> UniPC | None:
    """What takes the steps; None for Euler's, which a flow's levels take themselves."""
    return UniPC() if name == "unipc" else None
