"""RAVE: frames are laid out as grids that the network sees as one picture, shuffled anew in every step.

Source: Kara et al. 2024, algorithm 1, and rehg-lab/RAVE; docs/methods.md 7.14. Attention inside a grid makes
its frames look alike, and shuffling carries that through the whole clip at no cost. A last grid that is not
full takes frames a second time, which are then dropped.

Deviation: the published code holds the layout with a ControlNet, whose pictures are laid out on the same
grids; without one Plug-and-Play on the grids stands in (base = "ddim" leaves it out). The inversion is of
single frames.
Shape letters: F frames, G grids, n frames on a grid's side, C channels, Y X latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Literal

import torch
from pydantic import AliasChoices, Field
from torch import Tensor

from vedit.engine.blend import blend
from vedit.engine.noise import substream
from vedit.engine.rules import Plan
from vedit.engine.sample import Step, Stream, sample
from vedit.errors import UsageError, option
from vedit.methods import pnp
from vedit.methods.base import Prepared, Request, Window
from vedit.methods.sampled import Texts, bound, branches_of, check_start
from vedit.models.family import Family

SUMMARY = "Edit grids of frames that are shuffled in every step, so that all frames look alike."
NEEDS = frozenset({"inversion", "pictures"})
DRAW = 8  # the substream of the shuffles


class Params(pnp.Params):
    grid: int = Field(
        3,
        ge=1,
        le=8,
        validation_alias=AliasChoices("grid", "grid_size"),
        description="frames on each side of a grid; 1 edits single frames",
    )
    base: Literal["pnp", "ddim"] = Field(
        "pnp", description="what edits the grids: Plug-and-Play, or plain sampling from the inversion"
    )

    @property
    def joins_frames(self) -> bool:
        return True


def prepare(model: Family, request: Request, params: Params) -> Prepared:
    """Raises ModelError for a layer that the model does not have, UsageError for what grids cannot show."""
    steps, start = len(request.timesteps), params.start_index
    check_start(start, steps)
    if request.wants_attention:
        raise UsageError(
            "rave shows the network grids of frames, so there is no map of where words look in a frame.",
            "",
            f"Leave out {option('save_attention')}",
        )
    if params.merge:
        raise UsageError(
            f"merge = {params.merge:g} merges tokens of frames, and the frames of a grid are one picture.",
            "They do not go together.",
            f"Try {option('set.merge', 0)}",
        )
    branches = branches_of(params.guidance, *(("src",) if params.base == "pnp" else ()))
    on_grids = gridded(request, params.grid)
    texts = Texts(model, on_grids, params)
    injected = pnp.injections(model, params, branches[1:], on_grids, range(steps), steps)
    rules = injected.rules(on_grids.blank()) if params.base == "pnp" else ()
    plan = Plan(rules)

    def run(window: Window) -> Iterator[Step]:
        if window.uncond is not None and params.null_text == "both" and len(window.uncond(start)) > 1:
            raise UsageError(
                "the inversion has a null embedding for each frame, and a grid has many frames.",
                "",
                f"Try {option('set.null_text', 'none')}",
            )
        count = -(-len(window.latents_FCYX) // params.grid**2)
        controller, x = bound(model, on_grids, plan, branches, count), window.at(start).to(model.device)
        with controller.installed():
            for index in range(start, steps):
                grids = Grids(len(x), params.grid, request.seed, index, window.first_frame)
                moving = [texts.guided(window, grids.laid(x))]
                if params.base == "pnp":
                    moving = [grids.stream(texts, window, index), *moving]
                calls = on_grids.frames_together(request.frames_per_call)
                with grids.shown(model):
                    step = next(
                        sample(
                            model, request.timesteps, moving, controller, frames_per_call=calls, start=index
                        )
                    )
                x = held(window, grids.taken(step.latents["tgt"]), index + 1)
                yield replace(step, latents={"tgt": x}, x0={"tgt": grids.taken(step.x0["tgt"])})

    taken = steps - start
    prepared = Prepared(run, branches, plan, taken, start, taken, notes=injected.notes, seen=on_grids)
    bound(model, on_grids, plan, branches, on_grids.frames)
    return prepared


def gridded(request: Request, side: int) -> Request:
    """The request as the grids see it: fewer and larger pictures, without a mask."""
    channels, rows, columns = request.shape
    return replace(
        request,
        shape=(channels, side * rows, side * columns),
        frames=-(-request.frames // side**2),
        has_mask=False,
        tiles=side**2,
    )


def held(window: Window, x_FCYX: Tensor, index: int) -> Tensor:
    """The source's latents put back outside the user's mask, where there is one."""
    mask = window.mask_F1YX
    return (
        x_FCYX if mask is None else blend(window.trajectory(index).to(x_FCYX), x_FCYX, mask.to(x_FCYX.device))
    )


class Grids:
    """The order of the frames in one step, and pictures as grids and back."""

    def __init__(self, frames: int, side: int, seed: int, step: int, first_frame: int = 0) -> None:
        self.side, self.frames = side, frames
        drawn = torch.randperm(frames, generator=substream(seed, DRAW, step, first_frame))
        self.order: Sequence[int] = drawn.tolist()
        wanted = -(-frames // side**2) * side**2
        self.places = [self.order[place % frames] for place in range(wanted)]

    def laid(self, x_FCYX: Tensor) -> Tensor:
        """Frames as grids, row by row: (G, C, n Y, n X)."""
        parts = x_FCYX[self.places].unflatten(0, (-1, self.side, self.side))
        return parts.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)

    def shown(self, model: Family) -> AbstractContextManager[None]:
        """While inside, pictures that the network goes by are laid out like the latents."""
        controls = getattr(model, "controls", None)
        made: AbstractContextManager[None] = (
            nullcontext() if controls is None else controls.tiled(self.places, self.side)
        )
        return made

    def taken(self, grids_GCYX: Tensor) -> Tensor:
        """The frames of grids, in the clip's order."""
        parts = grids_GCYX.unflatten(3, (self.side, -1)).unflatten(2, (self.side, -1))
        laid = parts.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)[: self.frames]
        return laid[torch.tensor(self.order).argsort()]

    def stream(self, texts: Texts, window: Window, index: int) -> Stream:
        """The source's latents of a step on the same grids."""
        source = texts.replayed(window, window.trajectory(index))
        device = texts.model.device
        return replace(
            source,
            latents=self.laid(source.latents),
            replay=lambda step: self.laid(window.trajectory(step).to(device)),
        )
