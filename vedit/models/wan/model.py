"""A loaded model in Wan's layout: transformers, the codec between clips and latents, and the text encoder.

Source: diffusers' WanPipeline, for the text and the scales of latents.
Shape letters: F pictures, f latent frames, C channels, Y X rows and columns, L text tokens, E text width.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from vedit.errors import UsageError, option
from vedit.models.clips import ClipModel
from vedit.models.flow import Flow
from vedit.models.layout import WAN, Layout
from vedit.models.prompt import Prompt
from vedit.models.wan.network import WanNetwork
from vedit.models.wan.side import NATIVE_SIDE, codec_factors
from vedit.models.words import checked_ids, read_prompt

ENCODED_AT_ONCE = 4  # frames behind the first that AutoencoderKLWan encodes at a time, whatever it packs


@dataclass
class WanModel(ClipModel, WanNetwork):
    """A loaded model.

    name, folder: where it came from. revision: the commit of a Hub model, else None. lora: what was merged.
    """

    layout: ClassVar[Layout] = WAN
    name: str
    revision: str | None
    folder: Path
    transformer: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    schedule: Flow
    device: torch.device
    dtype: torch.dtype
    text_tokens: int
    transformer_2: Any = None
    boundary: float | None = None
    by_token: bool = False
    hashes: dict[str, str] = field(default_factory=dict)
    offload: str = "none"
    lora: list[dict[str, Any]] = field(default_factory=list)
    editors: dict[str, Any] = field(default_factory=dict)  # weights of instruction editors that are loaded

    @property
    def scale(self) -> int:
        """Pixels per latent entry and side."""
        return codec_factors(self.vae.config)[0]

    @property
    def packs(self) -> int:
        """Pictures in one latent frame, of those behind the first."""
        return codec_factors(self.vae.config)[1]

    @property
    def native_size(self) -> int:
        """The shorter side in pixels that the model was trained at."""
        return NATIVE_SIDE[self.scale]

    @property
    def cells(self) -> int:
        """Latent cells on a side come in multiples of this: the network's patches."""
        return math.lcm(*self._patch[1:])

    def latent_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the latents of a picture of a width and height: whole patches of the network.

        Raises UsageError for more of them than it has places for.
        """
        width, height = size
        most = int(self.transformer.config.rope_max_seq_len)
        cells = []
        for side, patch in ((height, self._patch[1]), (width, self._patch[2])):
            patches = -(-side // (self.scale * self.cells)) * self.cells // patch
            if patches > most:
                raise UsageError(
                    f"{width}x{height} pixels are too many for {self.name}.",
                    f"It has places for {most * self.scale * patch} on a side.",
                    f"Try a smaller {option('size')}",
                )
            cells.append(patches * patch)
        return cells[0], cells[1]

    @property
    def _patch(self) -> tuple[int, int, int]:
        first, second, third = self.transformer.config.patch_size
        return int(first), int(second), int(third)

    @property
    def grain(self) -> int:
        return math.lcm(ENCODED_AT_ONCE, self.packs)

    def frames(self, pictures: int) -> int:
        """Latent frames of so many pictures, filled up. Raises UsageError for too many."""
        count, most = (
            (self.filled(pictures) - 1) // self.packs + 1,
            int(self.transformer.config.rope_max_seq_len),
        )
        if count > most:
            longest = (most - 1) * self.packs + 1
            raise UsageError(
                f"{pictures} frames at once are too many for {self.name}.",
                f"It has places for {longest}.",
                f"Try {option('frames', longest)}, or {option('stride', -(-pictures // longest))}",
            )
        return count

    def words(self, prompt: str) -> Prompt:
        return read_prompt(self.tokenizer, cleaned(prompt), self.text_tokens)

    @torch.inference_mode()
    def encode_prompt(self, prompt: str) -> Tensor:
        """The text embedding, (1, L, E) float32, zero behind the prompt's last token.

        Raises UsageError for a prompt too long.
        """
        text = cleaned(prompt)
        count = len(checked_ids(self.tokenizer, text, self.text_tokens))
        given = self.tokenizer(
            text,
            padding="max_length",
            max_length=self.text_tokens,
            return_attention_mask=True,
            return_tensors="pt",
        )
        with self._in_use(self.text_encoder):
            states = self.text_encoder(
                given.input_ids.to(self.device), attention_mask=given.attention_mask.to(self.device)
            ).last_hidden_state.float()
        states[:, count:] = 0
        return states

    def normal(self) -> tuple[Tensor, Tensor]:
        mean, std = (
            torch.tensor(self.vae.config[name], dtype=torch.float32)[:, None, None]
            for name in ("latents_mean", "latents_std")
        )
        return mean, std


def cleaned(prompt: str) -> str:
    """A prompt as WanPipeline reads it: HTML's names of letters are letters, and blanks are single."""
    return " ".join(html.unescape(html.unescape(prompt)).split())
