"""CLIP: images and texts in one space.

Source: Radford et al. 2021; blocks of open_clip, files of transformers or open_clip. ViT-L/14 is OpenAI's,
ViT-H/14 is PickScore (Kirstain et al. 2023, a fine-tuned LAION tower), ViT-B/32 is for `--success-model`.
ViT-8M/16 is TinyCLIP's smallest (Wu et al. 2023), whose training configuration has plain GELU.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from vedit.metrics.towers.features import Features
from vedit.metrics.towers.tower import Part, Tower, empty, joined, renamed, same_names, to_numpy, transposed
from vedit.metrics.types import Video

if TYPE_CHECKING:
    from vedit.metrics.towers.tower import State

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
PREPROCESSING = "clip224: Pillow bicubic shorter side 224, centre crop"
CONTEXT = 77


@dataclass(frozen=True)
class ClipConfig:
    """Sizes of an image and a text tower; `quick` is OpenAI's x * sigmoid(1.702 x) instead of GELU."""

    patch: int
    width: int
    layers: int
    heads: int
    text_width: int
    text_layers: int
    text_heads: int
    embed: int
    quick: bool
    image: int = 224
    vocabulary: int = 49408


CONFIGS = {
    "clip_l": ClipConfig(14, 1024, 24, 16, 768, 12, 12, 768, quick=True),
    "clip_b32": ClipConfig(32, 768, 12, 12, 512, 12, 8, 512, quick=True),
    "clip_small": ClipConfig(16, 256, 10, 4, 256, 3, 4, 512, quick=False),
    "clip_h": ClipConfig(14, 1280, 32, 16, 1024, 24, 16, 1024, quick=False),
}


class ClipNet(nn.Module):
    """Both towers. `image` gives the state before the projection too, which open_clip's forward does not."""

    def __init__(self, config: ClipConfig) -> None:
        from open_clip.transformer import QuickGELU, TextTransformer, VisionTransformer

        super().__init__()
        act = QuickGELU if config.quick else nn.GELU
        self.visual = VisionTransformer(
            config.image,
            config.patch,
            config.width,
            config.layers,
            config.heads,
            4.0,
            output_dim=config.embed,
            act_layer=act,
        )
        self.proj, self.visual.proj = self.visual.proj, None
        self.text = TextTransformer(
            CONTEXT,
            config.vocabulary,
            config.text_width,
            config.text_heads,
            config.text_layers,
            output_dim=config.embed,
            act_layer=act,
        )
        self.logit_scale = nn.Parameter(torch.empty(()))

    def image(self, pixels_T3YX: Tensor) -> tuple[Tensor, Tensor]:
        """The pooled CLS state after the last LayerNorm, (T, width), and its projection, (T, embed)."""
        pooled = self.visual(pixels_T3YX)
        return pooled, pooled @ self.proj


class ClipTower(Tower):
    def build(self, state: State) -> ClipNet:
        net: Any = empty(lambda: ClipNet(CONFIGS[self.name]))
        is_hf = any(name.startswith("vision_model.") for name in state)
        logit_scale = state.get("logit_scale")
        self.ready(
            net, state, hf_layout if is_hf else open_clip_layout, ignore=(r".*\bposition_ids", "attn_mask")
        )
        net.text.attn_mask = net.text.build_causal_mask().to(self.device)
        assert logit_scale is not None, "asked for by ready"
        net.logit_scale = nn.Parameter(
            logit_scale.float(), requires_grad=False
        )  # half of it would move the third digit
        return net

    def images(self, video: Video) -> Features:
        """`pooled` (T, width) and `projected` (T, embed), not normalised."""
        return self.kept(lambda: self._images(video), "images", PREPROCESSING, video.digest)

    def _images(self, video: Video) -> Features:
        pooled, projected = zip(
            *(self.net.image(batch) for batch in self.batches(video.clip224_TYX3, MEAN, STD))
        )
        return {"pooled": to_numpy(torch.cat(pooled)), "projected": to_numpy(torch.cat(projected))}

    def text(self, prompt: str) -> Features:
        """`projected` (1, embed), not normalised; `scale` (1,), the factor of cosines; `truncated` (1,), 1
        when words were cut off.
        """
        return self.kept(lambda: self._text(prompt), "text", prompt)

    def _text(self, prompt: str) -> Features:
        ids, is_cut = tokenize(prompt, CONTEXT)
        net = self.net
        return {
            "projected": to_numpy(net.text(ids.to(self.device))),
            "scale": to_numpy(net.logit_scale.exp().reshape(1)),
            "truncated": np.array([is_cut], np.float32),
        }


@cache
def _tokenizer() -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


def tokenize(prompt: str, context: int) -> tuple[Tensor, bool]:
    """Token ids (1, context), the end token kept when the text is cut, and whether it was."""
    tokenizer = _tokenizer()
    ids = tokenizer([prompt], context_length=context)
    return ids, bool(ids[0, -1]) and not torch.equal(
        ids, tokenizer([prompt], context_length=context + 1)[:, :context]
    )


def open_clip_layout(name: str, shape: tuple[int, ...]) -> Part:
    """Files of open_clip: the text tower's keys have no prefix."""
    return same_names("visual.proj" if name == "proj" else name.removeprefix("text."), shape)


_HF = renamed(
    [
        (r"^proj$", "visual_projection.weight"),
        (r"^text\.text_projection$", "text_projection.weight"),
        (r"^visual\.class_embedding", "vision_model.embeddings.class_embedding"),
        (r"^visual\.conv1", "vision_model.embeddings.patch_embedding"),
        (r"^visual\.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
        (r"^visual\.ln_pre", "vision_model.pre_layrnorm"),
        (r"^visual\.ln_post", "vision_model.post_layernorm"),
        (r"^text\.token_embedding", "text_model.embeddings.token_embedding"),
        (r"^text\.positional_embedding", "text_model.embeddings.position_embedding.weight"),
        (r"^text\.ln_final", "text_model.final_layer_norm"),
        (r"^visual\.transformer\.resblocks", "vision_model.encoder.layers"),
        (r"^text\.transformer\.resblocks", "text_model.encoder.layers"),
        (r"\.attn\.out_proj", ".self_attn.out_proj"),
        (r"\.ln_(\d)", r".layer_norm\1"),
        (r"\.mlp\.c_fc", ".mlp.fc1"),
        (r"\.mlp\.c_proj", ".mlp.fc2"),
    ]
)


def hf_layout(name: str, shape: tuple[int, ...]) -> Part:
    """Files of transformers' CLIPModel."""
    found = _HF(name)
    if ".attn.in_proj_" in found:
        block, _, kind = found.partition(".attn.in_proj_")
        return joined([f"{block}.self_attn.{part}_proj.{kind}" for part in "qkv"], shape)
    return transposed(found, shape) if found.endswith("_projection.weight") else same_names(found, shape)
