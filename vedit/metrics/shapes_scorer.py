"""The embedded contrastive scorer: image and text vectors of drawn scenes, from weights in the package.

It knows the words of `vedit scene` and nothing else, so a prompt with another word has no score.
Frames are brought to its 64x64 pixels by Pillow's bicubic filter, without cropping.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vedit.errors import UsageError
from vedit.metrics.base import Clip, Floats, Options, Video
from vedit.metrics.towers.features import feature_key

FILE = Path(__file__).resolve().parent.parent / "builtin" / "shapes" / "scorer" / "model.safetensors"
SIDE = 64
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
    return "" if len(words) <= MOST_WORDS else f"the embedded scorer reads at most {MOST_WORDS} words, the prompt has {len(words)}"


def provenance(options: Options) -> dict[str, Any]:
    """File, size and hash of the weights."""
    return {"file": "vedit/builtin/shapes/scorer/model.safetensors", "size": FILE.stat().st_size, "sha256": _sha256()}


def text_vector(prompt: str) -> Floats:
    """The unit vector of a prompt whose words the scorer knows, (E,)."""
    import torch

    from vedit.data import grammar
    from vedit.train import shapes

    with torch.inference_mode():
        vector = _network().encode_text(shapes.token_ids([" ".join(grammar.check_words(prompt))]))[0]
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

    small = [np.asarray(Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for frame in video.frames_TYX3]
    pictures = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        found = torch.cat([_network().encode_image(2 * part - 1) for part in pictures.split(16)])
    return _unit(found.numpy())


def _unit(vectors: Any) -> Floats:
    found: Floats = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return found


@cache
def _network() -> Any:
    from safetensors.torch import load_file

    from vedit.train import shapes

    network = shapes.scorer()
    network.load_state_dict(load_file(FILE))
    return network.float().eval().requires_grad_(False)


@cache
def _sha256() -> str:
    return hashlib.sha256(FILE.read_bytes()).hexdigest()
