"""Tiny random pipelines of the released editors' true classes, written as folders of diffusers' layout."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from tests.engine import tiny
from tests.engine.wan21 import tokenizer

WORDS = ("a", "red", "blue", "circle", "make", "the", "cat", "dog")


def write_ip2p(path: Path) -> Path:
    from diffusers import (
        AutoencoderKL,
        EulerAncestralDiscreteScheduler,
        StableDiffusionInstructPix2PixPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(1)
    words = tiny.tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=tiny.LENGTH, bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=8, out_channels=4, block_out_channels=(8, 8), layers_per_block=1, attention_head_dim=2, cross_attention_dim=16,
        norm_num_groups=4, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    vae = AutoencoderKL(down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
                        block_out_channels=(8,) * 4, norm_num_groups=4)  # fmt: skip
    scheduler = EulerAncestralDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    )
    return saved(
        StableDiffusionInstructPix2PixPipeline(
            vae, CLIPTextModel(text), words, unet, scheduler, None, None, requires_safety_checker=False
        ),
        path,
    )


def parts_of_wan(scheduler: bool = True) -> dict[str, Any]:
    from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler
    from transformers import UMT5Config, UMT5EncoderModel

    torch.manual_seed(2)
    words = tokenizer(WORDS)
    text = UMT5Config(vocab_size=len(words), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=4)
    return {
        "tokenizer": words,
        "text_encoder": UMT5EncoderModel(text),
        "vae": AutoencoderKLWan(base_dim=4),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=5.0),
    }


def write_lucy(path: Path) -> Path:
    from diffusers import LucyEditPipeline, WanTransformer3DModel

    parts = parts_of_wan()
    torch.manual_seed(3)
    network = WanTransformer3DModel(num_attention_heads=2, attention_head_dim=12, in_channels=32, out_channels=16, text_dim=32,
                                    freq_dim=32, ffn_dim=32, num_layers=2)  # fmt: skip
    return saved(LucyEditPipeline(**parts, transformer=network, expand_timesteps=True), path)


def write_vace(path: Path) -> Path:
    from diffusers import WanVACEPipeline, WanVACETransformer3DModel

    parts = parts_of_wan()
    torch.manual_seed(4)
    network = WanVACETransformer3DModel(num_attention_heads=2, attention_head_dim=12, text_dim=32, freq_dim=32, ffn_dim=32,
                                        num_layers=2, vace_layers=[0, 1], vace_in_channels=96)  # fmt: skip
    return saved(WanVACEPipeline(**parts, transformer=network), path)


def saved(pipe: Any, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe.save_pretrained(path)
    return path


WRITTEN = {"ip2p": write_ip2p, "lucy": write_lucy, "vace": write_vace}
