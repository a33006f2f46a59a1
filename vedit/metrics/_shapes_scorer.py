"""The embedded contrastive scorer: image and text vectors of drawn scenes, from weights in the package.

It knows the words of `vedit scene` and nothing else, so a prompt with another word has no score. Frames are
brought to its 64x64 pixels by Pillow's bicubic filter, without cropping. Its network is open_clip's CLIP with
a ResNet (Radford et al. 2021). It is written out here, since importing open_clip takes longer than scoring a
short clip; the tests hold it against open_clip's.
Shape letters: T frames, C channels, Y X rows and columns, L tokens, N heads, E embedding width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from vedit.errors import UsageError
from vedit.metrics.base import Clip
from vedit.metrics.towers.features import feature_key
from vedit.metrics.types import Floats, Options, Video

if TYPE_CHECKING:
    from torch import Tensor

FILE = Path(__file__).resolve().parent.parent / "builtin" / "shapes" / "scorer" / "model.safetensors"
SIDE = 64
VISION_HEADS, TEXT_HEADS, TEXT_LAYERS = 6, 4, 2
MOST_WORDS = 22  # of a prompt: the text tower has 24 places


def unfit(clip: Clip, options: Options) -> str:
    """Why the scorer cannot read a clip's prompts; "" when it can."""
    for prompt in (clip.prompt, clip.source_prompt):
        if prompt is not None and (reason := unreadable(prompt)):
            return reason
    return ""


def unreadable(prompt: str) -> str:
    """Why the scorer cannot read a prompt; "" when it can."""
    from vedit.data import grammar

    try:
        words = grammar.check_words(prompt)
    except UsageError as error:
        return f"the embedded scorer reads prompts of drawn scenes only ({error.what.partition('.')[0]})"
    return (
        ""
        if len(words) <= MOST_WORDS
        else f"the embedded scorer reads at most {MOST_WORDS} words, the prompt has {len(words)}"
    )


def provenance(options: Options) -> dict[str, Any]:
    """File, size and hash of the weights."""
    return {
        "file": "vedit/builtin/shapes/scorer/model.safetensors",
        "size": FILE.stat().st_size,
        "sha256": _sha256(),
    }


def text_vector(prompt: str) -> Floats:
    """The unit vector of a prompt whose words the scorer knows, (E,)."""
    import torch

    from vedit.data import grammar, vocabulary

    with torch.inference_mode():
        vector = _network().encode_text(vocabulary.token_ids([" ".join(grammar.check_words(prompt))]))[0]
    return _unit(vector.numpy())


def frame_vectors(video: Video, towers: Any) -> Floats:
    """The unit vectors of a clip's frames, (T, E), computed once."""
    key = feature_key("shapes-scorer", _sha256(), video.digest)
    kept = towers.store.get(key) if towers is not None else None
    if kept is None:
        kept = {"image": _encode(video)}
        if towers is not None:
            towers.store.put(key, kept)
    found: Floats = kept["image"]
    return found


def _encode(video: Video) -> Floats:
    import torch

    small = [
        np.asarray(Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        for frame in video.frames_TYX3
    ]
    pictures = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        found = torch.cat([_network().encode_image(2 * part - 1) for part in pictures.split(16)])
    return _unit(found.numpy())


def _unit(vectors: Any) -> Floats:
    found: Floats = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return found


class Network:
    """The two towers, for use alone. weights: by open_clip's names, float32."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self.weights = weights

    def encode_image(self, x_TCYX: Tensor) -> Tensor:
        """Vectors of pictures in [-1, 1], (T, E)."""
        import torch
        from torch.nn.functional import avg_pool2d

        for number, stride in ((1, 2), (2, 1), (3, 1)):
            x_TCYX = self._conv(x_TCYX, f"visual.conv{number}", f"visual.bn{number}", stride).relu()
        x_TCYX = avg_pool2d(x_TCYX, 2)
        for number in (1, 2, 3, 4):
            x_TCYX = self._block(x_TCYX, f"visual.layer{number}.0", 1 if number == 1 else 2)
        x_TLE = x_TCYX.flatten(2).mT
        x_TLE = (
            torch.cat([x_TLE.mean(1, keepdim=True), x_TLE], 1)
            + self.weights["visual.attnpool.positional_embedding"]
        )
        q, k, v = (
            self._linear(x, f"visual.attnpool.{name}_proj")
            for x, name in ((x_TLE[:, :1], "q"), (x_TLE, "k"), (x_TLE, "v"))
        )
        return self._linear(_attended(q, k, v, VISION_HEADS), "visual.attnpool.c_proj")[:, 0]

    def encode_text(self, ids_TL: Tensor) -> Tensor:
        """Vectors of prompts, (T, E); pooled at the end token, whose id is the highest."""
        from torch.nn.functional import gelu

        x = self.weights["token_embedding.weight"][ids_TL] + self.weights["positional_embedding"]
        for layer in range(TEXT_LAYERS):
            name = f"transformer.resblocks.{layer}"
            q, k, v = self._linear(self._norm(x, f"{name}.ln_1"), f"{name}.attn.in_proj", "_").chunk(3, -1)
            x = x + self._linear(_attended(q, k, v, TEXT_HEADS, is_causal=True), f"{name}.attn.out_proj")
            x = x + self._linear(
                gelu(self._linear(self._norm(x, f"{name}.ln_2"), f"{name}.mlp.c_fc")), f"{name}.mlp.c_proj"
            )
        x = self._norm(x, "ln_final")
        return x[range(len(x)), ids_TL.argmax(1)] @ self.weights["text_projection"]

    def _block(self, x_TCYX: Tensor, name: str, stride: int) -> Tensor:
        """A bottleneck; strides are averages, also on the way past it."""
        from torch.nn.functional import avg_pool2d

        inner = self._conv(x_TCYX, f"{name}.conv1", f"{name}.bn1").relu()
        inner = avg_pool2d(self._conv(inner, f"{name}.conv2", f"{name}.bn2").relu(), stride)
        past = self._conv(avg_pool2d(x_TCYX, stride), f"{name}.downsample.0", f"{name}.downsample.1")
        return (self._conv(inner, f"{name}.conv3", f"{name}.bn3") + past).relu()

    def _conv(self, x_TCYX: Tensor, name: str, norm: str, stride: int = 1) -> Tensor:
        from torch.nn.functional import batch_norm, conv2d

        weight = self.weights[f"{name}.weight"]
        x = conv2d(x_TCYX, weight, stride=stride, padding=weight.shape[-1] // 2)
        mean, variance, scale, shift = (
            self.weights[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return batch_norm(x, mean, variance, scale, shift)

    def _linear(self, x: Tensor, name: str, joint: str = ".") -> Tensor:
        return x @ self.weights[f"{name}{joint}weight"].mT + self.weights[f"{name}{joint}bias"]

    def _norm(self, x: Tensor, name: str) -> Tensor:
        from torch.nn.functional import layer_norm

        return layer_norm(x, x.shape[-1:], self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])


def _attended(q_TLE: Tensor, k_TLE: Tensor, v_TLE: Tensor, heads: int, *, is_causal: bool = False) -> Tensor:
    from torch.nn.functional import scaled_dot_product_attention

    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q_TLE, k_TLE, v_TLE))
    return scaled_dot_product_attention(q, k, v, is_causal=is_causal).transpose(1, 2).flatten(2)


@cache
def _network() -> Network:
    from safetensors.torch import load_file

    return Network({name: weight.float() for name, weight in load_file(FILE).items()})


@cache
def _sha256() -> str:
    return hashlib.sha256(FILE.read_bytes()).hexdigest()
