"""The embedded models as the engine's sampler and inversion call them.

Tensor names: B clips, F frames of each, N pictures (B x F), C latent channels, Y X latent rows and
columns, L text tokens, E text width, M motion words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vedit.models.alpha_bar import AlphaBar
from vedit.models.sd.network import UNetNetwork


@dataclass
class PictureNetwork(UNetNetwork):
    """The denoiser of single pictures."""

    unet: Any
    schedule: AlphaBar
    tokenizer: Any = None


@dataclass
class ClipNetwork(UNetNetwork):
    """The denoiser with its motion adapter; a row of motion words follows the text's own."""

    unet: Any
    schedule: AlphaBar
    tokenizer: Any = None
    frame_axis = True

    def predict(self, latents_FCYX: Tensor, timestep: Any, text_FLE: Tensor) -> Tensor:
        text_BLE, words_BM = without_words(text_FLE, self.unet.time_embedding.cond_proj.in_features)
        return clip_prediction(self.unet, latents_FCYX.flatten(0, 1), timestep, text_BLE, words_BM).unflatten(
            0, latents_FCYX.shape[:2]
        )


def with_words(text_BLE: Tensor, words_BM: Tensor) -> Tensor:
    """Text states followed by the motion words, filled up to their width."""
    row_BE = torch.nn.functional.pad(words_BM.to(text_BLE), (0, text_BLE.shape[-1] - words_BM.shape[-1]))
    return torch.cat([text_BLE, row_BE[:, None]], dim=1)


def without_words(text_BLE: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The text states and the motion words again."""
    return text_BLE[:, :-1], text_BLE[:, -1, :count]


def clip_prediction(
    unet: Any, noisy_NCYX: Tensor, timestep: Any, text_BLE: Tensor, words_BM: Tensor
) -> Tensor:
    """Predict v for clips whose frames follow each other in the batch; text and motion words are given once
    per clip.
    """
    noisy_BCFYX = noisy_NCYX.unflatten(0, (len(text_BLE), -1)).transpose(1, 2)
    text_NLE = text_BLE.repeat_interleave(noisy_BCFYX.shape[2], dim=0)
    v_BCFYX: Tensor = unet(
        noisy_BCFYX, timestep, encoder_hidden_states=text_NLE, timestep_cond=words_BM
    ).sample
    return v_BCFYX.transpose(1, 2).flatten(0, 1)
