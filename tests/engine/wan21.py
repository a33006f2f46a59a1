"""Wan 2.1 and 2.2 in their own layout: the files, names and numbers of blocks that are published, tiny widths.

Thirty blocks, weights of the transformer in several files, a T5 tokenizer of pieces, 512 text tokens, 16 latent
channels with their published means, UniPC's levels. Weights are seeded and random.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

BLOCKS = 30


def tokenizer(words: Sequence[str]) -> Any:
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [("▁" + word, -3.0) for word in words] + [
        (letter, -6.0) for letter in "abcdefghijklmnopqrstuvwxyz"
    ]
    return T5Tokenizer(vocab=pieces, extra_ids=0)


def transformer(seed: int) -> Any:
    from diffusers import WanTransformer3DModel

    torch.manual_seed(seed)
    return WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, text_dim=32, freq_dim=32, ffn_dim=48, num_layers=BLOCKS
    )


def write_wan21(path: Path, words: Sequence[str], *, two: bool = False) -> Path:
    """Wan2.1-T2V-1.3B-Diffusers; with `two` Wan2.2-T2V-A14B-Diffusers, which has a second transformer."""
    from diffusers import AutoencoderKLWan, UniPCMultistepScheduler
    from transformers import UMT5Config, UMT5EncoderModel

    torch.manual_seed(4)
    AutoencoderKLWan(base_dim=8).save_pretrained(path / "vae")
    for place, name in enumerate(("transformer", "transformer_2")[: 1 + two]):
        transformer(5 + place).save_pretrained(path / name, max_shard_size="600KB")
    words_tokenizer = tokenizer(words)
    text = UMT5Config(vocab_size=len(words_tokenizer), d_model=32, d_kv=8, d_ff=32, num_layers=2, num_heads=4)
    UMT5EncoderModel(text).save_pretrained(path / "text_encoder")
    words_tokenizer.save_pretrained(path / "tokenizer")
    UniPCMultistepScheduler(
        use_flow_sigmas=True, flow_shift=12.0 if two else 3.0, prediction_type="flow_prediction"
    ).save_pretrained(path / "scheduler")
    index = {
        "_class_name": "WanPipeline",
        "_diffusers_version": "0.33.0.dev0",
        **({"boundary_ratio": 0.875} if two else {}),
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"],
        "transformer": ["diffusers", "WanTransformer3DModel"],
        **({"transformer_2": ["diffusers", "WanTransformer3DModel"]} if two else {}),
        "vae": ["diffusers", "AutoencoderKLWan"],
    }
    (path / "model_index.json").write_text(json.dumps(index, indent=2))
    return path
