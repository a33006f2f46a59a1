"""Names of the original Stable Diffusion code from those of diffusers.

Source: scripts/convert_diffusers_to_original_stable_diffusion.py of diffusers, written down anew as pairs to
replace.
"""

from __future__ import annotations

from torch import Tensor

UNET_NAMES = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def unet_layers() -> dict[str, str]:
    layers = {}
    for i in range(4):
        for j in range(2):
            layers[f"down_blocks.{i}.resnets.{j}."] = f"input_blocks.{3 * i + j + 1}.0."
            layers[f"down_blocks.{i}.attentions.{j}."] = f"input_blocks.{3 * i + j + 1}.1."
        for j in range(3):
            layers[f"up_blocks.{i}.resnets.{j}."] = f"output_blocks.{3 * i + j}.0."
            layers[f"up_blocks.{i}.attentions.{j}."] = f"output_blocks.{3 * i + j}.1."
        layers[f"down_blocks.{i}.downsamplers.0.conv."] = f"input_blocks.{3 * (i + 1)}.0.op."
        layers[f"up_blocks.{i}.upsamplers.0."] = f"output_blocks.{3 * i + 2}.{1 if i == 0 else 2}."
    layers["mid_block.attentions.0."] = "middle_block.1."
    layers["mid_block.resnets.0."], layers["mid_block.resnets.1."] = "middle_block.0.", "middle_block.2."
    return layers


def replaced(name: str, table: dict[str, str]) -> str:
    for new, old in table.items():
        if name.startswith(new) or f".{new}" in name:
            name = name.replace(new, old, 1)
    return name


def unet_name(name: str) -> str:
    stem, _, last = name.rpartition(".")
    if stem in UNET_NAMES:
        return f"model.diffusion_model.{UNET_NAMES[stem]}.{last}"
    if "resnets" in name:
        name = replaced(name, RESNET)
    return "model.diffusion_model." + replaced(name, unet_layers())


def vae_layers() -> dict[str, str]:
    layers = {"conv_norm_out": "norm_out", "mid_block.attentions.0.": "mid.attn_1."}
    for i in range(4):
        for j in range(2):
            layers[f"encoder.down_blocks.{i}.resnets.{j}."] = f"encoder.down.{i}.block.{j}."
        layers[f"down_blocks.{i}.downsamplers.0."] = f"down.{i}.downsample."
        layers[f"up_blocks.{i}.upsamplers.0."] = f"up.{3 - i}.upsample."
        for j in range(3):
            layers[f"decoder.up_blocks.{i}.resnets.{j}."] = f"decoder.up.{3 - i}.block.{j}."
    layers["mid_block.resnets.0."], layers["mid_block.resnets.1."] = "mid.block_1.", "mid.block_2."
    return layers


def vae_entry(name: str, value: Tensor) -> tuple[str, Tensor]:
    if "attentions" in name:
        name = replaced(name, ATTENTION)
        if value.ndim == 2:
            value = value[:, :, None, None]  # convolutions of one pixel
    name = name.replace("conv_shortcut", "nin_shortcut")
    return "first_stage_model." + replaced(name, vae_layers()), value
