"""Which methods a network is for: told by its layout before its weights are read, and of a loaded model.

Loads no torch.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

from vedit import methods
from vedit.errors import ModelError, option
from vedit.jobs.edit.settings import needs_of
from vedit.models.hub import EMBEDDED_MOTION
from vedit.models.layout import CLIPS, I2VGEN, MOTION, SVD, Layout

if TYPE_CHECKING:
    from vedit.models.family import Model


class Network(NamedTuple):
    """What methods ask of a network.

    sees_picture: it makes a clip of a picture. is_of_clips: all frames of a clip go through it at once.
    is_over_frames: some of its attention is over frames alone. is_flow: it was trained by flow matching.
    """

    name: str
    sees_picture: bool
    is_of_clips: bool
    is_over_frames: bool
    is_flow: bool

    @property
    def lacks(self) -> set[str]:
        """The needs that it does not serve."""
        served = {
            "first frame": self.sees_picture,
            "flow": self.is_flow,
            "pictures": not self.is_of_clips,
            "temporal": self.is_over_frames,
        }
        return {need for need, is_served in served.items() if not is_served}

    @property
    def methods(self) -> list[str]:
        """The methods that run on it with a prompt, and without a mask."""
        lacks = {"mask", "instruction", *self.lacks}
        return [
            name for name in methods.names() if not (needs := needs_of(name)) & lacks and self.is_shown(needs)
        ]

    def is_shown(self, needs: Collection[str]) -> bool:
        """Whether a method shows it the picture that it wants, if it does."""
        return "first frame" in needs or not self.sees_picture


def of_layout(name: str, layout: Layout) -> Network:
    return Network(
        name, layout in (I2VGEN, SVD), layout in (*CLIPS, *MOTION), layout in MOTION, layout in CLIPS
    )


def of_model(model: Model) -> Network:
    from vedit.models.flow import Flow

    is_over_frames = any(site.kind == "temporal" for site in model.sites())
    return Network(
        model.name, model.sees_picture, model.frame_axis, is_over_frames, isinstance(model.schedule, Flow)
    )


def check_network(method: str, needs: Collection[str], network: Network) -> None:
    """Refuse a method on a network of another kind, naming what would fit. Raises ModelError."""
    fits = f"Methods for it are {', '.join(network.methods)}."
    if network.is_of_clips and "pictures" in needs:
        raise ModelError(
            f"{method} is for networks that see the frames of a clip one by one, and {network.name} sees"
            " them all at once.",
            fits,
            f"Try {option('method', 'flowedit' if network.is_flow else network.methods[-1])}",
        )
    if "first frame" in needs and not network.sees_picture:
        raise ModelError(
            f"{method} gives an edited first frame to a network that makes a clip of it, and {network.name}"
            " is shown none.",
            "Models that are have the layout of diffusers' I2VGenXLPipeline or"
            " StableVideoDiffusionPipeline; none is embedded.",
            f"Try {option('model', 'ali-vilab/i2vgen-xl')}",
        )
    if not network.is_shown(needs):
        raise ModelError(
            f"{network.name} makes a clip of its first frame, and {method} shows it none.",
            fits,
            f"Try {option('method', network.methods[0])}",
        )
    if "temporal" in needs and not network.is_over_frames:
        raise ModelError(
            f"{method} acts on attention over frames, and {network.name} has no layers that are for it.",
            f"Such are AnimateDiff's: {EMBEDDED_MOTION} (embedded), a folder in the layout of"
            " AnimateDiffPipeline, or a Stable Diffusion model and a motion adapter, as MODEL+ADAPTER.",
            f"Try {option('model', 'OWNER/NAME+guoyww/animatediff-motion-adapter-v1-5-2')}",
        )
