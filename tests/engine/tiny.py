"""A Stable Diffusion 1.x in small: the same 32 attention modules and names, seeded random weights.

The output convolution is scaled by 0.1, so that inversion reconstructs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

from vedit.models.alpha_bar import AlphaBar, read_schedule
from vedit.models.sd.network import UNetNetwork
from vedit.models.words import read_prompt

torch.set_num_threads(1)  # on tensors this small threads cost ten times what they give
WORDS = [
    "a",
    "cat",
    "dog",
    "sitting",
    "next",
    "to",
    "mirror",
    "photo",
    "of",
    "fluffy",
    "at",
    "night",
    "spider",
    "man",
    "b",
    "x",
    "lasagna",
    "railway",
    "on",
    "the",
    "red",
    "blue",
    "big",
]
SD_SCHEDULER = {
    "_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
    "set_alpha_to_one": False, "steps_offset": 1, "clip_sample": False, "prediction_type": "epsilon", "timestep_spacing": "leading",
}  # fmt: skip
LENGTH, WIDTH, CHANNELS, SIDE = 20, 16, 4, 8


@cache
def tokenizer() -> Any:
    """CLIP's tokenizer with a vocabulary of a few words, one token each; others fall into letters."""
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(33, 127)]
    tokens, merges = [*letters, *(letter + "</w>" for letter in letters)], []
    for word in WORDS:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:  # from the right, so that no merge of one word breaks another
            merges.append((pieces[-2], pieces[-1]))
            pieces[-2:] = ["".join(pieces[-2:])]
            tokens.append(pieces[-1])
    vocabulary = {
        token: place
        for place, token in enumerate(dict.fromkeys([*tokens, "<|startoftext|>", "<|endoftext|>"]))
    }
    return CLIPTokenizer(vocab=vocabulary, merges=list(dict.fromkeys(merges)), model_max_length=LENGTH)


def unet(dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
    from diffusers import UNet2DConditionModel

    torch.manual_seed(seed)
    net = UNet2DConditionModel(
        sample_size=SIDE, in_channels=CHANNELS, out_channels=CHANNELS, block_out_channels=(8, 16, 16, 16), layers_per_block=2, attention_head_dim=2,
        cross_attention_dim=WIDTH, norm_num_groups=4,
    )  # fmt: skip
    with torch.no_grad():
        net.conv_out.weight *= 0.1
        for name, weight in net.named_parameters():
            if "attn" in name and ("to_q" in name or "to_k" in name):
                weight *= 4  # random weights attend almost evenly; sharper maps make an edit of them visible
    return net.to(dtype).eval().requires_grad_(False)


@dataclass
class TinyModel(UNetNetwork):
    """What methods are given, without files."""

    unet: Any = field(default_factory=unet)
    schedule: AlphaBar = field(default_factory=lambda: read_schedule(SD_SCHEDULER))
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float64

    name: str = "tiny"
    tokenizer: Any = field(default_factory=lambda: tokenizer())

    def encode_prompt(self, prompt: str) -> Tensor:
        """A row of a random table for each token, plus one for its place."""
        ids = [*read_prompt(tokenizer(), prompt).ids]
        ids += [ids[-1]] * (LENGTH - len(ids))
        table = torch.randn(
            len(tokenizer()) + LENGTH, WIDTH, generator=torch.Generator().manual_seed(5), dtype=torch.float64
        )
        return (table[ids] + 0.3 * table[-LENGTH:])[None]


def latents(frames: int = 2, seed: int = 1) -> Tensor:
    """A clip whose frames differ a little."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(1, CHANNELS, SIDE, SIDE, generator=generator, dtype=torch.float64)
    return first + 0.2 * torch.randn(frames, CHANNELS, SIDE, SIDE, generator=generator, dtype=torch.float64)
