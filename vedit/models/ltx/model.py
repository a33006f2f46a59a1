"""A loaded LTX-Video: the transformer, the codec between clips and latents, and T5's text.

Source: diffusers' LTXPipeline and LTXConditionPipeline, for the text, the levels and the scales of latents.
Deviation: a codec that is told a noise level is given latents with the same noise each time.
Shape letters: f latent frames, C channels, Y X rows and columns, L text tokens, E text width.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from vedit.models.clips import ClipModel
from vedit.models.flow import Flow, Moving
from vedit.models.layout import LTX, Layout
from vedit.models.ltx.network import Grid, LTXNetwork
from vedit.models.ltx.side import NATIVE_SIDE
from vedit.models.prompt import Prompt
from vedit.models.words import checked_ids, read_prompt

DECODED_AT, DECODED_NOISE = 0.05, 0.025  # what the models' cards decode with, where a codec is told a level


@dataclass
class LTXModel(LTXNetwork, ClipModel):
    """A loaded model.

    name, folder: where it came from. revision: the commit of a Hub model, else None. lora: what was merged.
    moving: how its levels depend on the tokens of a clip; None where they do not. grid: where tokens lie.
    hides_padding: T5 sees nothing behind the prompt, as from 0.9.5 on; before, it sees the padding.
    """

    layout: ClassVar[Layout] = LTX
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
    grid: Grid
    moving: Moving | None = None
    hides_padding: bool = False
    hashes: dict[str, str] = field(default_factory=dict)
    offload: str = "none"
    lora: list[dict[str, Any]] = field(default_factory=list)

    @property
    def scale(self) -> int:
        """Pixels per latent entry and side."""
        return int(self.vae.spatial_compression_ratio)

    @property
    def packs(self) -> int:
        """Pictures in one latent frame, of those behind the first."""
        return int(self.vae.temporal_compression_ratio)

    @property
    def native_size(self) -> int:
        """The shorter side in pixels that the model was trained at."""
        return NATIVE_SIDE

    @property
    def cells(self) -> int:
        return 1

    def latent_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the latents of a picture of a width and height."""
        width, height = size
        return -(-height // self.scale), -(-width // self.scale)

    def frames(self, pictures: int) -> int:
        """Latent frames of so many pictures, filled up; there are places for any number."""
        return (self.filled(pictures) - 1) // self.packs + 1

    def for_clip(self, size: tuple[int, int], pictures: int, rate: float) -> Self:
        """With the levels of clips of as many tokens, and the places of tokens at a rate."""
        rows, columns = self.latent_size(size)
        tokens = self.frames(pictures) * rows * columns
        schedule = self.schedule if self.moving is None else self.moving.at(tokens)
        return replace(self, schedule=schedule, grid=replace(self.grid, rate=rate))

    @property
    def about(self) -> tuple[str, ...]:
        """Lines of --explain."""
        moved = "" if self.moving is None else f"; levels shifted by {self.schedule.shift:.3g} for its size"
        return (f"the network is told {self.grid.rate:.4g} frames a second{moved}",)

    def words(self, prompt: str) -> Prompt:
        return read_prompt(self.tokenizer, prompt, self.text_tokens)

    @torch.inference_mode()
    def encode_prompt(self, prompt: str) -> Tensor:
        """The text embedding, (1, L, E) float32, zero behind the prompt's last token, which the network masks
        there. Raises UsageError for a prompt too long.
        """
        count = len(checked_ids(self.tokenizer, prompt, self.text_tokens))
        given = self.tokenizer(
            prompt,
            padding="max_length",
            max_length=self.text_tokens,
            return_attention_mask=True,
            return_tensors="pt",
        )
        mask = given.attention_mask.to(self.device) if self.hides_padding else None
        with self._in_use(self.text_encoder):
            states: Tensor = self.text_encoder(given.input_ids.to(self.device), attention_mask=mask)[
                0
            ].float()
        states[:, count:] = 0
        return states

    def normal(self) -> tuple[Tensor, Tensor]:
        mean, std = (
            getattr(self.vae, name).float()[:, None, None] for name in ("latents_mean", "latents_std")
        )
        return mean, std / float(self.vae.config.scaling_factor)

    def decoded(self, vae: Any, latents_1CfYX: Tensor) -> Tensor:
        """Pixels; a codec that adds noise of its own draws it from the same seed each time."""
        level = None
        if vae.config.timestep_conditioning:
            level = torch.full((1,), DECODED_AT, device=latents_1CfYX.device, dtype=latents_1CfYX.dtype)
            noise = torch.randn(latents_1CfYX.shape, generator=torch.Generator().manual_seed(0))
            latents_1CfYX = (1 - DECODED_NOISE) * latents_1CfYX + DECODED_NOISE * noise.to(latents_1CfYX)
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(0)
            pixels: Tensor = vae.decode(latents_1CfYX, level).sample
        return pixels

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "rate": self.grid.rate}
