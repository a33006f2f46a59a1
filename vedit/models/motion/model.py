"""A loaded video model: Stable Diffusion's codec and text encoder around a network of whole clips.

Shape letters: F frames, C channels, Y X rows and columns, L text tokens, E text width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from vedit.errors import ModelError, UsageError, option
from vedit.models.bare import weight_bytes
from vedit.models.hub import commit_of, hash_weights, with_adapter
from vedit.models.layout import ANIMATEDIFF, I2VGEN, SVD, Layout
from vedit.models.motion.network import FirstFrameNetwork, MotionNetwork, SpatioTemporalNetwork
from vedit.models.motion.side import NATIVE_SIDE, SVD_SIDE
from vedit.models.prompt import Prompt
from vedit.models.sd.model import Model, codec_frames
from vedit.models.sd.network import rebuilt
from vedit.models.shapes.networks import with_words
from vedit.models.shown import Shown
from vedit.models.words import checked_ids
from vedit.pixels import to_bytes

if TYPE_CHECKING:
    import numpy as np

NOISE = 0.02  # of the picture that Stable Video Diffusion is shown, as it is told
SEEN = 224  # side in pixels at which its image encoder is given a picture


@dataclass
class MotionModel(MotionNetwork, Model):
    """AnimateDiff. adapter: the folder of its motion adapter, where that is not part of the network's own."""

    layout: ClassVar[Layout] = ANIMATEDIFF
    adapter: Path | None = None

    def frames(self, pictures: int) -> int:
        """As many; raises UsageError for more than the layers over frames have places for."""
        most = int(self.unet.config.motion_max_seq_length)
        if pictures > most:
            raise too_long(pictures, most, self.name)
        return pictures

    @torch.inference_mode()
    def encode_prompt(self, prompt: str) -> Tensor:
        """The text embedding, (1, L, E) float32; of the embedded model with a row for its motion words."""
        states = super().encode_prompt(prompt)
        if not self.motion_words:
            return states
        from vedit.data.vocabulary import motion_words

        ids = torch.tensor([self.tokenizer(prompt).input_ids])
        return with_words(states, motion_words(ids).to(states))

    def identity(self) -> dict[str, Any]:
        told = super().identity()
        if self.adapter is not None:
            if "motion_adapter" not in self.hashes:
                self.hashes["motion_adapter"] = hash_weights(self.adapter)
            told["motion_adapter_sha256"] = self.hashes["motion_adapter"]
            if commit := commit_of(self.adapter):  # an adapter of the Hub, in this version
                base, asked = with_adapter(self.name)
                told["id"] = f"{base}+{str(asked).partition('@')[0]}@{commit}"
        return told


@dataclass
class PictureModel(Model):
    """A model whose clips begin with a picture that they are shown.

    feature_extractor: how its image encoder is given one.
    """

    image_encoder: Any = None
    feature_extractor: Any = None

    def embedded(self, images: Any, **options: Any) -> Tensor:
        """The image encoder's embedding of a picture of its size, (1, E) float32.

        options: of the extractor.
        """
        given = self.feature_extractor(
            images=images,
            do_normalize=True,
            do_center_crop=False,
            do_resize=False,
            return_tensors="pt",
            **options,
        ).pixel_values
        with self._in_use(self.image_encoder):
            found = self.image_encoder(given.to(self.device, self.image_encoder.dtype))
        embedding: Tensor = found.image_embeds.float()
        return embedding


@dataclass
class FirstFrameModel(FirstFrameNetwork, PictureModel):
    """I2VGen-XL."""

    layout: ClassVar[Layout] = I2VGEN

    @property
    def native_size(self) -> int:
        return NATIVE_SIDE

    @torch.inference_mode()
    def encode_prompt(self, prompt: str) -> Tensor:
        """The text encoder's last but one states, normalised, (1, L, E) float32, as its pipeline takes them.

        Raises UsageError for a prompt too long.
        """
        checked_ids(self.tokenizer, prompt, self.text_tokens)
        given = self.tokenizer(
            prompt, padding="max_length", max_length=self.text_tokens, return_tensors="pt"
        ).input_ids.to(self.device)
        with self._in_use(self.text_encoder):
            states = self.text_encoder(given, output_hidden_states=True).hidden_states[-2]
            inner = getattr(self.text_encoder, "text_model", self.text_encoder)  # by version of transformers
            normalised: Tensor = inner.final_layer_norm(states).float()
        return normalised

    @torch.inference_mode()
    def show(self, picture_3YX: Tensor, frames: int) -> tuple[Shown, Shown]:
        """The picture's latents and then, for each frame, how far behind it lies; and its embedding, which
        the branch that guidance leads away from is not given.

        Source: diffusers' I2VGenXLPipeline. Deviation: the codec's mean, where that draws from it.
        """
        first = self.encode_frames(picture_3YX[None])
        far = torch.arange(1, frames, device=first.device) / max(1, frames - 1)
        behind = torch.ones_like(first).expand(len(far), -1, -1, -1) * far[:, None, None, None]
        latents = torch.cat([first, behind])
        whole = to_bytes(picture_3YX[None].float().cpu())[0]
        embedding = self.embedded([seen_by_encoder(whole, self.feature_extractor.crop_size)])
        return Shown(embedding, latents), Shown(torch.zeros_like(embedding), latents)

    def text_bytes(self) -> int:
        return weight_bytes(self.text_encoder) + weight_bytes(self.image_encoder)


