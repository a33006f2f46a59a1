"""The network half of a model in Stable Diffusion's layout: what its UNet and its tokenizer say of
themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from vedit.models import bare
from vedit.models.prompt import Prompt
from vedit.models.sd.attach import attached
from vedit.models.sd.control import Controls
from vedit.models.sd.inflate import being_tuned, inflate, is_inflated, load_tuned, tunable
from vedit.models.sd.sites import find_sites
from vedit.models.sites import FEATURES, Site
from vedit.models.tensors import Applier
from vedit.models.words import read_prompt

ATTENTION = frozenset(
    {"q", "k", "v", "bias", "maps", "out", "x", "y"}
)  # no q_pre, k_pre: there are no rotary positions
OF_FEATURES = frozenset({"h"})


class UNetNetwork:
    """What the engine asks of a network, answered by a `UNet2DConditionModel` in `unet` and a CLIP tokenizer
    in `tokenizer`.
    """

    unet: Any
    tokenizer: Any
    controls: Controls | None = None
    frame_axis = False
    sees_picture = False
    has_second = False

    def second_at(self, timestep: float) -> bool:
        return False

    @property
    def network_dtype(self) -> torch.dtype:
        # the dtype of a module walks through all of its parameters
        first = getattr(self.unet, "conv_in", None)
        dtype: torch.dtype = self.unet.dtype if first is None else first.weight.dtype
        return dtype

    @property
    def channels(self) -> int:
        return int(self.unet.config.in_channels)

    @property
    def text_shape(self) -> tuple[int, int]:
        return self.text_tokens, int(self.unet.config.cross_attention_dim)

    @property
    def text_tokens(self) -> int:
        return int(self.tokenizer.model_max_length)

    def predict(self, latents_FCYX: Tensor, timestep: Any, text_FLE: Tensor) -> Tensor:
        beside = {} if self.controls is None else self.controls.residuals(latents_FCYX, timestep, text_FLE)
        output: Tensor = self.unet(latents_FCYX, timestep, encoder_hidden_states=text_FLE, **beside).sample
        return output

    def keys_of(self, path: str, text_1LE: Tensor) -> tuple[Tensor, Tensor]:
        """The keys and values (1, L, N D) that cross-attention at a path has for a text."""
        module = self.unet.get_submodule(path)
        if text_1LE.is_meta:  # memory is foretold by networks without contents, with the rules of this one
            wide = text_1LE.new_empty(*text_1LE.shape[:-1], module.to_k.out_features)
            return wide, wide
        text = text_1LE.to(self.network_dtype)
        return module.to_k(text), module.to_v(text)

    def words(self, prompt: str) -> Prompt:
        return read_prompt(self.tokenizer, prompt)

    def sites(self) -> list[Site]:
        return find_sites(self.unet)

    def tensors(self, kind: str) -> frozenset[str]:
        return OF_FEATURES if kind in FEATURES else ATTENTION

    def width(self, site: Site) -> int:
        module = self.unet.get_submodule(site.path)
        weight: Tensor = (module.to_k if hasattr(module, "to_k") else module).weight
        return int(weight.shape[0])

    def attached(self, sites: Sequence[Site], applier: Applier) -> AbstractContextManager[None]:
        return attached(self.unet, sites, applier)

    @contextmanager
    def checkpointing(self) -> Iterator[None]:
        on = getattr(self.unet, "is_gradient_checkpointing", True)
        if not on:
            self.unet.enable_gradient_checkpointing()
        try:
            yield
        finally:
            if not on:
                self.unet.disable_gradient_checkpointing()

    def inflated(self) -> Self:
        """With layers over frames, which tuning fills; the same again for one that has them.

        Other weights are shared.
        """
        if is_inflated(self.unet):
            return self
        copy: Self = replace(self, unet=inflate(self.unet))  # type: ignore[type-var]
        return copy

    def being_tuned(self) -> AbstractContextManager[dict[str, Any]]:
        """The weights that tuning changes, by path, in float32 at least and with gradients while inside."""
        return being_tuned(self.unet)

    def load_tuned(self, weights: Mapping[str, Tensor]) -> None:
        """Put tuned weights in place."""
        load_tuned(self.unet, weights)

    def tunable(self) -> dict[str, Any]:
        """The weights that tuning changes, by path."""
        return dict(tunable(self.unet))

    def on_meta(self) -> UNetNetwork:
        return BareUNet(rebuilt(self.unet), self.tokenizer, self.controls_on_meta())

    def controls_on_meta(self) -> Controls | None:
        return None if self.controls is None else self.controls.on_meta(rebuilt)

    def network_bytes(self) -> int:
        return bare.weight_bytes(self.unet) + (0 if self.controls is None else self.controls.bytes())


@dataclass
class BareUNet(UNetNetwork):
    """A UNet and a tokenizer, and nothing else of a model."""

    unet: Any
    tokenizer: Any
    controls: Controls | None = None


def rebuilt(part: Any) -> Any:
    """A network's shape on the `meta` device, inflated as it is."""
    made = bare.rebuilt(part)
    return inflate(made) if is_inflated(part) else made
