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


def gemma(words: tuple[str, ...]) -> tuple[Any, Any]:
    """A text encoder of Gemma's class that also sees pictures, and its tokenizer."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, GemmaTokenizer

    pieces = [
        "<pad>",
        "<eos>",
        "<bos>",
        "<unk>",
        "<image>",
        "<boi>",
        "<eoi>",
        *(f"▁{word}" for word in words),
    ]
    merges = [  # letters are joined from the left, one after the other
        (f"▁{word}"[:count], f"▁{word}"[count]) for word in words for count in range(1, len(word) + 1)
    ]
    known = {piece: None for piece in pieces}
    known |= {piece: None for pair in merges for piece in (*pair, "".join(pair))}
    vocab = {piece: place for place, piece in enumerate(known)}
    tokenizer = GemmaTokenizer(vocab=vocab, merges=list(dict.fromkeys(merges)))
    text = {"vocab_size": len(tokenizer) + 8, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 64}  # fmt: skip
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
              "image_size": 8, "patch_size": 4}  # fmt: skip
    config = Gemma3Config(text_config=text, vision_config=vision, image_token_index=4, boi_token_index=5,
                          eoi_token_index=6, mm_tokens_per_image=4)  # fmt: skip
    tokenizer.model_max_length = 32
    return Gemma3ForConditionalGeneration(config), tokenizer


def write_ltx2(path: Path) -> Path:
    from diffusers import (
        AutoencoderKLLTX2Audio,
        AutoencoderKLLTX2Video,
        FlowMatchEulerDiscreteScheduler,
        LTX2InContextPipeline,
        LTX2VideoTransformer3DModel,
    )
    from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
    from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder

    torch.manual_seed(5)
    text_encoder, tokenizer = gemma(WORDS)
    heads = {"num_attention_heads": 2, "attention_head_dim": 12, "cross_attention_dim": 24}
    network = LTX2VideoTransformer3DModel(
        in_channels=8, out_channels=8, **heads, num_layers=2, caption_channels=16,
        audio_in_channels=4, audio_out_channels=4, **{f"audio_{key}": value // 2 * 2 for key, value in heads.items()},
    )  # fmt: skip
    connectors = LTX2TextConnectors(
        caption_channels=16, text_proj_in_factor=3, connector_rope_base_seq_len=32,
        video_connector_num_attention_heads=2, video_connector_attention_head_dim=8, video_connector_num_layers=1,
        video_connector_num_learnable_registers=None, audio_connector_num_attention_heads=2,
        audio_connector_attention_head_dim=8, audio_connector_num_layers=1, audio_connector_num_learnable_registers=None,
    )  # fmt: skip
    vae = AutoencoderKLLTX2Video(latent_channels=8, block_out_channels=(8,) * 4, decoder_block_out_channels=(8, 16, 32),
                                 layers_per_block=(1,) * 5, decoder_layers_per_block=(1,) * 4, spatial_compression_ratio=32, temporal_compression_ratio=8)  # fmt: skip
    audio = AutoencoderKLLTX2Audio(base_channels=4, ch_mult=(1,), num_res_blocks=1, resolution=32, latent_channels=2, mel_bins=8)  # fmt: skip
    vocoder = LTX2Vocoder(in_channels=16, hidden_channels=16, upsample_kernel_sizes=[4, 4], upsample_factors=[2, 2],
                          resnet_kernel_sizes=[3], resnet_dilations=[[1]], output_sampling_rate=16000)  # fmt: skip
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05, shift_terminal=0.1)  # fmt: skip
    return saved(LTX2InContextPipeline(scheduler, vae, audio, text_encoder, tokenizer, connectors, network, vocoder), path)  # fmt: skip


def saved(pipe: Any, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe.save_pretrained(path)
    return path


WRITTEN = {"ip2p": write_ip2p, "ltx2-ic": write_ltx2, "lucy": write_lucy, "vace": write_vace}
