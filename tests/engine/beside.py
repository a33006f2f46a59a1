"""ControlNets and IP-Adapters in small, in their official layouts, with seeded random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file


def controlnet(unet: Any, seed: int = 4, scale: int = 4) -> Any:
    """A ControlNet of a UNet whose last layers are not zero, as they would be before training.

    scale: pixels of its pictures for each cell of the latents.
    """
    from diffusers import ControlNetModel

    torch.manual_seed(seed)
    net = ControlNetModel.from_unet(unet, conditioning_channels=3, load_weights_from_unet=False, conditioning_embedding_out_channels=(4, 8, 8, 8)[: scale.bit_length()])  # fmt: skip
    with torch.no_grad():
        for layer in (*net.controlnet_down_blocks, net.controlnet_mid_block):
            torch.nn.init.normal_(layer.weight, std=0.2)
        torch.nn.init.normal_(net.controlnet_cond_embedding.conv_out.weight, std=0.2)
    return net.to(unet.dtype).eval().requires_grad_(False)


def write_controlnet(path: Path, unet: Any, seed: int = 4) -> Path:
    controlnet(unet, seed).float().save_pretrained(path)
    return path


def adapter_tensors(unet: Any, encoder_width: int, kind: str = "plain", seed: int = 6) -> dict[str, Any]:
    """The tensors of an IP-Adapter by the names of h94/IP-Adapter's files. kind: plain or plus."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Any:
        return torch.randn(*shape, generator=generator) * 0.3

    width = int(unet.config.cross_attention_dim)
    found = {}
    if kind == "plain":
        found |= {
            "image_proj.proj.weight": drawn(4 * width, encoder_width),
            "image_proj.proj.bias": drawn(4 * width),
        }
        found |= {"image_proj.norm.weight": torch.ones(width), "image_proj.norm.bias": torch.zeros(width)}
    else:
        found |= plus_tensors(width, encoder_width, drawn)
    number = 1
    for name in unet.attn_processors:
        if name.endswith("attn2.processor"):
            module = unet.get_submodule(name.removesuffix(".processor"))
            for part in ("k", "v"):
                found[f"ip_adapter.{number}.to_{part}_ip.weight"] = drawn(*module.to_k.weight.shape)
            number += 2
    return found


def plus_tensors(width: int, encoder_width: int, drawn: Any, inner: int = 64) -> dict[str, Any]:
    """The resampler of IP-Adapter Plus, four layers of one head."""
    found = {
        "image_proj.latents": drawn(1, 3, inner),
        "image_proj.proj_in.weight": drawn(inner, encoder_width), "image_proj.proj_in.bias": drawn(inner),
        "image_proj.proj_out.weight": drawn(width, inner), "image_proj.proj_out.bias": drawn(width),
        "image_proj.norm_out.weight": torch.ones(width), "image_proj.norm_out.bias": torch.zeros(width),
    }  # fmt: skip
    for layer in (f"image_proj.layers.{number}" for number in range(4)):
        for norm in ("norm1", "norm2"):
            found |= {
                f"{layer}.0.{norm}.weight": torch.ones(inner),
                f"{layer}.0.{norm}.bias": torch.zeros(inner),
            }
        found |= {
            f"{layer}.0.to_q.weight": drawn(inner, inner),
            f"{layer}.0.to_kv.weight": drawn(2 * inner, inner),
        }
        found |= {f"{layer}.0.to_out.weight": drawn(inner, inner)}
        found |= {f"{layer}.1.0.weight": torch.ones(inner), f"{layer}.1.0.bias": torch.zeros(inner)}
        found |= {
            f"{layer}.1.1.weight": drawn(4 * inner, inner),
            f"{layer}.1.3.weight": drawn(inner, 4 * inner),
        }
    return found


def write_adapter(
    path: Path, unet: Any, kind: str = "plain", suffix: str = ".safetensors", seed: int = 6
) -> Path:
    """An adapter beside its image encoder; the file of its weights."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(seed)
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=24, projection_dim=12, num_hidden_layers=2, num_attention_heads=2,
        image_size=32, patch_size=8,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(path / "image_encoder")
    tensors = adapter_tensors(unet, 12 if kind == "plain" else 16, kind, seed)
    file = path / f"ip-adapter_{kind}{suffix}"
    if suffix == ".safetensors":
        save_file(tensors, file)
    else:
        nested: dict[str, dict[str, Any]] = {"image_proj": {}, "ip_adapter": {}}
        for key, tensor in tensors.items():
            half, _, rest = key.partition(".")
            nested[half][rest] = tensor
        torch.save(nested, file)
    return file
