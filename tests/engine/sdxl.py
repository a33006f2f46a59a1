"""Stable Diffusion XL's base in its own layout: the files, names and numbers of blocks that are published, tiny
widths.

Seventy transformer blocks in a UNet of three levels, the first without attention, two text encoders of different
widths, two tokenizers that fill up differently, an autoencoder that makes pictures eight times smaller. Weights are
seeded and random.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tests.engine.sd15 import write_tokenizer

FIRST, SECOND, POOLED, TIMES = 16, 24, 24, 8
SCHEDULER = {
    "_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.19.0.dev0", "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "beta_start": 0.00085, "clip_sample": False, "interpolation_type": "linear", "num_train_timesteps": 1000, "prediction_type": "epsilon",
    "sample_max_value": 1.0, "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1, "timestep_spacing": "leading",
    "trained_betas": None, "use_karras_sigmas": False,
}  # fmt: skip


def unet(seed: int = 9) -> Any:
    from diffusers import UNet2DConditionModel

    torch.manual_seed(seed)
    net = UNet2DConditionModel(
        sample_size=128, block_out_channels=(8, 8, 16), layers_per_block=2, norm_num_groups=4, cross_attention_dim=FIRST + SECOND,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10), attention_head_dim=(1, 2, 4), use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=TIMES, projection_class_embeddings_input_dim=POOLED + 6 * TIMES,
    )  # fmt: skip
    with torch.no_grad():  # the output is small, so that inversion reconstructs
        net.conv_out.weight.mul_(0.1)
        for name, weight in net.named_parameters():
            if "attn" in name and ("to_q" in name or "to_k" in name):
                weight *= 4  # random weights attend almost evenly, and a word then looks nowhere
    return net


def write_sdxl(path: Path, words: Sequence[str], **index: object) -> Path:
    """words: that the tokenizers hold as one token each; all others they take apart."""
    from diffusers import AutoencoderKL
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    unet().save_pretrained(path / "unet")
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4, latent_channels=4, sample_size=1024, force_upcast=True,
    )  # fmt: skip
    with torch.no_grad():  # latents of unit size, as a trained autoencoder's are
        latents = vae.encode(torch.rand(4, 3, 32, 32) * 2 - 1).latent_dist.mean
    vae.register_to_config(scaling_factor=float(1 / latents.std()))
    vae.save_pretrained(path / "vae")
    common = {"vocab_size": 49408, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    CLIPTextModel(
        CLIPTextConfig(**common, hidden_size=FIRST, projection_dim=FIRST, hidden_act="quick_gelu")
    ).save_pretrained(path / "text_encoder")
    CLIPTextModelWithProjection(
        CLIPTextConfig(**common, hidden_size=SECOND, projection_dim=POOLED, hidden_act="gelu")
    ).save_pretrained(path / "text_encoder_2")
    write_tokenizer(path / "tokenizer", list(words))
    shutil.copytree(path / "tokenizer", path / "tokenizer_2")
    second = path / "tokenizer_2" / "tokenizer_config.json"
    for file in (second, path / "tokenizer_2" / "special_tokens_map.json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "pad_token": "!"}))
    (path / "scheduler").mkdir(parents=True)
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    parts = {
        "_class_name": "StableDiffusionXLPipeline",
        "_diffusers_version": "0.19.0.dev0",
        "force_zeros_for_empty_prompt": True,
        "add_watermarker": None,
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (path / "model_index.json").write_text(json.dumps({**parts, **index}))
    return path
