"""Captions as one vector each: by hashing words, or by a pretrained text encoder.

    hash   256 numbers without weights, network or transformers; what the small presets use
    bert   mean of the last hidden states but the first (768 for bert-base-cased, as in the base)
    t5     mean of the encoder's last hidden states
    clip   the pooled and projected text embedding

An encoder is made once for all captions and then let go: training reads a table of vectors.
"""

import hashlib
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vedit.errors import ModelError, UsageError, nearest, option
from vedit.models.checked import check_part

HASH_WIDTH = 256
DEFAULT_MODELS = {
    "bert": "google-bert/bert-base-cased",
    "t5": "google-t5/t5-small",
    "clip": "openai/clip-vit-base-patch32",
}
KINDS = ("hash", *DEFAULT_MODELS)


class TextEncoder:
    """Encode captions as (B, E) float32; `width` is E.

    kind: one of KINDS. model: Hub id or folder of the pretrained encoder; None takes the usual
    one. Raises ModelError when it cannot be loaded, UsageError for a kind that is not known.
    """

    def __init__(self, kind: str, model: str | None = None, *, device: str = "cpu") -> None:
        if kind not in KINDS:
            raise UsageError(
                f"there is no text encoder called {kind!r}{nearest(kind, KINDS)}",
                f"There are {', '.join(KINDS)}.",
            )
        self.kind, self.model = kind, model or DEFAULT_MODELS.get(kind)
        self._encode: Callable[[str], Tensor] = hashed
        if self.model is None:
            self.width = HASH_WIDTH
        else:
            self.width, self._encode = _pretrained(kind, self.model, device)

    def __call__(self, captions: Sequence[str]) -> Tensor:
        return torch.stack([self._encode(caption) for caption in captions])


def hashed(caption: str) -> Tensor:
    """Signed feature hashing of lower-case words and word pairs, (256,), of mean square 1.

    Source: Weinberger et al. 2009, eq. 2. Of that scale are the pretrained vectors and the null
    text; unit length made the text 16 times quieter. An empty caption is the zero vector.
    """
    words = "".join(letter if letter.isalnum() else " " for letter in caption.lower()).split()
    vector = torch.zeros(HASH_WIDTH)
    for feature in [*words, *(f"{first} {second}" for first, second in itertools.pairwise(words))]:
        number = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "little")
        vector[number % HASH_WIDTH] += 1.0 if number >> 63 else -1.0
    return functional.normalize(vector, dim=0) * HASH_WIDTH**0.5


def _pretrained(kind: str, name: str, device: str) -> tuple[int, Callable[[str], Tensor]]:
    """The width and the encoding function of a transformers text encoder."""
    check_part(name, Path(name))
    try:
        import transformers

        kinds: dict[str, Any] = {
            "bert": transformers.BertModel,
            "t5": transformers.T5EncoderModel,
            "clip": transformers.CLIPTextModelWithProjection,
        }
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        encoder = (
            kinds[kind]
            .from_pretrained(name, dtype=torch.float32, use_safetensors=True)
            .to(device)
            .eval()
            .requires_grad_(False)
        )
    except ImportError:
        raise ModelError(
            f"the text encoder {kind} needs transformers, not installed here.",
            "",
            'Install with: pip install "vedit[diffusion]"',
        ) from None
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(
            f"the text encoder {name} cannot be loaded: {reason.rstrip('.')}.",
            f"It is the Hub id or the folder of a {kind} model with safetensors.",
            (f"Fetch it where there is network, or train without one: {option('set.text.encoder', 'hash')}"),
        ) from None
    config = encoder.config
    width = {"bert": "hidden_size", "t5": "d_model", "clip": "projection_dim"}[kind]
    limit = getattr(config, "max_position_embeddings", None) or 512

    @torch.inference_mode()
    def encode(caption: str) -> Tensor:
        ids = tokenizer(caption, truncation=True, max_length=limit, return_tensors="pt").input_ids.to(device)
        output = encoder(ids)
        if kind == "clip":
            return output.text_embeds[0].float().cpu().clone()
        states = output.last_hidden_state[0, 1 if kind == "bert" else 0 :]
        return states.mean(dim=0).float().cpu().clone()

    return int(getattr(config, width)), encode
