"""LTX-Video 0.9 in its own layout: the files, names and numbers of blocks that are published, tiny widths.

Twenty-eight blocks, weights of the transformer in several files, a T5 tokenizer of pieces, 128 text tokens and
128 latent channels, the published numbers of the levels. Weights are seeded and random.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from tests.engine.wan21 import tokenizer

BLOCKS = 28


def write_ltx09(path: Path, words: Sequence[str]) -> Path:
    """Lightricks/LTX-Video."""
    from diffusers import AutoencoderKLLTXVideo, FlowMatchEulerDiscreteScheduler, LTXVideoTransformer3DModel
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(4)
    widths = (8, 8, 16, 16)
    vae = AutoencoderKLLTXVideo(block_out_channels=widths, decoder_block_out_channels=widths)
    vae.latents_mean.copy_(0.1 * torch.randn(128))
    vae.latents_std.copy_(0.5 + torch.rand(128))
    vae.save_pretrained(path / "vae")
    LTXVideoTransformer3DModel(
        num_attention_heads=2, attention_head_dim=16, cross_attention_dim=32, caption_channels=32,
        num_layers=BLOCKS,
    ).save_pretrained(path / "transformer", max_shard_size="600KB")  # fmt: skip
    words_tokenizer = tokenizer(words)
    words_tokenizer.model_max_length = 128
    text = T5Config(vocab_size=len(words_tokenizer), d_model=32, d_kv=8, d_ff=32, num_layers=2, num_heads=4)
    T5EncoderModel(text).save_pretrained(path / "text_encoder")
    words_tokenizer.save_pretrained(path / "tokenizer")
    FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05, base_image_seq_len=1024,
        max_image_seq_len=4096, shift_terminal=0.1,
    ).save_pretrained(path / "scheduler")  # fmt: skip
    index = {
        "_class_name": "LTXPipeline",
        "_diffusers_version": "0.32.0.dev0",
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"],
        "transformer": ["diffusers", "LTXVideoTransformer3DModel"],
        "vae": ["diffusers", "AutoencoderKLLTXVideo"],
    }
    (path / "model_index.json").write_text(json.dumps(index, indent=2))
    return path
