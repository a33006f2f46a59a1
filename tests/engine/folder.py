"""A Stable Diffusion folder in small, in the official layout, with seeded random weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from tests.engine import tiny


def write_folder(path: Path, **index: object) -> Path:
    """A model of 32x32 pixels (latents 8x8, f4) with every part a Stable Diffusion 1.5 folder has."""
    from diffusers import AutoencoderKL
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(3)
    words = tiny.tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(words), hidden_size=tiny.WIDTH, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=tiny.LENGTH, bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
    )  # fmt: skip
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 8),
        norm_num_groups=4,
        latent_channels=4,
    )
    with torch.no_grad():  # latents of unit size, as a trained autoencoder's are
        latents = vae.encode(torch.rand(4, 3, 32, 32) * 2 - 1).latent_dist.mean
    vae.register_to_config(scaling_factor=float(1 / latents.std()))
    tiny.unet(torch.float32).save_pretrained(path / "unet")
    vae.save_pretrained(path / "vae")
    CLIPTextModel(text).save_pretrained(path / "text_encoder")
    words.save_pretrained(path / "tokenizer")
    (path / "scheduler").mkdir(parents=True)
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(tiny.SD_SCHEDULER))
    parts = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "PNDMScheduler"],
    }
    (path / "model_index.json").write_text(json.dumps({**parts, **index}))
    return path
