"""The sites of a `UNet2DConditionModel`, by the names that diffusers gives its modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vedit.errors import ModelError
from vedit.models.sd.inflate import TEMPORAL
from vedit.models.sites import FEATURES, Site


def find_sites(unet: Any) -> list[Site]:
    """All sites of a `UNet2DConditionModel`, in forward order."""
    sites: list[Site] = []
    layer = 0
    for path, kind, scale in _walk(unet):
        is_attention = kind not in FEATURES
        sites.append(Site(path, kind, layer if is_attention else -1, scale))
        layer += is_attention
    return sites


def _walk(unet: Any) -> Iterator[tuple[str, str, int]]:
    if not hasattr(unet, "down_blocks") or not hasattr(unet, "up_blocks"):
        raise ModelError(
            f"{type(unet).__name__} is not a UNet.",
            "These methods control the attention of Stable Diffusion 1.x and 2.x UNets.",
        )
    scale = 1
    for i, block in enumerate(unet.down_blocks):
        yield from _block(f"down_blocks.{i}", block, scale)
        if getattr(block, "downsamplers", None):
            scale *= 2
    if unet.mid_block is not None:
        yield from _mid("mid_block", unet.mid_block, scale)
    for i, block in enumerate(unet.up_blocks):
        yield from _block(f"up_blocks.{i}", block, scale)
        if getattr(block, "upsamplers", None):
            scale //= 2
            yield f"up_blocks.{i}.upsamplers.0.conv", "up", scale


def _block(path: str, block: Any, scale: int) -> Iterator[tuple[str, str, int]]:
    attentions = getattr(block, "attentions", None) or []
    for j in range(len(block.resnets)):
        yield f"{path}.resnets.{j}.conv2", "conv", scale
        if j < len(attentions):
            yield from _attention(f"{path}.attentions.{j}", attentions[j], scale)


def _mid(path: str, block: Any, scale: int) -> Iterator[tuple[str, str, int]]:
    yield f"{path}.resnets.0.conv2", "conv", scale
    for j, attention in enumerate(getattr(block, "attentions", None) or []):
        yield from _attention(f"{path}.attentions.{j}", attention, scale)
        if j + 1 < len(block.resnets):
            yield f"{path}.resnets.{j + 1}.conv2", "conv", scale


def _attention(path: str, attention: Any, scale: int) -> Iterator[tuple[str, str, int]]:
    for k, transformer in enumerate(getattr(attention, "transformer_blocks", [])):
        if getattr(transformer, "attn1", None) is not None:
            yield f"{path}.transformer_blocks.{k}.attn1", "self", scale
        if getattr(transformer, "attn2", None) is not None:
            yield f"{path}.transformer_blocks.{k}.attn2", "cross", scale
        if getattr(transformer, TEMPORAL, None) is not None:
            yield f"{path}.transformer_blocks.{k}.{TEMPORAL}", "temporal", scale
