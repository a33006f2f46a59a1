"""The sites of a video UNet, by the names that diffusers gives its modules.

Attention within frames and over frames, and to text, in forward order:

    within        attentions.J.transformer_blocks.K.attn1 (frames), .attn2 (text), in all of them
    AnimateDiff   motion_modules.J.transformer_blocks.K.attn1, .attn2
    I2VGen-XL     temp_attentions.J.transformer_blocks.K.attn1, .attn2, and transformer_in
    SVD           attentions.J.temporal_transformer_blocks.K.attn1

Both attentions of a layer over frames look at frames: there is no text in it, but in SVD, whose second one
sees the picture and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from vedit.models.sites import FEATURES, Site

OVER_FRAMES = ("motion_modules", "temp_attentions")
RESIDUAL = ("conv2", "spatial_res_block.conv2")  # the second is of a block that also goes over frames


def find_sites(unet: Any) -> list[Site]:
    """All sites of a video UNet, in forward order."""
    sites: list[Site] = []
    layer = 0
    for path, kind, scale in _walk(unet):
        is_attention = kind not in FEATURES
        sites.append(Site(path, kind, layer if is_attention else -1, scale))
        layer += is_attention
    return sites


def _walk(unet: Any) -> Iterator[tuple[str, str, int]]:
    if hasattr(unet, "transformer_in"):
        yield from _over_frames("transformer_in", unet.transformer_in, 1)
    scale = 1
    for place, block in enumerate(unet.down_blocks):
        yield from _block(f"down_blocks.{place}", block, scale)
        if getattr(block, "downsamplers", None):
            scale *= 2
    yield from _middle("mid_block", unet.mid_block, scale)
    for place, block in enumerate(unet.up_blocks):
        yield from _block(f"up_blocks.{place}", block, scale)
        if getattr(block, "upsamplers", None):
            scale //= 2
            yield f"up_blocks.{place}.upsamplers.0.conv", "up", scale


def _block(path: str, block: Any, scale: int) -> Iterator[tuple[str, str, int]]:
    for place, resnet in enumerate(block.resnets):
        yield _residual(f"{path}.resnets.{place}", resnet, scale)
        yield from _attentions(path, block, place, scale)


def _middle(path: str, block: Any, scale: int) -> Iterator[tuple[str, str, int]]:
    yield _residual(f"{path}.resnets.0", block.resnets[0], scale)
    for place, resnet in enumerate([*block.resnets][1:]):
        yield from _attentions(path, block, place, scale)
        yield _residual(f"{path}.resnets.{place + 1}", resnet, scale)


def _residual(path: str, resnet: Any, scale: int) -> tuple[str, str, int]:
    return f"{path}.{RESIDUAL[hasattr(resnet, 'spatial_res_block')]}", "conv", scale


def _attentions(path: str, block: Any, place: int, scale: int) -> Iterator[tuple[str, str, int]]:
    """The attention behind a residual block: within frames, then over them."""
    for name in ("attentions", *OVER_FRAMES):
        layers = getattr(block, name, None) or ()
        if place >= len(layers):
            continue
        here = f"{path}.{name}.{place}"
        if name == "attentions":
            yield from _within_frames(here, layers[place], scale)
        else:
            yield from _over_frames(here, layers[place], scale)


def _within_frames(path: str, layer: Any, scale: int) -> Iterator[tuple[str, str, int]]:
    along = getattr(layer, "temporal_transformer_blocks", ())
    for place, (block, _) in enumerate(zip_longest(layer.transformer_blocks, along)):
        yield f"{path}.transformer_blocks.{place}.attn1", "self", scale
        if block.attn2 is not None:
            yield f"{path}.transformer_blocks.{place}.attn2", "cross", scale
        if along:
            yield f"{path}.temporal_transformer_blocks.{place}.attn1", "temporal", scale


def _over_frames(path: str, layer: Any, scale: int) -> Iterator[tuple[str, str, int]]:
    for place, block in enumerate(layer.transformer_blocks):
        for name in ("attn1", "attn2"):
            if getattr(block, name, None) is not None:
                yield f"{path}.transformer_blocks.{place}.{name}", "temporal", scale
