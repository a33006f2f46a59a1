"""DDIM inversion and a new prompt: sample from the clip's own noise with other words.

Source: Song et al. 2020; the baseline that every attention-control paper starts from. The layout
survives as far as the noise holds it.
"""

from __future__ import annotations

from vedit.engine.sample import Stream
from vedit.methods.base import Prepared, Request, Window
from vedit.methods.params import MergeParams, StartParams
from vedit.methods.sampled import Texts, branches_of, check_start, hold_outside, sampled
from vedit.models.family import Family

SUMMARY = "Invert the clip and sample again with the new prompt."
NEEDS = frozenset({"inversion"})


class Params(MergeParams, StartParams):
    pass


def prepare(model: Family, request: Request, params: Params) -> Prepared:
    check_start(params.start_index, len(request.timesteps))
    texts = Texts(model, request, params)

    def streams(window: Window) -> list[Stream]:
        return [texts.guided(window, window.at(params.start_index))]

    return sampled(
        model,
        request,
        streams,
        branches_of(params.guidance),
        lambda window: hold_outside(request, window),
        start=params.start_index,
        merging=params,
    )
