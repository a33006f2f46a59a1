"""Make-A-Protagonist: a subject by a picture of it, inside a mask, and the rest by text.

    in the mask    the prompt, and the picture of --image-prompt beside it
    outside        another prompt, and the clip's own latents after each step
    everywhere     Plug-and-Play: residual features and self-attention of the source

Source: Zhao et al. 2023 and HeliosZhao/Make-A-Protagonist; docs/methods.md 7.5. ControlNets, which the
published pipeline weighs by 0.5, come from --control as for every method.

Deviations: the picture is seen through an IP-Adapter, where the published model is an unCLIP one that takes
an image embedding for its class; vedit does not read such checkpoints. Masks are the user's, drawn, painted
or tracked, where the published code segments and propagates them. The network is tuned only where
`tune_steps` says so. Shape letters: F frames, Y X latent rows and columns.
"""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, Field, model_validator
from torch import Tensor

from vedit.engine.inflation import Inflation, inflated, inflation_rules
from vedit.engine.rules import LatentBlend, Rule, SeeBeside, step_range
from vedit.engine.tune import Tuning
from vedit.errors import ModelError, UsageError, option
from vedit.methods import pnp
from vedit.methods.base import Prepared, Request, Window
from vedit.methods.params import Share
from vedit.methods.sampled import Texts, branches_of, check_start, sampled
from vedit.models.family import Family
from vedit.models.sites import Select

SUMMARY = "Replace the subject in a mask by what a picture shows; text sets what is around it."
NEEDS = frozenset({"inversion", "pictures", "mask"})
REGION = 800  # the text of the surroundings comes before the picture, behind all else


class Params(pnp.Params):
    outside_prompt: str = Field(
        "", description="what is outside the mask; what the clip shows where nothing is given"
    )
    hold_from: Share = Field(
        0.0, description="share of steps before the clip's own latents are put back outside the mask"
    )
    hold_until: Share = Field(1.0, description="share of steps after which they no longer are")
    picture_until: Share = Field(1.0, description="share of steps that see the picture")
    sees: Literal["none", "first-frame", "sparse-causal", "dense"] = Field(
        "sparse-causal",
        description="frames that self-attention sees: its own, the first, the first and the one before, all",
    )
    tune_steps: int = Field(
        0, ge=0, le=20000, description="steps of tuning the network on the clip; 0 tunes nothing"
    )
    tune_lr: float = Field(
        3e-5,
        gt=0,
        le=0.1,
        validation_alias=AliasChoices("tune_lr", "learning_rate"),
        description="rate of tuning",
    )

    @model_validator(mode="after")
    def _fits(self) -> Params:
        if self.tune_steps and self.sees == "none":
            raise ValueError(
                f"tune_steps = {self.tune_steps} tunes frames that see each other, and sees is none"
            )
        if self.hold_from > self.hold_until:
            raise ValueError(f"hold_from = {self.hold_from:g} is behind hold_until = {self.hold_until:g}")
        return self

    @property
    def joins_frames(self) -> bool:
        return self.sees != "none" or self.merge > 0

    @property
    def inflation(self) -> Inflation:
        return self.sees

    @property
    def tuning(self) -> Tuning | None:
        return Tuning(self.tune_steps, self.tune_lr) if self.tune_steps else None


def prepare(model: Family, request: Request, params: Params) -> Prepared:
    """Raises UsageError without a mask, ModelError for a layer that the model does not have."""
    check_mask(request)
    if params.tuning is not None:
        model = inflated(model)
    steps = len(request.timesteps)
    check_start(params.start_index, steps)
    branches, texts = branches_of(params.guidance, "src"), Texts(model, request, params)
    injected = pnp.injections(model, params, branches[1:], request, range(steps), steps)
    always = (True,) * steps
    outside = params.outside_prompt or request.source_prompt

    def rules(window: Window) -> tuple[Rule, ...]:
        assert window.mask_F1YX is not None, "check_mask has seen that there is one"
        mask = window.mask_F1YX
        found = [
            *inflation_rules(model, params.sees, branches, steps, len(window.latents_FCYX)),
            *injected.rules(window),
        ]
        if outside != request.target_prompt:
            found.append(surroundings(model, texts.of(outside), 1 - mask, always))
        if request.image is not None:
            found.append(request.image.rule(branches, step_range(steps, 0.0, params.picture_until), mask))
        held = step_range(steps, params.hold_from, params.hold_until)
        if any(held):
            found.append(LatentBlend("tgt", window.trajectory, mask, held, "latents outside the mask"))
        return tuple(found)

    unseen = (
        f"there is no picture of the subject, so the prompt alone says what it is: {option('image_prompt')}"
    )
    return sampled(
        model,
        request,
        lambda window: texts.pair(window, params.start_index),
        branches,
        rules,
        start=params.start_index,
        notes=(*injected.notes, *((unseen,) if request.image is None else ())),
        about=(f"outside the mask: {outside!r}",),
        merging=params,
    )


def check_mask(request: Request) -> None:
    """Refuse to look for the subject everywhere."""
    if not request.has_mask:
        raise UsageError(
            "protagonist replaces the subject in a mask, and there is none.",
            "It needs a mask, white where the subject is.",
            f"Add {option('mask', 'FILE')}, or let one follow it: {option('mask', 'track:X,Y,W,H')}",
        )


def surroundings(model: Family, text_1LE: Tensor, outside_F1YX: Tensor, steps: tuple[bool, ...]) -> SeeBeside:
    """What lets the target see another prompt in a region instead of its own.

    outside: 1 where it does. Raises ModelError for a network that does not tell its keys.
    """
    keys_of = getattr(model, "keys_of", None)
    if keys_of is None:
        raise ModelError(
            f"protagonist asks for texts by region, and {model.name} does not take them.",
            "Models of Stable Diffusion's layouts do.",
            f"Try another method, such as {option('method', 'pnp')}",
        )
    return SeeBeside(
        Select("cross"), {"tgt": text_1LE}, keys_of, steps, 1.0, outside_F1YX, instead=True,
        name="text outside the mask", order=REGION,
    )  # fmt: skip
