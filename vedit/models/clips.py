"""The half of a model of clips that its codec and its files decide, whichever transformer it has.

The codec packs a first frame alone and then some frames into one latent. A clip of another length is
filled up with its last frame, as a picture is with its last row, and cut again behind the codec.
Shape letters: F pictures, f latent frames, C channels, Y X rows and columns, L text tokens, E text width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from vedit.errors import UsageError, option
from vedit.models.bare import rebuilt, weight_bytes
from vedit.models.clip_network import ClipNetwork
from vedit.models.hub import BUILTIN, OURS, hash_weights
from vedit.models.layout import Layout
from vedit.models.place import OnDevice
from vedit.models.prompt import Prompt
from vedit.models.words import checked_ids, read_prompt
from vedit.pixels import padded

TILED_FROM = 1280 * 720  # pixels of a frame from which the codec works in overlapping tiles


@dataclass(kw_only=True)
class ClipModel(ClipNetwork):
    """A loaded model. Latents are float32 whatever the network's dtype.

    Everything lies on `device`; with an offload, parts are moved there for their use.
    name, folder: where it came from. revision: the commit of a Hub model, else None. lora: what was merged.
    hides_padding: the text encoder sees nothing behind the prompt.
    """

    layout: ClassVar[Layout]
    name: str
    revision: str | None
    folder: Path
    vae: Any
    text_encoder: Any
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    hides_padding: bool = True
    hashes: dict[str, str] = field(default_factory=dict)
    offload: str = "none"
    lora: list[dict[str, Any]] = field(default_factory=list)

    @property
    def scale(self) -> int:
        """Pixels per latent entry and side."""
        raise NotImplementedError

    @property
    def packs(self) -> int:
        """Pictures in one latent frame, of those behind the first."""
        raise NotImplementedError

    @property
    def grain(self) -> int:
        """Pictures behind the first come in multiples of this."""
        return self.packs

    @property
    def native_size(self) -> int:
        """The shorter side in pixels that the model was trained at."""
        raise NotImplementedError

    def normal(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each channel of the codec's latents, (C, 1, 1) float32."""
        raise NotImplementedError

    def decoded(self, vae: Any, latents_1CfYX: Tensor) -> Tensor:
        """What a codec, or its shape, makes of latents."""
        pixels: Tensor = vae.decode(latents_1CfYX).sample
        return pixels

    def for_clip(self, size: tuple[int, int], pictures: int, rate: float) -> Self:
        """As in `Model`; most depend on no clip."""
        return self

    @property
    def about(self) -> tuple[str, ...]:
        return ()

    @property
    def marks(self) -> int:
        """Tokens that each prompt has besides its words'."""
        return len(self.tokenizer("").input_ids)

    @property
    def is_embedded(self) -> bool:
        return self.folder.parent == BUILTIN and self.folder.name in OURS

    def read(self, prompt: str) -> str:
        """A prompt as the model's pipeline gives it to the tokenizer."""
        return prompt

    def words(self, prompt: str) -> Prompt:
        return read_prompt(self.tokenizer, self.read(prompt), self.text_tokens)

    @torch.inference_mode()
    def encode_prompt(self, prompt: str) -> Tensor:
        """The text embedding, (1, L, E) float32, zero behind the prompt's last token.

        Raises UsageError for a prompt too long.
        """
        text = self.read(prompt)
        count = len(checked_ids(self.tokenizer, text, self.text_tokens))
        given = self.tokenizer(
            text,
            padding="max_length",
            max_length=self.text_tokens,
            return_attention_mask=True,
            return_tensors="pt",
        ).to(self.device)
        mask = given.attention_mask if self.hides_padding else None
        with self._in_use(self.text_encoder):
            states_1LE: Tensor = self.text_encoder(given.input_ids, attention_mask=mask)[0].float()
        states_1LE[:, count:] = 0
        return states_1LE

    @property
    def cells(self) -> int:
        """Latent cells on a side come in multiples of this: the network's patches."""
        return math.lcm(*self.patch[1:])

    def latent_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the latents of a picture of a width and height: whole patches of the network.

        Raises UsageError for more of them than it has places for.
        """
        width, height = size
        rows, columns = (-(-side // (self.scale * self.cells)) * self.cells for side in (height, width))
        for cells, patch in zip((rows, columns), self.patch[1:], strict=True):
            if self.places is not None and cells // patch > self.places:
                raise UsageError(
                    f"{width}x{height} pixels are too many for {self.name}.",
                    f"It has places for {self.places * self.scale * patch} on a side.",
                    f"Try a smaller {option('size')}",
                )
        return rows, columns

    def frames(self, pictures: int) -> int:
        """Latent frames of so many pictures, filled up. Raises UsageError for too many."""
        count, most = (self.filled(pictures) - 1) // self.packs + 1, self.places
        if most is not None and count > most:
            longest = (most - 1) * self.packs + 1
            raise UsageError(
                f"{pictures} frames at once are too many for {self.name}.",
                f"It has places for {longest}.",
                f"Try {option('frames', longest)}, or {option('stride', -(-pictures // longest))}",
            )
        return count

    def filled(self, pictures: int) -> int:
        """Pictures that the codec works on for so many: so many grains and 1."""
        return -(-max(0, pictures - 1) // self.grain) * self.grain + 1

    def packed(self, mask_FCYX: Tensor) -> Tensor:
        """A mask of pictures as one of latent frames: each is edited as far as any of its pictures."""
        filled = filled_up(mask_FCYX, self.filled(len(mask_FCYX)))
        rest = filled[1:].unflatten(0, (-1, self.packs)).amax(1) if len(filled) > 1 else filled[1:]
        return torch.cat([filled[:1], rest])

    def unpacked(self, mask_fCYX: Tensor, pictures: int) -> Tensor:
        """What is known of latent frames, for each picture."""
        return torch.cat([mask_fCYX[:1], mask_fCYX[1:].repeat_interleave(self.packs, 0)])[:pictures]

    @torch.inference_mode()
    def encode_frames(self, pixels_F3YX: Tensor, chunk: int = 8) -> Tensor:
        """Latents (f, C, Y/s, X/s) of pixels in [-1, 1]: the posterior's mode, normalised by channel.

        chunk is not asked for: such a codec goes through a clip by itself.
        """
        filled = filled_up(padded(pixels_F3YX, self.scale * self.cells), self.filled(len(pixels_F3YX)))
        with self._in_use(self.vae), self._tiles(filled):
            clip = filled.transpose(0, 1)[None].to(self.device, self.vae.dtype)
            mode = self.vae.encode(clip).latent_dist.mode()[0].transpose(0, 1).float()
        mean, std = (part.to(mode.device) for part in self.normal())
        return (mode - mean) / std

    @torch.inference_mode()
    def decode_latents(
        self, latents_fCYX: Tensor, chunk: int = 8, size: tuple[int, int] | None = None
    ) -> Tensor:
        """Pixels (F, 3, Y, X) in [-1, 1], float32, of the filled clip. size: width and height to cut to."""
        latents = latents_fCYX.to(self.device, torch.float32)
        mean, std = (part.to(self.device) for part in self.normal())
        with self._in_use(self.vae), self._tiles(latents, self.scale):
            clip = (latents * std + mean).transpose(0, 1)[None]
            pixels_F3YX = self.decoded(self.vae, clip.to(self.vae.dtype))[0].transpose(0, 1).float()
        return pixels_F3YX if size is None else pixels_F3YX[..., : size[1], : size[0]]

    @contextmanager
    def _tiles(self, frames: Tensor, scale: int = 1) -> Iterator[None]:
        """Within it large pictures go through the codec in overlapping tiles."""
        is_large = frames.shape[-2] * frames.shape[-1] * scale**2 > TILED_FROM
        before, self.vae.use_tiling = self.vae.use_tiling, is_large
        try:
            yield
        finally:
            self.vae.use_tiling = before

    def codec_on_meta(
        self, frames: int, latent_size: tuple[int, int]
    ) -> tuple[Callable[[], Any], Callable[[], Any]]:
        """Coding and decoding of a clip of some pictures without contents, for predictions of memory.

        Of a long clip it is a part: what lives at once grows with its pictures alone, which are counted.
        """
        vae, (rows, columns), count = rebuilt(self.vae), latent_size, self.filled(frames)
        sides = (rows * self.scale, columns * self.scale)
        vae.use_tiling = sides[0] * sides[1] > TILED_FROM
        mean, _ = self.normal()
        clip = torch.empty(1, 3, count, *sides, device="meta", dtype=vae.dtype)
        latents = torch.empty(
            1, len(mean), (count - 1) // self.packs + 1, rows, columns, device="meta", dtype=vae.dtype
        )
        return lambda: vae.encode(clip), lambda: self.decoded(vae, latents)

    def codec_bytes(self) -> int:
        return weight_bytes(self.vae)

    def text_bytes(self) -> int:
        return weight_bytes(self.text_encoder)

    def parameters(self) -> dict[str, int]:
        """How many numbers each part holds."""
        return {
            part: sum(weight.numel() for weight in getattr(self, part).parameters()) for part in self._weighed
        }

    @property
    def _weighed(self) -> tuple[str, ...]:
        layout = self.layout
        return (*layout.weighed, *(part for part in layout.may if getattr(self, part) is not None))

    def identity(self) -> dict[str, Any]:
        """What an inversion depends on, by content: hashes of the weights that made it."""
        for part in self._weighed:
            if part not in self.hashes:
                self.hashes[part] = hash_weights(self.folder / part)
        return {
            "id": self.name,
            "revision": self.revision,
            **{key: self.hashes[part] for key, part in self.layout.hashed.items() if part in self.hashes},
            "inflation": "none",
            **({"lora": self.lora} if self.lora else {}),
        }

    def _in_use(self, part: Any) -> Any:
        return OnDevice(part, self.device)

    @contextmanager
    def _ready(self, part: Any) -> Iterator[Any]:
        """The part on the device: of two with an offload, the other leaves it."""
        if self.offload == "model" and self.device.type != "cpu":
            for name in self._weighed:
                if name.startswith("transformer") and (other := getattr(self, name)) is not part:
                    other.to("cpu")
            part.to(self.device)
        yield part


def filled_up(frames_FCYX: Tensor, count: int) -> Tensor:
    """Frames, as many as that: the last is repeated."""
    more = count - len(frames_FCYX)
    return torch.cat([frames_FCYX, frames_FCYX[-1:].expand(more, -1, -1, -1)]) if more else frames_FCYX
