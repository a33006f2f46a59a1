"""A checkpoint in the layout of Stable Diffusion 1.5 as its repository has it: sizes, names, configs; random
weights.

What it shares with the published files and a freshly saved pipeline does not: weights in half
precision, the autoencoder's attention under its old names (`query`, `proj_attn`), the text
encoder's under `text_model.` with its stored position ids, a tokenizer of vocab.json and
merges.txt alone, a VAE config without `scaling_factor`, and no safety checker.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

VERSION = {"_diffusers_version": "0.6.0"}
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    **VERSION,
    "feature_extractor": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
SCHEDULER = {
    "_class_name": "PNDMScheduler", **VERSION, "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "num_train_timesteps": 1000,
    "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None, "clip_sample": False,
}  # fmt: skip
UNET = {
    "_class_name": "UNet2DConditionModel", **VERSION, "act_fn": "silu", "attention_head_dim": 8, "block_out_channels": [320, 640, 1280, 1280],
    "center_input_sample": False, "cross_attention_dim": 768, "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"], "downsample_padding": 1,
    "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 4, "layers_per_block": 2, "mid_block_scale_factor": 1, "norm_eps": 1e-05,
    "norm_num_groups": 32, "out_channels": 4, "sample_size": 64, "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}  # fmt: skip
VAE = {
    "_class_name": "AutoencoderKL", **VERSION, "act_fn": "silu", "block_out_channels": [128, 256, 512, 512], "down_block_types": ["DownEncoderBlock2D"] * 4,
    "in_channels": 3, "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32, "out_channels": 3, "sample_size": 512,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}  # fmt: skip
TEXT_ENCODER = {
    "_name_or_path": "openai/clip-vit-large-patch14", "architectures": ["CLIPTextModel"], "attention_dropout": 0.0, "bos_token_id": 0, "dropout": 0.0,
    "eos_token_id": 2, "hidden_act": "quick_gelu", "hidden_size": 768, "initializer_factor": 1.0, "initializer_range": 0.02, "intermediate_size": 3072,
    "layer_norm_eps": 1e-05, "max_position_embeddings": 77, "model_type": "clip_text_model", "num_attention_heads": 12, "num_hidden_layers": 12,
    "pad_token_id": 1, "projection_dim": 768, "torch_dtype": "float32", "transformers_version": "4.22.0.dev0", "vocab_size": 49408,
}  # fmt: skip
START, END = "<|startoftext|>", "<|endoftext|>"
OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
PARAMETERS = {
    "unet": 859_520_964,
    "vae": 83_653_863,
    "text_encoder": 123_060_480,
}  # of the published checkpoint


def write_sd15(folder: Path, words: list[str], seed: int = 15) -> Path:
    """words: that the tokenizer holds as one token each; all others it takes apart."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    write_json(folder / "model_index.json", INDEX)
    write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    write_tokenizer(folder / "tokenizer", words)
    with torch.device("meta"):  # only names and shapes; the weights are drawn below
        unet = UNet2DConditionModel.from_config(UNET)
        vae = AutoencoderKL.from_config(VAE)
        text = CLIPTextModel(
            CLIPTextConfig(
                **{
                    key: value
                    for key, value in TEXT_ENCODER.items()
                    if key not in ("architectures", "torch_dtype", "model_type")
                }
            )
        )
    generator = torch.Generator().manual_seed(seed)
    write_part(
        folder / "unet",
        UNET,
        "diffusion_pytorch_model.safetensors",
        {name: value for name, value in drawn(unet, generator)},
    )
    write_part(
        folder / "vae",
        VAE,
        "diffusion_pytorch_model.safetensors",
        {old_name(name): value for name, value in drawn(vae, generator)},
    )
    weights = {
        "text_model." + name.removeprefix("text_model."): value for name, value in drawn(text, generator)
    }
    weights["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    write_part(folder / "text_encoder", TEXT_ENCODER, "model.safetensors", weights)
    return folder


def drawn(module: Any, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    """Weights for a module on the meta device: normal by fan-in, norms at one, biases zero; in half
    precision.
    """
    for name, like in module.named_parameters():
        if like.ndim == 1:
            value = torch.ones(like.shape) if name.endswith("weight") else torch.zeros(like.shape)
        else:
            value = torch.randn(like.shape, generator=generator) * like[0].numel() ** -0.5
        if name == "conv_out.weight":  # of the network: scaled down, inversion reconstructs
            value *= 0.1
        if name == "quant_conv.weight":  # of the autoencoder: latents of unit size, as a trained one's are
            value *= 8
        if "embedding.weight" in name:
            value = torch.randn(like.shape, generator=generator) * 0.02
        yield name, value.half()


def old_name(name: str) -> str:
    """What a weight of the autoencoder's attention was called when the checkpoint was published."""
    for new, old in OLD_NAMES.items():
        if ".attentions." in name:
            name = name.replace(f".{new}.", f".{old}.")
    return name


def write_part(folder: Path, config: dict[str, Any], file: str, weights: dict[str, Tensor]) -> None:
    from safetensors.torch import save_file

    write_json(folder / "config.json", config)
    save_file(weights, folder / file, metadata={"format": "pt"})


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def write_tokenizer(folder: Path, words: list[str]) -> None:
    """CLIP's files: 49408 entries of vocab.json, and merges.txt in order of precedence."""
    letters = [bytes_letter(code) for code in range(256)]
    tokens, merges = [*letters, *(letter + "</w>" for letter in letters)], []
    known = set(tokens)

    def merge(left: str, right: str) -> None:
        if left + right not in known:
            known.add(left + right)
            tokens.append(left + right)
            merges.append(f"{left} {right}")

    for word in words:
        end = word[-1] + "</w>"
        for letter in reversed(word[:-1]):  # from the right, so that no merge of one word breaks another
            merge(letter, end)
            end = letter + end
    syllables = [a + b for a in "bcdfghjklmnprstvwz" for b in "aeiouy"]
    for syllable in syllables:
        merge(syllable[0], syllable[1])
    for first in syllables:  # no word of ours is spelt so: filling up to the real size
        for second in syllables:
            merge(first, second)
    fill = tokens[-(len(syllables) ** 2) :]
    for number in range(49408 - 2 - len(tokens)):
        merge(fill[number // 108], syllables[number % 108])
    vocabulary = {token: place for place, token in enumerate([*tokens, START, END])}
    assert len(vocabulary) == 49408
    write_json(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    special = {"bos_token": added(START), "eos_token": added(END), "pad_token": END, "unk_token": added(END)}
    write_json(folder / "special_tokens_map.json", special)
    typed = {
        name: {"__type": "AddedToken", **value} if isinstance(value, dict) else value
        for name, value in special.items()
    }
    own = {
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": 77,
        "tokenizer_class": "CLIPTokenizer",
    }
    write_json(folder / "tokenizer_config.json", {**own, **typed})


def added(token: str) -> dict[str, Any]:
    return {"content": token, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}


def bytes_letter(code: int) -> str:
    """The printable letter that byte-level BPE writes a byte as."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    return chr(code) if code in printable else chr(256 + sum(other not in printable for other in range(code)))
