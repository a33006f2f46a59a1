"""Stable Diffusion XL's base in one file, under the names of the original code, as fine-tunes are shared.

Everything that a folder's configuration files say is read off the tensors' shapes, or is as in all of its
folders; the vocabulary is CLIP's own. A fine-tune that predicts velocity says so by a tensor `v_pred`, and by
`ztsnr` that its last level holds no signal; or a NAME.yaml beside the file does, as other programs want it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vedit.errors import ModelError
from vedit.models.sd.single_file import (
    CLIP_XL,
    END,
    LAYERS,
    NATIVE_SIDE_XL,
    OPEN_CLIP_XL,
    SCHEDULER,
    UNET,
    check,
    check_names,
    filled,
    filled_text,
    predicts_v,
    read_tensors,
    text_config,
    tokenizer,
    vae_config,
)
from vedit.models.sd.xl import NUMBERS

LEVELS = 3
SCALING = 0.13025  # of its autoencoder's latents
OTHER_LEVELS = ("edm_mean", "edm_vpred.sigma_max")  # tensors of fine-tunes with levels of another kind


def load_parts(name: str) -> tuple[dict[str, Any], Any, Any, dict[str, Any]]:
    """The network, autoencoder and text encoders in float32, the two tokenizers, and the scheduler's
    configuration. Raises ModelError.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

    check(name)
    tensors = read_tensors(name)
    check_names(name, tensors)
    if other := [key for key in OTHER_LEVELS if key in tensors]:
        raise ModelError(
            f"{name} has noise levels of another kind ({other[0]}).",
            "It is a fine-tune with the levels of EDM, which are not known.",
            "See: vedit models list",
        )
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    unet, vae = unet_config(name, shapes), vae_config(name, shapes, SCALING, NATIVE_SIDE_XL)
    parts = {
        "unet": filled(
            name, UNet2DConditionModel.from_config(unet), convert_ldm_unet_checkpoint(tensors, unet)
        ),
        "vae": filled(name, AutoencoderKL.from_config(vae), convert_ldm_vae_checkpoint(tensors, vae)),
        **text_encoders(name, tensors),
    }
    return parts, tokenizer(END), tokenizer("!"), scheduler_config(name, tensors)


def scheduler_config(name: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """What a folder's scheduler says."""
    is_v = "v_pred" in tensors or predicts_v(name, otherwise=False)
    return {
        **SCHEDULER,
        "prediction_type": "v_prediction" if is_v else "epsilon",
        "rescale_betas_zero_snr": "ztsnr" in tensors,
    }


def unet_config(name: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """The network's configuration, by its shapes: attention at some levels, so many blocks, heads of 64."""
    try:
        blocks = [
            shapes[f"{UNET}input_blocks.{1 + (LAYERS + 1) * level}.0.out_layers.3.weight"][0]
            for level in range(LEVELS)
        ]
        depths = [_depth(shapes, 1 + (LAYERS + 1) * level) for level in range(LEVELS)]
        cross = shapes[f"{UNET}middle_block.1.transformer_blocks.0.attn2.to_k.weight"][1]
        takes = shapes[f"{UNET}input_blocks.0.0.weight"][1]
        added = shapes[f"{UNET}label_emb.0.0.weight"][1]
        pooled = shapes[f"{OPEN_CLIP_XL}text_projection"][1]
    except (KeyError, IndexError) as error:
        raise ModelError(
            f"{name}: not the base of Stable Diffusion XL: there is no {error.args[0]}.",
            "Smaller copies of it have other layers, and are read from folders alone.",
            "See: vedit models list",
        ) from None
    return {
        "sample_size": NATIVE_SIDE_XL // 8, "in_channels": takes, "out_channels": 4,
        "block_out_channels": blocks, "layers_per_block": LAYERS, "cross_attention_dim": cross,
        "attention_head_dim": [max(1, side // 64) for side in blocks],
        "transformer_layers_per_block": [max(1, depth) for depth in depths],
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        "use_linear_projection": True, "norm_num_groups": 32,
        "addition_embed_type": "text_time", "addition_time_embed_dim": (added - pooled) // NUMBERS,
        "projection_class_embeddings_input_dim": added,
    }  # fmt: skip


def _depth(shapes: Mapping[str, tuple[int, ...]], block: int) -> int:
    """Transformer blocks behind the first residual block of a level."""
    pattern = re.compile(re.escape(f"{UNET}input_blocks.{block}.1.transformer_blocks.") + r"(\d+)\.")
    return len({found[1] for key in shapes if (found := pattern.match(key))})


def text_encoders(name: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """CLIP's text encoder, and open_clip's with its projection; the last layers are there and not read."""
    from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint, convert_open_clip_checkpoint
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    first = {key: value for key, value in tensors.items() if key.startswith(CLIP_XL)}
    model = CLIPTextModel(text_config(name, tensors, CLIP_XL, is_open=False))
    config = text_config(name, tensors, OPEN_CLIP_XL, is_open=True)
    config.projection_dim = tensors[f"{OPEN_CLIP_XL}text_projection"].shape[1]
    second = CLIPTextModelWithProjection(config)
    return {
        "text_encoder": filled_text(name, model, convert_ldm_clip_checkpoint(first)),
        "text_encoder_2": filled_text(
            name, second, convert_open_clip_checkpoint(second, tensors, prefix=OPEN_CLIP_XL)
        ),
    }
