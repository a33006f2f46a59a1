"""GLP: a delta denoising score whose gradients, and whose last latents, keep their stable directions only.

Source: the GLP thesis, reconstructed; docs/methods.md 5 names every choice, and which switch gives the
other reading. Each iteration's gradient joins a window of the last J; the leading axes of the windows
of neighbouring frames (`axes.energy` of their power) rebuild it (gradient purification, GP). At the
end the displacement from the clip, over the last `latent_window` iterations, is weighted axis by
axis (latent purification, LP).

Expectation, measured on an analytic toy model: GP does not beat a plain delta denoising score at the same
step size, LP helps by a few percent, shared noise helps against flicker by far the most. `ABLATIONS` are
there to measure it on a real one. Axes of neighbouring frames are cut together (`axes = "joined"`); `axes =
"union"` cuts each frame's own first, and keeps an edit much weaker than its neighbours'. On 30 drawn scenes
joined axes flicker less (benchmarks/README.md), so they are the default.
Deviations: where the kept axes of a window are one (always with window = 1, omega = [0, 1, 0]; or with kmax =
1) skewness and kurtosis are those of that axis whatever its coefficient, so the thesis' rule that no
single direction may rule has nothing to choose; the run then says so.
Left out: the reading of w1 and w2 as weights of text and image guidance (w2_role = "image"), which
needs a network conditioned on a picture; those that load here are not.
Shape letters: F frames, R rows of a window, D entries of a frame's latent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, model_validator
from torch import Tensor

from vedit.engine.blend import resize_mask
from vedit.engine.purify import Axes, frame_axes, purify, purify_latents
from vedit.engine.purify import Window as Rows
from vedit.engine.rules import Rule
from vedit.methods import dds
from vedit.methods.base import Prepared, Request, Window
from vedit.methods.sampled import no_rules
from vedit.models.family import Family

SUMMARY = "Move the clip's latents towards the new prompt along directions that stay the same."
NEEDS: frozenset[str] = frozenset()
ABLATIONS: dict[str, dict[str, bool]] = {
    "DDS": {"purify_gradients": False, "purify_latents": False},
    "GP only": {"purify_gradients": True, "purify_latents": False},
    "LP only": {"purify_gradients": False, "purify_latents": True},
    "GLP": {"purify_gradients": True, "purify_latents": True},
}
Weight = Annotated[float, Field(ge=0)]


class Params(dds.ScoreParams):
    iterations: int = Field(500, ge=1, le=5000, description="optimisation steps")
    lr: float = Field(0.07, gt=0, lt=1, description="step size")
    w1: float = Field(2.0, ge=0, description="weight of the text's gradient")
    w2: float = Field(
        2.0, ge=0, description="weight that pulls places outside the edit mask back to the clip"
    )
    purify_gradients: bool = Field(True, description="keep the stable directions of the last gradients")
    purify_latents: bool = Field(
        True, description="weaken the unstable directions of the last latents at the end"
    )
    window: int = Field(
        8, ge=1, le=64, validation_alias=AliasChoices("window", "J"), description="gradients in a window"
    )
    period: int = Field(1, ge=1, le=64, description="iterations between two searches for axes")
    energy: float = Field(
        0.9,
        gt=0,
        le=1,
        validation_alias=AliasChoices("energy", "rho"),
        description="share of the gradients' power that the axes hold",
    )
    kmax: int | None = Field(None, ge=1, description="axes at most; equally strong ones stay together")
    gamma: float = Field(
        0.01, ge=0, description="weight of skewness and kurtosis in the choice of coefficients"
    )
    target: Literal["mean", "latest"] = Field(
        "mean", description="what is projected on the axes: the window's mean or the newest gradient"
    )
    axes: Literal["joined", "union"] = Field(
        "joined", description="axes of neighbouring frames: cut together, or each frame's own, joined"
    )
    omega: tuple[Weight, Weight, Weight] = Field(
        (0.5, 1.0, 0.5), description="weights of the frame before, the frame, and the frame after"
    )
    latent_window: int = Field(
        10,
        ge=1,
        le=100,
        validation_alias=AliasChoices("latent_window", "L"),
        description="latents in the last purification",
    )
    latent_energy: float = Field(
        0.99, gt=0, le=1, description="share of the latents' power that their axes hold"
    )
    latent_kmax: int | None = Field(None, ge=1, description="axes of latents at most")
    latent_noise: float | None = Field(
        None, ge=0, description="power at which an axis is halved; the median of all axes when not given"
    )
    latent_space: Literal["displacement", "latent"] = Field(
        "displacement", description="decompose displacements from the clip, or latents themselves"
    )
    average_frames: bool = Field(
        False, description="average the last displacement over neighbouring frames too"
    )

    @property
    def joins_frames(self) -> bool:
        """Whether frames act on each other, so that the clip is edited as one."""
        shares_rows = self.omega[0] > 0 or self.omega[2] > 0
        by_latents = shares_rows or self.average_frames or self.latent_noise is None
        return (self.purify_gradients and shares_rows) or (self.purify_latents and by_latents)

    @model_validator(mode="after")
    def _fits(self) -> Params:
        if self.omega[1] == 0:
            raise ValueError("omega gives the frame itself no weight")
        if self.period > self.window:
            raise ValueError(f"period = {self.period} is longer than the window of {self.window}")
        return self


def prepare(
    model: Family,
    request: Request,
    params: Params,
    rules: Callable[[Window], tuple[Rule, ...]] = no_rules,
    **facts: Any,
) -> Prepared:
    """rules: attention rules that act inside the calls, by iteration. facts: further fields of `Prepared`."""

    def descend(score: dds.Score, mask: dds.EditMask) -> Iterator[tuple[int, Tensor]]:
        latents = score.source_FCYX
        gradients, positions = Gradients(params), Rows(params.latent_window)
        for iteration in range(params.iterations):
            timestep, gradient = score.gradient(latents, iteration)
            mask_F1YX, semantic = mask.at(iteration), gradient
            if params.purify_gradients:
                semantic = gradients.purified(gradient, inside(mask_F1YX, latents))
            latents = dds.moved(score, latents, semantic, mask_F1YX, iteration)
            positions.add(latents)
            if params.purify_latents and iteration == params.iterations - 1:
                latents = last_purification(positions, score.source_FCYX, params)
            yield timestep, latents
        if params.purify_gradients and params.gamma and (said := gradients.ruled_by_one()):
            request.warn(said)

    rows = params.window * params.purify_gradients + params.latent_window * params.purify_latents
    size = 4 * rows * math.prod(request.shape) * request.frames
    about = (f"windows take {size / 2**20:.1f} MiB", *facts.pop("about", ()))
    # stacked once more while axes are sought, of which each frame has as many in float64
    return dds.optimised(model, request, params, descend, rules, held_bytes=4 * size, about=about, **facts)


class Gradients:
    """The windows of gradients, and the axes found in them last. alone: how often a frame of a full window
    had one axis.
    """

    def __init__(self, params: Params) -> None:
        self.params = params
        self.window = Rows(params.window)
        self.axes: list[Axes] = []
        self.seen = self.full = self.alone = 0

    def purified(self, gradient_FCYX: Tensor, inside_FD: Tensor | None) -> Tensor:
        """Add the newest gradient; the one to step along. inside_FD: entries that moments are taken over,
        None for all.
        """
        self.window.add(gradient_FCYX)
        rows_FRD = self.window.stack()
        if self.seen % self.params.period == 0:
            self.axes = frame_axes(
                rows_FRD, self.params.energy, self.params.kmax, self.params.omega, self.params.axes
            )
        self.seen += 1
        if len(self.window) == self.params.window:
            self.full += len(self.axes)
            self.alone += sum(len(found.axes_KD) == 1 for found in self.axes)
        return purify(rows_FRD, self.axes, self.params.gamma, self.params.target, inside_FD).reshape(
            gradient_FCYX.shape
        )

    def ruled_by_one(self) -> str:
        """What to say where mostly a single direction led, which skewness and kurtosis cannot weigh; ""
        elsewhere.
        """
        if 2 * self.alone <= self.full:
            return ""
        return (
            f"a single direction held the gradients in {100 * self.alone // self.full} % of the full windows:"
            " gamma, which keeps one direction from ruling alone, had nothing to choose between. A larger"
            " energy, kmax or window gives it more."
        )


def last_purification(positions: Rows, source_FCYX: Tensor, params: Params) -> Tensor:
    """The latents that the last iterations agree on."""
    purified_FD = purify_latents(
        positions.stack(), source_FCYX.flatten(1), params.omega,
        energy=params.latent_energy, kmax=params.latent_kmax, noise=params.latent_noise,
        average_frames=params.average_frames, space=params.latent_space,
        temporal=params.axes,
    )  # fmt: skip
    return purified_FD.reshape(source_FCYX.shape)


def inside(mask_F1YX: Tensor | None, like_FCYX: Tensor) -> Tensor | None:
    """The entries (F, D) that the moments of a gradient are taken over: those inside the edit mask."""
    if mask_F1YX is None:
        return None
    within = resize_mask(mask_F1YX.to(like_FCYX.device), (like_FCYX.shape[-2], like_FCYX.shape[-1])) > 0.5
    return within.expand(-1, like_FCYX.shape[1], -1, -1).flatten(1)
