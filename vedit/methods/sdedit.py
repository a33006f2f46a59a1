"""SDEdit: add noise up to a level, and sample from there with the new prompt.

Source: Meng et al. 2021. `strength` s keeps the last floor(s N) steps, as in diffusers. All frames
take the same noise unless `shared_noise` is off, when frame i of a clip has its own whatever the window.
"""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field
from torch import Tensor

from vedit.engine.rules import Rule
from vedit.errors import UsageError
from vedit.methods.base import Prepared, Request, Window
from vedit.methods.params import MergeParams, SolverParams
from vedit.methods.sampled import Texts, branches_of, hold_outside, sampled
from vedit.models.family import Family

SUMMARY = "Add noise to the clip and sample it away with the new prompt."
NEEDS: frozenset[str] = frozenset()


class Params(MergeParams, SolverParams):
    strength: float = Field(
        0.6,
        gt=0,
        le=1,
        description="share of the steps that are taken; 1 keeps nothing but the layout's average",
    )
    shared_noise: bool = Field(True, description="the same noise for all frames, against flicker")


def prepare(
    model: Family,
    request: Request,
    params: Params,
    more: Callable[[Window, tuple[str, ...]], tuple[Rule, ...]] = lambda window, branches: (),
) -> Prepared:
    """more: further rules of a window, from the branches of the call."""
    steps = len(request.timesteps)
    taken = int(params.strength * steps + 1e-9)
    if taken < 1:
        raise UsageError(
            f"strength {params.strength:g} of {steps} steps is not a whole step.",
            f"Give at least {1 / steps:.2g}, or more steps.",
        )
    texts = Texts(model, request, params)

    def noised(window: Window) -> Callable[[int], Tensor]:
        return texts.noised(window, params.shared_noise)

    branches = branches_of(params.guidance)
    return sampled(
        model,
        request,
        lambda window: [texts.guided(window, noised(window)(steps - taken))],
        branches,
        lambda window: (*more(window, branches), *hold_outside(request, window, noised(window))),
        start=steps - taken,
        merging=params,
    )
