"""The network half of the video UNets: clips go through as wholes, in diffusers' own classes.

Some also see a picture, the clip's first frame: its latents beside those of the clip, and an embedding of it
beside the text. Sources: diffusers' AnimateDiffPipeline and I2VGenXLPipeline.
Shape letters: B clips, F frames, C channels, Y X latent rows and columns, L text tokens, E text width,
M motion words.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from vedit.errors import ModelError
from vedit.models.motion.attach import attached
from vedit.models.motion.sites import find_sites
from vedit.models.sd.network import UNetNetwork, rebuilt
from vedit.models.shapes.networks import without_words
from vedit.models.shown import Shown
from vedit.models.sites import Site
from vedit.models.tensors import Applier

I2VGEN_RATE = 8  # frames a second that I2VGen-XL is told, those of AnyV2V
SVD_NUMBERS = (
    6,
    127,
    0.02,
)  # frames a second less one, motion bucket, noise of the picture: its pipeline's own


class MotionNetwork(UNetNetwork):
    """AnimateDiff: a `UNetMotionModel` in `unet`.

    That of the embedded model also reads which motion words a caption has, in a row behind the text's own.
    """

    frame_axis = True

    @property
    def motion_words(self) -> int:
        """Motion words that the network is told of; 0 for all but the embedded one."""
        return int(getattr(self.unet.config, "time_cond_proj_dim", None) or 0)

    @property
    def text_shape(self) -> tuple[int, int]:
        rows, width = super().text_shape
        return rows + (self.motion_words > 0), width

    def predict(self, latents_BFCYX: Tensor, timestep: Any, text_BLE: Tensor) -> Tensor:
        words_BM = None
        if self.motion_words:
            text_BLE, words_BM = without_words(text_BLE, self.motion_words)
        output: Tensor = self.unet(
            latents_BFCYX.transpose(1, 2),
            timestep,
            encoder_hidden_states=text_BLE.repeat_interleave(latents_BFCYX.shape[1], dim=0),
            timestep_cond=words_BM,
        ).sample
        return output.transpose(1, 2)

    def sites(self) -> list[Site]:
        return find_sites(self.unet)

    def attached(self, sites: Sequence[Site], applier: Applier) -> AbstractContextManager[None]:
        return attached(self.unet, sites, applier)

    def on_meta(self) -> UNetNetwork:
        return BareMotion(rebuilt(self.unet), self.tokenizer)

    def inflated(self) -> NoReturn:
        raise ModelError(
            "this model has layers over frames of its own, and cannot be given others.",
            "Inflation is for Stable Diffusion 1.x and 2.x.",
        )


class FirstFrameNetwork(MotionNetwork):
    """I2VGen-XL: an `I2VGenXLUNet` in `unet`, which sees a picture."""

    sees_picture = True

    def predict(
        self,
        latents_BFCYX: Tensor,
        timestep: Any,
        text_BLE: Tensor,
        shown: Sequence[Shown | None] = (),
    ) -> Tensor:
        """shown: to each clip of the batch; nothing where only the sizes matter."""
        embedding_B1E, picture_BFCYX = stacked(shown, latents_BFCYX, text_BLE)
        output: Tensor = self.unet(
            latents_BFCYX.transpose(1, 2),
            timestep,
            fps=torch.full((len(latents_BFCYX),), I2VGEN_RATE, device=latents_BFCYX.device),
            image_latents=picture_BFCYX.transpose(1, 2),
            image_embeddings=embedding_B1E,
            encoder_hidden_states=text_BLE,
        ).sample
        return output.transpose(1, 2)

    def on_meta(self) -> UNetNetwork:
        return BareFirstFrame(rebuilt(self.unet), self.tokenizer)


class SpatioTemporalNetwork(FirstFrameNetwork):
    """Stable Video Diffusion: a `UNetSpatioTemporalConditionModel` in `unet`, which reads no text."""

    @property
    def channels(self) -> int:
        return int(self.unet.config.out_channels)

    @property
    def text_tokens(self) -> int:
        return 1

    def predict(
        self,
        latents_BFCYX: Tensor,
        timestep: Any,
        text_BLE: Tensor,
        shown: Sequence[Shown | None] = (),
    ) -> Tensor:
        """shown: to each clip of the batch, in the place of text too; nothing where only the sizes matter."""
        embedding_B1E, picture_BFCYX = stacked(shown, latents_BFCYX, text_BLE)
        numbers = torch.tensor([SVD_NUMBERS], device=latents_BFCYX.device, dtype=latents_BFCYX.dtype)
        output: Tensor = self.unet(
            torch.cat([latents_BFCYX, picture_BFCYX], dim=2),
            timestep,
            encoder_hidden_states=embedding_B1E,
            added_time_ids=numbers.expand(len(latents_BFCYX), -1),
        ).sample
        return output

    def on_meta(self) -> UNetNetwork:
        # a factor of its layers is made on the CPU wherever the rest is
        return BareSpatioTemporal(rebuilt(self.unet).to("meta"), None)


def stacked(shown: Sequence[Shown | None], latents_BFCYX: Tensor, text_BLE: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings (B, 1, E) and latents (B, F, C, Y, X) of what each clip is shown; zeros for nothing."""
    if not any(shown):
        empty = text_BLE.new_zeros(len(text_BLE), 1, text_BLE.shape[-1])
        return empty, torch.zeros_like(latents_BFCYX)
    given = [one for one in shown if one is not None]
    assert len(given) == len(latents_BFCYX), "who shows one branch a picture shows all of them one"
    return (
        torch.stack([one.embedding_1E for one in given]).to(text_BLE),
        torch.stack([one.latents_FCYX for one in given]).to(latents_BFCYX),
    )


@dataclass
class BareMotion(MotionNetwork):
    """A network and a tokenizer, and nothing else of a model."""

    unet: Any
    tokenizer: Any


@dataclass
class BareFirstFrame(FirstFrameNetwork):
    """The same of a network that sees a picture."""

    unet: Any
    tokenizer: Any


@dataclass
class BareSpatioTemporal(SpatioTemporalNetwork):
    """The same of Stable Video Diffusion."""

    unet: Any
    tokenizer: Any
