"""What only some of those that make clips can be told: each option names them.

Loads nothing, for the help of every face.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vedit.options import declared, declared_in

CHECKPOINT, HUB, REMOTE, PROVIDER = "checkpoint", "hub", "remote", "provider"
SHAPES = "shapes"


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions:
    """Of a generator trained here."""

    weights: str | None = declared(
        "Averaged weights (the default), or the trained ones themselves.",
        choices=("ema", "raw"),
        of=(CHECKPOINT,),
    )
    eta: float | None = declared(
        "0 samples by DDIM, 1 adds the noise of DDPM.",
        metavar="X",
        kind=float,
        low=0,
        high=1,
        of=(CHECKPOINT,),
    )
    clip: str | None = declared(
        "What keeps the foreseen clip in range (clip_x_start): none, static, dynamic, dynamic:0.995.",
        metavar="HOW",
        of=(CHECKPOINT,),
    )
    spacing: str | None = declared(
        "Which timesteps are sampled.", choices=("leading", "trailing", "linspace"), of=(CHECKPOINT,)
    )
    save_x_start: str | None = declared(
        "Keep what the steps foresee: a folder, a .png strip, or one clip.",
        metavar="DIR|FILE",
        of=(CHECKPOINT,),
    )
    save_every: int | None = declared("Keep every K-th only.", metavar="K", kind=int, low=1, of=(CHECKPOINT,))
    from_x_start: str | None = declared(
        "Go on from a stored or changed clip that save-x-start wrote.", metavar="FILE", of=(CHECKPOINT,)
    )
    from_step: int | None = declared(
        "The step to go on from; the later, the less changes.", metavar="K", kind=int, low=0, of=(CHECKPOINT,)
    )
    mask: tuple[str, ...] = declared(
        "Where to make it anew: white of a picture or clip, box:x,y,w,h, time:1s-2s.",
        (),
        metavar="MASK",
        is_repeated=True,
        of=(CHECKPOINT,),
    )


@dataclass(frozen=True, kw_only=True)
class HubOptions:
    """Of a pipeline of the Hub; `pipe` stands apart, since it is a table."""

    offload: str | None = declared(
        "Keep parts of a Hub pipeline in memory and move them to the GPU for their use.",
        choices=("model", "sequential", "group"),
        of=(HUB,),
    )
    vae_tiling: bool | None = declared(
        "Decode in tiles: less memory, a Hub pipeline's own seams.", kind=bool, of=(HUB,)
    )
    variant: str | None = declared(
        "Variant of a Hub pipeline's weights, such as fp16.", metavar="NAME", of=(HUB,)
    )
    motion_adapter: str | None = declared(
        "Make an AnimateDiff of a Stable Diffusion model: a folder or Hub id.", metavar="NAME", of=(HUB,)
    )
    lora: tuple[str, ...] = declared(
        "Merge a LoRA into the model: a file, a folder or a Hub id, with its weight; several add up.",
        (),
        metavar="FILE|ID[:SCALE]",
        is_repeated=True,
        of=(HUB, SHAPES),
    )


@dataclass(frozen=True, kw_only=True)
class RemoteOptions:
    """Of hosted generators."""

    base_url: str | None = declared(
        "Address of a hosted generator, of the model remote:videos; there is no default.",
        metavar="URL",
        of=(REMOTE,),
    )
    remote_model: str | None = declared(
        "What the hosted generator calls its model.", metavar="NAME", of=(REMOTE,)
    )
    key_env: str | None = declared(
        "Variable that holds the API key; VEDIT_REMOTE_KEY, for a provider HF_TOKEN, by default.",
        metavar="NAME",
        of=(REMOTE, PROVIDER),
    )
    form: str | None = declared(
        "How fields are sent to a hosted generator; multipart by default.",
        choices=("multipart", "json"),
        of=(REMOTE,),
    )
    field: tuple[str, ...] = declared(
        "A further field for a hosted generator, such as seconds=4; NAME= leaves one out.",
        (),
        metavar="NAME=VALUE",
        is_repeated=True,
        of=(REMOTE,),
    )
    timeout: float | None = declared(
        "Longest wait for a hosted clip; 1800 by default.",
        metavar="S",
        kind=float,
        low=1,
        of=(REMOTE, PROVIDER),
    )


@dataclass(frozen=True, kw_only=True)
class BackendOptions(RemoteOptions, HubOptions, CheckpointOptions):
    """All of them. pipe: further arguments of a pipeline's call, or of a provider's model."""

    pipe: Mapping[str, Any] | None = None

    def given(self) -> dict[str, Any]:
        """The options that are set, by key."""
        keys = ("pipe", *declared_in(self))
        return {key: value for key in keys if (value := getattr(self, key)) not in (None, ())}


def read_by(backend: str) -> frozenset[str]:
    """The keys of the options that a backend reads."""
    named = {key for key, option in declared_in(BackendOptions).items() if backend in option.of}
    return frozenset(named | ({"pipe"} if backend in (HUB, PROVIDER) else set()))
