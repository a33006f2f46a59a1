"""Stable Diffusion XL: the first family's UNet with two text encoders and conditions beside the text.

The network is also told the pooled text of the second encoder, and six numbers of the picture: its size
before and after cropping, and where it was cut. A text embedding carries the pooled text as its last row,
filled up with zeros, so that whatever is done to embeddings is done to it as well.
Source: diffusers' StableDiffusionXLPipeline. Only the base model: the refiner is another network.
Shape letters: F frames, L text tokens, E width of both encoders together, P of the pooled text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vedit.errors import ModelError
from vedit.models.bare import weight_bytes
from vedit.models.layout import SDXL, Layout
from vedit.models.prompt import Prompt
from vedit.models.sd.control import Controls
from vedit.models.sd.model import Model
from vedit.models.sd.network import UNetNetwork, rebuilt
from vedit.models.words import checked_ids, read_prompt

NUMBERS = 6  # of a picture


class XLNetwork(UNetNetwork):
    """What the engine asks of a network, answered by SDXL's UNet. scale: pixels per latent entry and side."""

    scale: Any

    @property
    def text_shape(self) -> tuple[int, int]:
        return self.text_tokens + 1, int(self.unet.config.cross_attention_dim)

    def predict(self, latents_FCYX: Tensor, timestep: Any, text_FLE: Tensor) -> Tensor:
        added = {
            "text_embeds": text_FLE[:, -1, : pooled_width(self.unet.config)],
            "time_ids": picture_numbers(latents_FCYX, int(self.scale)),
        }
        text = text_FLE[:, :-1]
        beside = {} if self.controls is None else self.controls.residuals(latents_FCYX, timestep, text, added)
        output: Tensor = self.unet(
            latents_FCYX, timestep, encoder_hidden_states=text, added_cond_kwargs=added, **beside
        ).sample
        return output

    def keys_of(self, path: str, text_1LE: Tensor) -> tuple[Tensor, Tensor]:
        return super().keys_of(path, text_1LE[:, :-1])

    def on_meta(self) -> BareXL:
        return BareXL(rebuilt(self.unet), self.tokenizer, int(self.scale), self.controls_on_meta())


@dataclass
class BareXL(XLNetwork):
    """A UNet and a tokenizer, and nothing else of a model."""

    unet: Any
    tokenizer: Any
    scale: int
    controls: Controls | None = None


def pooled_width(config: Any) -> int:
    """Width of the pooled text that a UNet takes beside the numbers of the picture."""
    return int(config.projection_class_embeddings_input_dim) - NUMBERS * int(config.addition_time_embed_dim)


def picture_numbers(latents_FCYX: Tensor, scale: int) -> Tensor:
    """Height and width of the original, the corner it was cut at, height and width of the picture, (F, 6).

    A frame is told as one that nothing was cut from, at the size that is worked on, as the pipeline does.
    """
    height, width = (side * scale for side in latents_FCYX.shape[-2:])
    numbers = torch.tensor([height, width, 0, 0, height, width], device=latents_FCYX.device)
    return numbers.to(latents_FCYX.dtype).expand(len(latents_FCYX), -1)


@dataclass
class XLModel(XLNetwork, Model):
    """A loaded model. zeros: an empty prompt stands for embeddings of zero, as the base model was trained."""

    layout: ClassVar[Layout] = SDXL
    text_encoder_2: Any = None
    tokenizer_2: Any = None
    zeros: bool = True

    def words(self, prompt: str) -> Prompt:
        """The words with their tokens, which are the same for both encoders. Raises ModelError if not."""
        read = read_prompt(self.tokenizer, prompt)
        if tuple(self.tokenizer_2(prompt, truncation=False).input_ids) != read.ids:
            raise ModelError(
                f"{self.name}: its two tokenizers split {prompt!r} differently.",
                "Editing by words needs the same tokens for both text encoders.",
            )
        return read

    @torch.inference_mode()
    def encode_prompt(self, prompt: str) -> Tensor:
        """The text embedding, (1, L + 1, E) float32: the encoders' last but one states side by side, and the
        pooled text. Raises UsageError for a prompt too long.
        """
        for tokenizer in (self.tokenizer, self.tokenizer_2):
            checked_ids(tokenizer, prompt, self.text_tokens)
        if not prompt and self.zeros:
            return torch.zeros(1, *self.text_shape, device=self.device)
        first, second = (
            self._states(prompt, tokenizer, encoder)
            for tokenizer, encoder in (
                (self.tokenizer, self.text_encoder),
                (self.tokenizer_2, self.text_encoder_2),
            )
        )
        text_1LE = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1).float()
        pooled_1P = second.text_embeds.float()
        row_1E = nn.functional.pad(pooled_1P, (0, text_1LE.shape[-1] - pooled_1P.shape[-1]))
        return torch.cat([text_1LE, row_1E[:, None]], 1)

    def _states(self, prompt: str, tokenizer: Any, encoder: Any) -> Any:
        given = tokenizer(prompt, padding="max_length", max_length=self.text_tokens, return_tensors="pt")
        with self._in_use(encoder):
            return encoder(given.input_ids.to(self.device), output_hidden_states=True)

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), **({} if self.zeros else {"zeros": False})}

    def text_bytes(self) -> int:
        return weight_bytes(self.text_encoder) + weight_bytes(self.text_encoder_2)


def check_fit(name: str, parts: Mapping[str, Any], tokenizer_2: Any) -> None:
    """Refuse parts that do not belong together: they would fail in the middle of an edit."""
    unet, first, second = (parts[part].config for part in ("unet", "text_encoder", "text_encoder_2"))
    if unet.addition_embed_type != "text_time":
        raise ModelError(
            f"{name}: its UNet takes {str(unet.addition_embed_type)[:40]!a} beside the text, and SDXL's takes"
            " 'text_time'.",
            "It is another kind of model.",
        )
    if int(unet.cross_attention_dim) != first.hidden_size + second.hidden_size:
        raise ModelError(
            f"{name}: the UNet reads text of width {unet.cross_attention_dim}, and the text encoders give"
            f" {first.hidden_size} and {second.hidden_size}.",
            "They are not of one model; the refiner, which has one text encoder, is not edited with.",
        )
    if pooled_width(unet) != int(second.projection_dim) or second.projection_dim > unet.cross_attention_dim:
        raise ModelError(
            f"{name}: the UNet takes a pooled text of width {pooled_width(unet)}, and the second text encoder"
            f" gives {second.projection_dim}.",
            "They are not of one model.",
        )
    if len(tokenizer_2) > int(second.vocab_size):
        raise ModelError(
            f"{name}: the second tokenizer has {len(tokenizer_2)} tokens, and its text encoder knows"
            f" {second.vocab_size}.",
            "They are not of one model.",
        )
