"""Text-to-video pipelines in small, in the official layout of diffusers, with seeded random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from tests.engine import tiny
from tests.engine.folder import write_folder


def _words() -> Any:
    """A tokenizer of whole words with an end mark, as a fast tokenizer of transformers."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(
        WordLevel(
            {word: place for place, word in enumerate(["<pad>", "</s>", "<unk>", *tiny.WORDS])},
            unk_token="<unk>",
        )
    )
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])  # as T5 ends
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=32
    )


def wan_transformer(seed: int = 4, **changes: object) -> Any:
    """A Wan transformer of one block, 24 wide."""
    from diffusers import WanTransformer3DModel

    torch.manual_seed(seed)
    settings = {
        "patch_size": (1, 2, 2), "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 4,
        "out_channels": 4, "text_dim": 16, "freq_dim": 32, "ffn_dim": 32, "num_layers": 1,
        "cross_attn_norm": True, "qk_norm": "rms_norm_across_heads", "rope_max_seq_len": 32,
    }  # fmt: skip
    return WanTransformer3DModel(**{**settings, **changes})


def write_wan22(path: Path, **index: object) -> Path:
    """A Wan of 2.2 form: two transformers, of which the second takes over at 875, and UniPC's levels."""
    from diffusers import UniPCMultistepScheduler

    write_wan(path, boundary_ratio=0.875, transformer_2=["diffusers", "WanTransformer3DModel"],
              scheduler=["diffusers", "UniPCMultistepScheduler"], **index)  # fmt: skip
    wan_transformer(6).save_pretrained(path / "transformer_2")
    UniPCMultistepScheduler(
        use_flow_sigmas=True, flow_shift=12.0, prediction_type="flow_prediction"
    ).save_pretrained(path / "scheduler")
    return path


def write_wan(path: Path, **index: object) -> Path:
    """A Wan of 2.1 form: 8 pixels and 4 frames per latent, patches of 2; sides are multiples of 16, frames 4k
    + 1.
    """
    from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler
    from transformers import UMT5Config, UMT5EncoderModel

    torch.manual_seed(4)
    words = _words()
    AutoencoderKLWan(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    ).save_pretrained(path / "vae")
    wan_transformer().save_pretrained(path / "transformer")
    text = UMT5Config(
        vocab_size=len(words),
        d_model=16,
        d_kv=8,
        d_ff=16,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
    )
    UMT5EncoderModel(text).save_pretrained(path / "text_encoder")
    words.save_pretrained(path / "tokenizer")
    FlowMatchEulerDiscreteScheduler(shift=5.0).save_pretrained(path / "scheduler")
    parts = {
        "_class_name": "WanPipeline",
        "_diffusers_version": "0.42.1",
        "boundary_ratio": None,
        "expand_timesteps": False,
        "transformer": ["diffusers", "WanTransformer3DModel"],
        "transformer_2": [None, None],
        "vae": ["diffusers", "AutoencoderKLWan"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    }
    (path / "model_index.json").write_text(json.dumps({**parts, **index}))
    return path


def write_adapter(path: Path, longest: int = 8) -> Path:
    """A motion adapter for the tiny Stable Diffusion of `folder.write_folder`."""
    from diffusers import MotionAdapter

    torch.manual_seed(5)
    adapter = MotionAdapter(
        block_out_channels=(8, 16, 16, 16), motion_layers_per_block=2, motion_num_attention_heads=2, motion_norm_num_groups=4, motion_max_seq_length=longest,
    )  # fmt: skip
    adapter.save_pretrained(path)
    return path


def write_animatediff(path: Path, longest: int = 8) -> Path:
    """An AnimateDiff pipeline: the tiny Stable Diffusion with a motion adapter and a linear DDIM schedule."""
    from diffusers import DDIMScheduler

    write_folder(path)
    write_adapter(path / "motion_adapter", longest)
    DDIMScheduler(beta_schedule="linear", clip_sample=False, steps_offset=1).save_pretrained(
        path / "scheduler"
    )
    index = json.loads((path / "model_index.json").read_text())
    index.update(
        _class_name="AnimateDiffPipeline",
        motion_adapter=["diffusers", "MotionAdapter"],
        scheduler=["diffusers", "DDIMScheduler"],
    )
    (path / "model_index.json").write_text(
        json.dumps({**index, "feature_extractor": [None, None], "image_encoder": [None, None]})
    )
    return path


def ltx_transformer(seed: int = 4, **changes: object) -> Any:
    """An LTX-Video transformer of one block, 20 wide: no multiple of six, so some numbers are not turned."""
    from diffusers import LTXVideoTransformer3DModel

    torch.manual_seed(seed)
    settings = {
        "in_channels": 4, "out_channels": 4, "num_attention_heads": 2, "attention_head_dim": 10,
        "cross_attention_dim": 20, "num_layers": 1, "caption_channels": 16,
    }  # fmt: skip
    return LTXVideoTransformer3DModel(**{**settings, **changes})


def write_ltx(path: Path, *, late: bool = False, **index: object) -> Path:
    """An LTX-Video of 0.9: 32 pixels and 8 frames per latent, levels that move with the size of a clip.

    late: of 0.9.5, called otherwise, with a codec that is told a noise level and adds noise of its own.
    """
    from diffusers import AutoencoderKLLTXVideo, FlowMatchEulerDiscreteScheduler
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(4)
    words, widths = _words(), (4, 4, 4, 4)
    vae = AutoencoderKLLTXVideo(
        latent_channels=4, block_out_channels=widths, decoder_block_out_channels=widths,
        layers_per_block=(1, 1, 1, 1, 1), decoder_layers_per_block=(1, 1, 1, 1, 1), scaling_factor=0.5,
        timestep_conditioning=late, decoder_inject_noise=(late, late, late, False, False),
    )  # fmt: skip
    vae.latents_mean.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    vae.latents_std.copy_(torch.tensor([1.0, 1.5, 0.5, 0.8]))
    vae.save_pretrained(path / "vae")
    ltx_transformer().save_pretrained(path / "transformer")
    text = T5Config(vocab_size=len(words), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    T5EncoderModel(text).save_pretrained(path / "text_encoder")
    words.save_pretrained(path / "tokenizer")
    moving = {
        "use_dynamic_shifting": True, "base_shift": 0.95, "max_shift": 2.05, "base_image_seq_len": 1024,
        "shift_terminal": 0.1,
    }  # fmt: skip
    FlowMatchEulerDiscreteScheduler(**({} if late else moving)).save_pretrained(path / "scheduler")
    parts = {
        "_class_name": "LTXConditionPipeline" if late else "LTXPipeline",
        "_diffusers_version": "0.42.1",
        "transformer": ["diffusers", "LTXVideoTransformer3DModel"],
        "vae": ["diffusers", "AutoencoderKLLTXVideo"],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    }
    (path / "model_index.json").write_text(json.dumps({**parts, **index}))
    return path
