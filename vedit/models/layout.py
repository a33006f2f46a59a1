"""The layouts of pipelines that clips are edited with: their parts, and the classes of these. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Layout:
    """One layout of diffusers.

    weighed: the parts with weights. may: such parts that a model may lack. classes: those that each part may
    have; None stands for a part that is not named. network: the part whose channels are the latents'.
    """

    name: str
    title: str
    pipelines: tuple[str, ...]
    weighed: tuple[str, ...]
    classes: Mapping[str, frozenset[str | None]]
    may: tuple[str, ...] = ()
    latents: str = "latent_channels"  # what the autoencoder's configuration calls their channels
    beside: tuple[str, ...] = ("tokenizer", "scheduler")  # parts without weights
    channels: int = 4  # of latents, where configurations do not tell
    takes: int = 1  # pictures in latents that the network is given: the noisy one, and one that it is shown

    @property
    def network(self) -> str:
        return self.weighed[0]

    @property
    def hashed(self) -> dict[str, str]:
        """The parts by the keys that their hashes have in records."""
        names = {"text_encoder": "text"}
        return {f"{names.get(part, part)}_sha256": part for part in (*self.weighed, *self.may)}

    def matches(self, index: Mapping[str, Any]) -> bool:
        return all(class_of(index, part) in classes for part, classes in self.classes.items())

    def weighed_in(self, index: Mapping[str, Any]) -> tuple[str, ...]:
        """The parts with weights of a model, by its model_index.json."""
        return (*self.weighed, *(part for part in self.may if class_of(index, part) is not None))


NOTHING: frozenset[str | None] = frozenset({None})
SD = Layout(
    "sd",
    "StableDiffusionPipeline",
    ("StableDiffusionPipeline",),
    ("unet", "vae", "text_encoder"),
    {
        "unet": frozenset({"UNet2DConditionModel"}),
        "vae": frozenset({None, "AutoencoderKL"}),
        "text_encoder": frozenset({None, "CLIPTextModel"}),
        "text_encoder_2": NOTHING,
        "transformer": NOTHING,
    },
)
SDXL = Layout(
    "sdxl",
    "StableDiffusionXLPipeline",
    ("StableDiffusionXLPipeline",),
    ("unet", "vae", "text_encoder", "text_encoder_2"),
    {
        "unet": frozenset({"UNet2DConditionModel"}),
        "vae": frozenset({None, "AutoencoderKL"}),
        "text_encoder": frozenset({"CLIPTextModel"}),
        "text_encoder_2": frozenset({"CLIPTextModelWithProjection"}),
        "transformer": NOTHING,
    },
    beside=("tokenizer", "tokenizer_2", "scheduler"),
)
ANIMATEDIFF = Layout(
    "animatediff",
    "AnimateDiffPipeline",
    ("AnimateDiffPipeline", "AnimateDiffVideoToVideoPipeline"),
    ("unet", "vae", "text_encoder"),
    {
        "unet": frozenset({"UNetMotionModel"}),
        "vae": frozenset({"AutoencoderKL"}),
        "text_encoder": frozenset({"CLIPTextModel"}),
        "text_encoder_2": NOTHING,
        "transformer": NOTHING,
    },
)
I2VGEN = Layout(
    "i2vgen-xl",
    "I2VGenXLPipeline",
    ("I2VGenXLPipeline",),
    ("unet", "vae", "text_encoder", "image_encoder"),
    {
        "unet": frozenset({"I2VGenXLUNet"}),
        "vae": frozenset({"AutoencoderKL"}),
        "text_encoder": frozenset({"CLIPTextModel"}),
        "image_encoder": frozenset({"CLIPVisionModelWithProjection"}),
        "transformer": NOTHING,
    },
    beside=("tokenizer", "scheduler", "feature_extractor"),
)
SVD = Layout(
    "svd",
    "StableVideoDiffusionPipeline",
    ("StableVideoDiffusionPipeline",),
    ("unet", "vae", "image_encoder"),
    {
        "unet": frozenset({"UNetSpatioTemporalConditionModel"}),
        "vae": frozenset({"AutoencoderKLTemporalDecoder"}),
        "image_encoder": frozenset({"CLIPVisionModelWithProjection"}),
        "text_encoder": NOTHING,
        "transformer": NOTHING,
    },
    beside=("scheduler", "feature_extractor"),
    takes=2,
)
WAN = Layout(
    "wan",
    "WanPipeline",
    ("WanPipeline", "WanVideoToVideoPipeline"),
    ("transformer", "vae", "text_encoder"),
    {
        "transformer": frozenset({"WanTransformer3DModel"}),
        "transformer_2": frozenset({None, "WanTransformer3DModel"}),
        "vae": frozenset({"AutoencoderKLWan"}),
        "text_encoder": frozenset({"UMT5EncoderModel", "CLIPTextModel"}),
        "image_encoder": NOTHING,
        "unet": NOTHING,
    },
    ("transformer_2",),
    "z_dim",
    channels=16,
)
LTX = Layout(
    "ltx",
    "LTXPipeline",
    ("LTXPipeline", "LTXConditionPipeline", "LTXImageToVideoPipeline"),
    ("transformer", "vae", "text_encoder"),
    {
        "transformer": frozenset({"LTXVideoTransformer3DModel"}),
        "vae": frozenset({"AutoencoderKLLTXVideo"}),
        "text_encoder": frozenset({"T5EncoderModel"}),
        "unet": NOTHING,
    },
    channels=128,
)
LAYOUTS = (SD, SDXL, WAN, LTX, ANIMATEDIFF, I2VGEN, SVD)
CLIPS = (WAN, LTX)  # transformers of whole clips, trained by flow matching
MOTION = (ANIMATEDIFF, I2VGEN, SVD)  # video networks with layers over frames of their own


def class_of(index: Mapping[str, Any], part: str) -> Any:
    """The class that a model_index.json names for a part; None for a part that is not there."""
    entry = index.get(part)
    return entry[1] if isinstance(entry, list) and len(entry) == 2 else entry


def layout_of(index: Mapping[str, Any]) -> Layout | None:
    """The layout of a pipeline, by its model_index.json; None for one of another kind."""
    return next((layout for layout in LAYOUTS if layout.matches(index)), None)