@dataclass
class VideoDiffusionModel(SpatioTemporalNetwork, PictureModel):
    """Stable Video Diffusion: a first frame and no text."""

    layout: ClassVar[Layout] = SVD

    @property
    def native_size(self) -> int:
        return SVD_SIDE

    @property
    def marks(self) -> int:
        """Its one row of text, which is empty."""
        return 1

    def words(self, prompt: str) -> Prompt:
        raise ModelError(
            f"{self.name} reads no text.", "Methods that edit by words need a model that reads tokens."
        )

    def encode_prompt(self, prompt: str) -> Tensor:
        """Nothing, (1, 1, E): the network reads a picture where others read text."""
        return torch.zeros(1, *self.text_shape, device=self.device)

    @torch.inference_mode()
    def decode_latents(
        self, latents_FCYX: Tensor, chunk: int = 8, size: tuple[int, int] | None = None
    ) -> Tensor:
        """Pixels (F, 3, Y, X) in [-1, 1], float32, not clipped, some frames at a time, which see each other.

        size: width and height to cut to.
        """
        chunk = codec_frames(chunk, latents_FCYX.shape[-2] * latents_FCYX.shape[-1] * self.scale**2)
        with self._in_use(self.vae):
            parts = [
                self.vae.decode(
                    (part / self.vae.config.scaling_factor).to(self.device, self.vae.dtype),
                    num_frames=len(part),
                ).sample.float()
                for part in latents_FCYX.split(chunk)
            ]
        pixels_F3YX = torch.cat(parts)
        return pixels_F3YX if size is None else pixels_F3YX[..., : size[1], : size[0]]

    def codec_on_meta(
        self, frames: int, latent_size: tuple[int, int]
    ) -> tuple[Callable[[], Any], Callable[[], Any]]:
        """As of other models; the decoder is told how many frames there are."""
        encode, _ = super().codec_on_meta(frames, latent_size)
        vae, (rows, columns) = rebuilt(self.vae), latent_size
        frames = codec_frames(frames, rows * columns * self.scale**2)
        size = (frames, int(vae.config.latent_channels), rows, columns)
        latents = torch.empty(size, device="meta", dtype=vae.dtype)
        return encode, lambda: vae.decode(latents, num_frames=frames)

    @torch.inference_mode()
    def show(self, picture_3YX: Tensor, frames: int) -> tuple[Shown, Shown]:
        """The picture's latents, a little noisy, for every frame, and its embedding; the branch that guidance
        leads away from is given neither.

        Source: diffusers' StableVideoDiffusionPipeline. Deviation: the noise is the same for every picture.
        """
        noise = torch.randn(picture_3YX.shape, generator=torch.Generator().manual_seed(0))
        noisy = picture_3YX.float().cpu() + NOISE * noise
        first = self.encode_frames(noisy[None]) / self.vae.config.scaling_factor
        shown = Shown(self._embedding(picture_3YX), first.expand(frames, -1, -1, -1))
        return shown, Shown(torch.zeros_like(shown.embedding_1E), torch.zeros_like(shown.latents_FCYX))

    def _embedding(self, picture_3YX: Tensor) -> Tensor:
        from diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion import (
            _resize_with_antialiasing,
        )

        small = _resize_with_antialiasing(picture_3YX[None].float().cpu(), (SEEN, SEEN))
        return self.embedded((small + 1) / 2, do_rescale=False)

    def text_bytes(self) -> int:
        return weight_bytes(self.image_encoder)


def seen_by_encoder(picture_YX3: np.ndarray, size: Any) -> Any:
    """The middle square of a picture as the image encoder is given it, scaled as the pipeline does: to a
    square of its width first.
    """
    from PIL import Image

    shown = Image.fromarray(picture_YX3)
    side = shown.width
    scale = min(1.0, shown.height / side)
    whole = shown.resize((round(shown.width // scale), round(shown.height // scale)), Image.Resampling.BOX)
    left, top = (whole.width - side) // 2, (whole.height - side) // 2
    return whole.crop((left, top, left + side, top + side)).resize(
        (int(size["width"]), int(size["height"])), Image.Resampling.BILINEAR
    )


def too_long(pictures: int, most: int, name: str) -> UsageError:
    """What is said of more frames than layers over frames know."""
    return UsageError(
        f"{pictures} frames at once are too many for {name}.",
        f"Its layers over frames know {most} places in time.",
        f"Try {option('frames', most)}, or {option('stride', -(-pictures // most))}",
    )
