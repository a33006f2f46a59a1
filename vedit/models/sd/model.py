"""A loaded model in Stable Diffusion's layout: the network, the codec between pixels and latents, and CLIP's
text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from vedit.errors import UsageError
from vedit.models.alpha_bar import AlphaBar
from vedit.models.bare import weight_bytes
from vedit.models.hub import BUILTIN, EMBEDDED, hash_weights, latent_side
from vedit.models.layout import SD, Layout
from vedit.models.place import OnDevice
from vedit.models.sd import single_file
from vedit.models.sd.control import Controls
from vedit.models.sd.network import UNetNetwork, rebuilt
from vedit.pixels import padded

CODEC_PIXELS = 2 * 512 * 512  # that the autoencoder takes at once


@dataclass
class Model(UNetNetwork):
    """A loaded model. Latents are float32 whatever the network's dtype.

    name, folder: where it came from. revision: the commit of a Hub model, else None. lora: what was merged.
    Everything lies on `device`; with an offload, parts are moved there for their use. controls: ControlNets
    of an edit. kept: what edits have loaded beside it, by kind and folder, for the next one.
    """

    layout: ClassVar[Layout] = SD
    name: str
    revision: str | None
    folder: Path
    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    schedule: AlphaBar
    device: torch.device
    dtype: torch.dtype
    hashes: dict[str, str] = field(default_factory=dict)
    offload: str = "none"
    lora: list[dict[str, Any]] = field(default_factory=list)
    controls: Controls | None = None
    kept: dict[tuple[str, str], Any] = field(default_factory=dict)

    @property
    def marks(self) -> int:
        """Tokens that each prompt has besides its words'."""
        return len(self.tokenizer("").input_ids)

    @property
    def is_embedded(self) -> bool:
        return self.folder == BUILTIN / EMBEDDED

    @property
    def scale(self) -> int:
        """Pixels per latent entry and side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def native_size(self) -> int:
        """The side in pixels that the model was trained at."""
        return latent_side(self.unet.config.sample_size) * self.scale

    @torch.inference_mode()
    def encode_prompt(self, prompt: str) -> Tensor:
        """The text embedding, (1, L, E) float32. Raises UsageError for a prompt too long."""
        limit = self.tokenizer.model_max_length
        count = len(self.tokenizer(prompt).input_ids)
        if count > limit:
            raise UsageError(
                f"the prompt has {count - 2} tokens, the model reads {limit - 2}: {prompt!r}.",
                "A longer prompt would be cut in silence.",
                "Shorten it",
            )
        ids = self.tokenizer(prompt, padding="max_length", max_length=limit, return_tensors="pt").input_ids
        with self._in_use(self.text_encoder):
            return self.text_encoder(ids.to(self.device))[0].float()

    @property
    def cells(self) -> int:
        return 1

    def for_clip(self, size: tuple[int, int], pictures: int, rate: float) -> Self:
        return self

    @property
    def about(self) -> tuple[str, ...]:
        return ()

    def latent_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the latents of a picture of a width and height: a cell that it fills in part is
        one.
        """
        width, height = size
        return -(-height // self.scale), -(-width // self.scale)

    def frames(self, pictures: int) -> int:
        """Each picture has latents of its own."""
        return pictures

    def filled(self, pictures: int) -> int:
        return pictures

    def packed(self, mask_FCYX: Tensor) -> Tensor:
        return mask_FCYX

    def unpacked(self, mask_fCYX: Tensor, pictures: int) -> Tensor:
        return mask_fCYX

    @torch.inference_mode()
    def encode_frames(self, pixels_F3YX: Tensor, chunk: int = 8) -> Tensor:
        """Latents (F, C, Y/s, X/s) of pixels in [-1, 1]: the posterior's mean, scaled.

        Sides that are not multiples of s are filled up with their last row and column.
        """
        pixels_F3YX = padded(pixels_F3YX, self.scale)
        chunk = codec_frames(chunk, pixels_F3YX.shape[-2] * pixels_F3YX.shape[-1])
        with self._in_use(self.vae):
            parts = [
                self.vae.encode(part.to(self.device, self.vae.dtype)).latent_dist.mean.float()
                for part in pixels_F3YX.split(chunk)
            ]
        return torch.cat(parts) * self.vae.config.scaling_factor

    @torch.inference_mode()
    def decode_latents(
        self, latents_FCYX: Tensor, chunk: int = 8, size: tuple[int, int] | None = None
    ) -> Tensor:
        """Pixels (F, 3, Y, X) in [-1, 1], float32, not clipped. size: width and height that `encode_frames`
        was given, where it filled up.
        """
        chunk = codec_frames(chunk, latents_FCYX.shape[-2] * latents_FCYX.shape[-1] * self.scale**2)
        with self._in_use(self.vae):
            parts = [
                self.vae.decode(
                    (part / self.vae.config.scaling_factor).to(self.device, self.vae.dtype)
                ).sample.float()
                for part in latents_FCYX.split(chunk)
            ]
        pixels_F3YX = torch.cat(parts)
        return pixels_F3YX if size is None else pixels_F3YX[..., : size[1], : size[0]]

    def codec_on_meta(
        self, frames: int, latent_size: tuple[int, int]
    ) -> tuple[Callable[[], Any], Callable[[], Any]]:
        """Coding and decoding of what goes through at once of some frames, without contents, for predictions
        of memory.
        """
        vae, (rows, columns) = rebuilt(self.vae), latent_size
        frames = codec_frames(frames, rows * columns * self.scale**2)
        pixels = torch.empty(
            frames, 3, rows * self.scale, columns * self.scale, device="meta", dtype=vae.dtype
        )
        latents = torch.empty(
            frames, int(vae.config.latent_channels), rows, columns, device="meta", dtype=vae.dtype
        )
        return lambda: vae.encode(pixels), lambda: vae.decode(latents)

    def codec_bytes(self) -> int:
        return weight_bytes(self.vae)

    def text_bytes(self) -> int:
        return weight_bytes(self.text_encoder)

    def parameters(self) -> dict[str, int]:
        """How many numbers each part holds."""
        return {
            part: sum(weight.numel() for weight in getattr(self, part).parameters())
            for part in self.layout.weighed
        }

    def _in_use(self, part: Any) -> Any:
        return OnDevice(part, self.device)

    def identity(self) -> dict[str, Any]:
        """What an inversion depends on, by content: hashes of the weights that made it."""
        if not self.hashes and self.folder.is_file():
            self.hashes = dict.fromkeys(self.layout.weighed, single_file.digest_of(self.folder))
        for part in self.layout.weighed:
            if part not in self.hashes:
                self.hashes[part] = hash_weights(self.folder / part)
        return {
            "id": self.name,
            "revision": self.revision,
            **{key: self.hashes[part] for key, part in self.layout.hashed.items()},
            "inflation": "none",
            **({"lora": self.lora} if self.lora else {}),
            **({"control": told} if self.controls and (told := self.controls.identity()) else {}),
        }


def codec_frames(most: int, area: int) -> int:
    """Frames that the autoencoder takes at once, `most` at most; area: pixels of a frame.

    Counted on shapes alone, a frame of 512x512 takes 0.75 GiB on its way, more than in the UNet.
    """
    return max(1, min(most, CODEC_PIXELS // area))
