"""DINOv2-base and DINO ViT-B/16: what a frame shows, without words.

Source: Oquab et al. 2023, Caron et al. 2021; blocks of timm, files of transformers. Positions are resized by
plain bicubic interpolation as in the published code; timm's own resampling antialiases and gives other
numbers. The epsilon of DINO's norms is 1e-6 as in its own code; the configuration of its copy for
transformers says 1e-12.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vedit.metrics.towers.features import Features
from vedit.metrics.towers.tower import Part, Tower, empty, joined, renamed, same_names, to_numpy
from vedit.metrics.types import Pixels, Video, shrink

if TYPE_CHECKING:
    from vedit.metrics.towers.tower import State

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
CROPPED = "dino224: Pillow bicubic shorter side 256, centre crop 224"
WHOLE = "dino-whole: Pillow bicubic shorter side 224, whole patches"


@dataclass(frozen=True)
class DinoConfig:
    """Sizes of a tower; `grid` is the side of the position table in patches.

    scaled: positions are interpolated by the factor (patches + 0.1) / grid, as DINO's code has it, and not to
    a size.
    """

    patch: int
    grid: int
    has_layer_scale: bool
    scaled: bool
    width: int = 768
    layers: int = 12
    heads: int = 12


CONFIGS = {
    "dinov2": DinoConfig(14, 37, has_layer_scale=True, scaled=False),
    "dino-vitb16": DinoConfig(16, 14, has_layer_scale=False, scaled=True),
}


class DinoTower(Tower):
    def build(self, state: State) -> nn.Module:
        from timm.layers import PatchEmbed
        from timm.models.vision_transformer import VisionTransformer

        config = CONFIGS[self.name]
        make = partial(
            VisionTransformer,
            img_size=config.grid * config.patch,
            patch_size=config.patch,
            num_classes=0,
            embed_dim=config.width,
            depth=config.layers,
            num_heads=config.heads,
            init_values=1e-5 if config.has_layer_scale else None,
            embed_layer=partial(PatchEmbed, strict_img_size=False),
            weight_init="skip",
        )
        is_hf = any(name.startswith("embeddings.") for name in state)
        layout = (dinov2_layout if config.has_layer_scale else vit_layout) if is_hf else same_names
        table = state.get("embeddings.position_embeddings" if is_hf else "pos_embed")
        net = self.ready(
            empty(make), state, layout, ignore=(r"embeddings\.mask_token", r"pooler\..*", r"head\..*")
        )
        assert table is not None, "asked for by ready"
        self.table_1ME = table.float().to(self.device)  # resized in float32, whatever the network runs in
        return net

    def cropped(self, video: Video) -> Features:
        """`cls` (T, width) of the frames cropped to 224 x 224."""
        return self.kept(lambda: self._cls(video.dino224_TYX3), "images", CROPPED, video.digest)

    def whole(self, video: Video) -> Features:
        """`cls` (T, width) of whole frames with a shorter side of 224; what fills no patch is left out on the
        right and below.
        """
        return self.kept(
            lambda: self._cls(np.stack([shrink(frame, 224) for frame in video.frames_TYX3])),
            "images",
            WHOLE,
            video.digest,
        )

    def keys(self, video: Video) -> Features:
        """`keys` (T, 1 + patches, width): those of the last layer's attention, CLS first, of the frames
        cropped to 224 x 224.
        """
        return self.kept(lambda: self._keys(video.dino224_TYX3), "keys", CROPPED, video.digest)

    def _keys(self, frames_TYX3: Pixels) -> Features:
        found: list[Tensor] = []
        net: Any = self.net
        width = CONFIGS[self.name].width
        # queries, keys and values of a place lie behind one another
        hook = net.blocks[-1].attn.qkv.register_forward_hook(
            lambda module, given, out: found.append(out[..., width : 2 * width])
        )
        try:
            self._cls(frames_TYX3)
        finally:
            hook.remove()
        return {"keys": to_numpy(torch.cat(found))}

    def _cls(self, frames_TYX3: Pixels) -> Features:
        patch = CONFIGS[self.name].patch
        rows, columns = (side // patch for side in frames_TYX3.shape[1:3])
        net: Any = self.net
        net.pos_embed = nn.Parameter(
            positions(self.table_1ME, rows, columns, CONFIGS[self.name].scaled).to(self.dtype),
            requires_grad=False,
        )
        batches = self.batches(frames_TYX3[:, : rows * patch, : columns * patch], MEAN, STD)
        return {"cls": to_numpy(torch.cat([net(batch) for batch in batches]))}


def positions(table_1ME: Tensor, rows: int, columns: int, scaled: bool) -> Tensor:
    """A position table (1, 1 + grid * grid, E) for another number of patches; the CLS entry stays."""
    grid = round((table_1ME.shape[1] - 1) ** 0.5)
    if (rows, columns) == (grid, grid):
        return table_1ME
    table_1EYX = table_1ME[:, 1:].reshape(1, grid, grid, -1).permute(0, 3, 1, 2)
    if scaled:
        resized = F.interpolate(
            table_1EYX, scale_factor=((rows + 0.1) / grid, (columns + 0.1) / grid), mode="bicubic"
        )
    else:
        resized = F.interpolate(table_1EYX, size=(rows, columns), mode="bicubic", align_corners=False)
    assert resized.shape[2:] == (rows, columns)
    return torch.cat([table_1ME[:, :1], resized.flatten(2).transpose(1, 2)], 1)


_HF = renamed(
    [
        (r"^cls_token", "embeddings.cls_token"),
        (r"^pos_embed", "embeddings.position_embeddings"),
        (r"^patch_embed\.proj", "embeddings.patch_embeddings.projection"),
        (r"^norm\.", "layernorm."),
        (r"^blocks\.", "encoder.layer."),
        (r"\.attn\.proj", ".attention.output.dense"),
        (r"\.ls(\d)\.gamma", r".layer_scale\1.lambda1"),
    ]
)
_HF_VIT = renamed(
    [
        (r"\.norm1\.", ".layernorm_before."),
        (r"\.norm2\.", ".layernorm_after."),
        (r"\.mlp\.fc1", ".intermediate.dense"),
        (r"\.mlp\.fc2", ".output.dense"),
    ]
)


def dinov2_layout(name: str, shape: tuple[int, ...]) -> Part:
    """Files of transformers' Dinov2Model."""
    found = _HF(name)
    if ".attn.qkv." in found:
        block, _, kind = found.partition(".attn.qkv.")
        return joined(
            [f"{block}.attention.attention.{part}.{kind}" for part in ("query", "key", "value")], shape
        )
    return same_names(found, shape)


def vit_layout(name: str, shape: tuple[int, ...]) -> Part:
    """Files of transformers' ViTModel."""
    return replace(found := dinov2_layout(name, shape), names=tuple(_HF_VIT(part) for part in found.names))
