"""The parts of the embedded models: tokenizer, codec, denoiser, text encoder, scheduler, scorer.

Every part is a stock class of diffusers, transformers or open_clip, so that the packed folder
opens in anybody's tool. The tokenizer is a real CLIPTokenizer whose every grammar word is one
token; a word that it does not know falls apart into letters.
"""

import itertools
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from vedit.data import grammar

TEXT_LENGTH = 24
DIGIT_SHARE = 0.18  # of the scenes of every stage
LATENT_CHANNELS = 8  # while the codec trains; those it does not use are cut out afterwards
START, END = "<|startoftext|>", "<|endoftext|>"

CODEC: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
    "block_out_channels": [16, 32, 48],
    "layers_per_block": 1,
    "latent_channels": LATENT_CHANNELS,
    "norm_num_groups": 8,
    "sample_size": 64,
    "scaling_factor": 1.0,
    "mid_block_add_attention": False,
}
# Two attention heads; diffusers calls their number `attention_head_dim` for this class.
UNET: dict[str, Any] = {
    "sample_size": 16,
    "block_out_channels": [32, 64, 96, 96],
    "layers_per_block": 1,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "cross_attention_dim": 64,
    "attention_head_dim": 2,
    "norm_num_groups": 8,
}
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": TEXT_LENGTH,
    "projection_dim": 64,
}
# beta_end 0.03 leaves 0.25 % of the signal at the last step. With Stable Diffusion's 0.012 a
# flat object shows through the noise, and a model that reads its place there splits objects
# when it starts from noise alone.
SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.03,
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
SCORER_TEXT = {"context_length": TEXT_LENGTH, "width": 96, "heads": 4, "layers": 2}
SCORER: dict[str, Any] = {
    "embed_dim": 96,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 12},
    "text_cfg": SCORER_TEXT,
}


def precision(device: torch.device, name: str) -> torch.autocast:
    """Return the autocast of a precision: "fp32" or "bf16", weights staying float32.

    On a CPU with AVX512-BF16 the codec trains 1.8 times as fast in bf16; channels_last slows
    every part down there.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=name == "bf16")


def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return a byte-level CLIP vocabulary and the merges that make each grammar word one token.

    The merges are those of byte-pair encoding over the words, each counted once, repeated
    until every word is whole. Ties go to the pair that sorts first.
    """
    letters = _byte_alphabet()
    split = {word: [*word[:-1], word[-1] + "</w>"] for word in grammar.WORDS}
    merges: list[tuple[str, str]] = []
    while pairs := _pairs(split.values()):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        split = {word: _merge(symbols, best) for word, symbols in split.items()}
    tokens = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges), START, END]
    return {token: index for index, token in enumerate(tokens)}, merges


def _byte_alphabet() -> list[str]:
    """Return CLIP's 256 printable stand-ins for bytes, in byte order of GPT-2's table."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [byte for byte in range(256) if byte not in kept]
    return [chr(byte) for byte in kept] + [chr(256 + n) for n in range(len(moved))]


def _pairs(words: Any) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for symbols in words:
        for pair in itertools.pairwise(symbols):
            counts[pair] = counts.get(pair, 0) + 1
    return counts


def _merge(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for symbol in symbols:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return merged


def tokenizer() -> Any:
    """Build the CLIPTokenizer of the drawn scenes."""
    from transformers import CLIPTokenizer

    words, merges = vocabulary()
    return CLIPTokenizer(vocab=words, merges=merges, model_max_length=TEXT_LENGTH)


@cache
def _word_ids() -> tuple[dict[str, int], int, int]:
    words, _ = vocabulary()
    return {word: words[word + "</w>"] for word in grammar.WORDS}, words[START], words[END]


def token_ids(captions: list[str]) -> Tensor:
    """Return what the tokenizer gives for captions of grammar words, padded: BL, much faster."""
    ids, start, end = _word_ids()
    rows = [[start, *(ids[word] for word in caption.split()), end] for caption in captions]
    return torch.tensor([row + [end] * (TEXT_LENGTH - len(row)) for row in rows])


def end_id() -> int:
    """Return the token that ends every caption, and fills the rest of its row."""
    return _word_ids()[2]


def motion_words(ids_BL: Tensor) -> Tensor:
    """Return which motion words tokenised captions hold: 0 or 1, a column for each of grammar.MOTIONS."""
    ids, _, _ = _word_ids()
    wanted_M = torch.tensor([ids[word] for word in grammar.MOTIONS], device=ids_BL.device)
    return (ids_BL[:, :, None] == wanted_M).any(dim=1).float()


def codec(channels: int = LATENT_CHANNELS) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(**{**CODEC, "latent_channels": channels})


def unet(channels: int) -> Any:
    """Build a denoiser of latents with this many channels."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(**UNET, in_channels=channels, out_channels=channels)


def scheduler() -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(**SCHEDULER)


def text_encoder() -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    words, _ = vocabulary()
    return CLIPTextModel(
        CLIPTextConfig(
            **TEXT,
            vocab_size=len(words),
            bos_token_id=words[START],
            eos_token_id=words[END],
            pad_token_id=words[END],
            attn_implementation="eager",
        )
    )


def scorer() -> nn.Module:
    """Build the open_clip model; the end token has the highest id, as its pooling expects."""
    import open_clip

    words, _ = vocabulary()
    text = {**SCORER_TEXT, "vocab_size": len(words), "pad_id": words[END]}
    return open_clip.model.CLIP(SCORER["embed_dim"], SCORER["vision_cfg"], text)
