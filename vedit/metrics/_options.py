"""What a user can choose about the numbers, each option with its words: the command line, requests and
reports read it here.

A metric names those that change its numbers in its OPTIONS. Loads nothing, for the help of every face.
"""

from __future__ import annotations

from dataclasses import dataclass

from vedit.options import declared


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Which networks look. dino: None for each metric's own. dover_antialias: of DOVER's resize to 224."""

    dino: str | None = declared(
        "Backbone of the DINO metrics; each its own by default.", choices=("dinov2", "dino-vitb16")
    )
    dover_antialias: bool = declared("Smooth before DOVER's resize, as newer libraries do.", False, kind=bool)
    success_model: str = declared("Backbone of edit_success.", "clip_l", choices=("clip_l", "clip_b32"))
    lpips_net: str = declared("Backbone of lpips.", "alex", choices=("alex", "vgg", "squeeze"))


@dataclass(frozen=True, kw_only=True)
class RegionOptions:
    """What is measured. flow: "gmflow", "tvl1", "dis" or "file:F.npz"; None for GMFlow, and for TV-L1 in the
    embedded profile.

    mask_dilate: pixels by which the edit region grows. bg_norm: "background", or "full" to divide the
    background's squared error by the area of the frame.
    """

    flow: str | None = declared(
        "What estimates motion for the warping error; tvl1 needs no weights, dis needs OpenCV.",
        metavar="gmflow|tvl1|dis|file:F.npz",
    )
    mask_dilate: int = declared(
        "Grow the edit region by N pixels.", 0, metavar="N", kind=int, low=0, high=256
    )
    bg_norm: str = declared(
        "Divide the background's error by its own area, or by the frame's.",
        "background",
        choices=("background", "full"),
    )


@dataclass(frozen=True, kw_only=True)
class MetricOptions(RegionOptions, NetworkOptions):
    """All of them."""
