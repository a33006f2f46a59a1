"""ViCLIP: a clip of eight frames and a sentence in one space.

Source: Wang et al. 2023 (InternVid), ViClip-InternVid-10M-FLT; blocks of open_clip. The patches of all
frames make one sequence with one CLS token; a table of eight entries says which frame a patch is from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from vedit.metrics.towers.clip import MEAN, PREPROCESSING, STD, tokenize
from vedit.metrics.towers.features import Features
from vedit.metrics.towers.tower import Part, Tower, empty, same_names, to_numpy
from vedit.metrics.types import Pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vedit.metrics.towers.tower import State
    from vedit.metrics.types import Video

FRAMES = 8


@dataclass(frozen=True)
class ViclipConfig:
    """Sizes of the video and the text tower."""

    patch: int = 14
    width: int = 1024
    layers: int = 24
    heads: int = 16
    text_width: int = 768
    text_layers: int = 12
    text_heads: int = 12
    embed: int = 768
    context: int = 32
    image: int = 224
    vocabulary: int = 49408


CONFIG = ViclipConfig()


class VideoTransformer(nn.Module):
    """The video tower: no masking, no dropout."""

    def __init__(self, config: ViclipConfig) -> None:
        from open_clip.transformer import LayerNorm, QuickGELU, Transformer

        super().__init__()
        width, patches = config.width, (config.image // config.patch) ** 2
        self.conv1 = nn.Conv2d(3, width, config.patch, config.patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(1 + patches, width))
        self.temporal_positional_embedding = nn.Parameter(torch.empty(1, FRAMES, width))
        self.ln_pre = LayerNorm(width)
        self.transformer = Transformer(width, config.layers, config.heads, act_layer=QuickGELU)
        self.ln_post = LayerNorm(width)
        self.proj = nn.Parameter(torch.empty(width, config.embed))

    def forward(self, pixels_T3YX: Tensor) -> Tensor:
        """The embedding (1, embed) of exactly eight frames."""
        patches_TPE = self.conv1(pixels_T3YX).flatten(2).transpose(1, 2) + self.positional_embedding[1:]
        patches_TPE = patches_TPE + self.temporal_positional_embedding[0, :, None]
        cls_1E = (self.class_embedding + self.positional_embedding[0])[None]
        tokens_1NE = torch.cat([cls_1E, patches_TPE.flatten(0, 1)])[None]
        return self.ln_post(self.transformer(self.ln_pre(tokens_1NE))[:, 0]) @ self.proj


class ViclipNet(nn.Module):
    def __init__(self, config: ViclipConfig) -> None:
        from open_clip.transformer import QuickGELU, TextTransformer

        super().__init__()
        self.vision_encoder = VideoTransformer(config)
        self.text_encoder = TextTransformer(
            config.context,
            config.vocabulary,
            config.text_width,
            config.text_heads,
            config.text_layers,
            output_dim=config.embed,
            act_layer=QuickGELU,
        )


class ViclipTower(Tower):
    def build(self, state: State) -> ViclipNet:
        net: Any = empty(lambda: ViclipNet(CONFIG))
        self.ready(net, state, layout, ignore=("temp",))
        net.text_encoder.attn_mask = net.text_encoder.build_causal_mask().to(self.device)
        return net

    def video(self, video: Video, indices: Sequence[int]) -> Features:
        """`projected` (1, embed) of eight frames of a video, not normalised."""
        assert len(indices) == FRAMES
        return self.kept(
            lambda: self._video(video.clip224_TYX3[list(indices)]),
            "video",
            PREPROCESSING,
            video.digest,
            str(list(indices)),
        )

    def _video(self, frames_TYX3: Pixels) -> Features:
        return {
            "projected": to_numpy(
                self.net.vision_encoder(torch.cat(list(self.batches(frames_TYX3, MEAN, STD))))
            )
        }

    def text(self, prompt: str) -> Features:
        """`projected` (1, embed), not normalised; `truncated` (1,), 1 when words were cut off."""
        return self.kept(lambda: self._text(prompt), "text", prompt)

    def _text(self, prompt: str) -> Features:
        ids, is_cut = tokenize(prompt, CONFIG.context)
        return {
            "projected": to_numpy(self.net.text_encoder(ids.to(self.device))),
            "truncated": np.array([is_cut], np.float32),
        }


def layout(name: str, shape: tuple[int, ...]) -> Part:
    """The file's patch convolution has a time axis of one."""
    if name == "vision_encoder.conv1.weight":
        return Part((name,), (*shape[:2], 1, *shape[2:]), lambda tensor: tensor[:, :, 0])
    return same_names(name, shape)
