"""What the engine and the methods ask of a model: one protocol, which a folder of each family answers.

Latents are float32 whatever the network's precision. Shape letters: F frames, C channels, Y X rows
and columns of the latents, L text tokens, E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor

from vedit.models.sites import Site
from vedit.models.tensors import Applier


class Network(Protocol):
    """The part that is asked at every step.

    dtype: its precision. channels: of the latents. text_shape: tokens and width of a text embedding.
    """

    @property
    def network_dtype(self) -> torch.dtype: ...

    @property
    def channels(self) -> int: ...

    @property
    def text_shape(self) -> tuple[int, int]: ...

    def predict(self, latents_FCYX: Tensor, timestep: int, text_FLE: Tensor) -> Tensor:
        """The network's output (F, C, Y, X) at a timestep, in its own precision."""

    def sites(self) -> list[Site]:
        """All places that rules can name, in forward order."""

    def tensors(self, kind: str) -> frozenset[str]:
        """Names of the tensors that rules can read and write at sites of a kind."""

    def width(self, site: Site) -> int:
        """Numbers that a token holds at a site."""

    def attached(self, sites: Sequence[Site], applier: Applier) -> AbstractContextManager[None]:
        """Let rules act at these sites; the network is itself again on any exit."""

    def checkpointing(self) -> AbstractContextManager[None]:
        """Keep the activations of one block at a time while gradients are taken."""

    def on_meta(self) -> Network:
        """The network's shape without contents, for predictions of memory."""

    def network_bytes(self) -> int:
        """Bytes of its weights."""


class Family(Network, Protocol):
    """A model: a network, its noise levels, a codec between pixels and latents, and a text encoder.

    schedule: the noise levels, and how latents move between them. scale: pixels per latent entry and side.
    """

    name: str
    device: torch.device
    schedule: Any
    tokenizer: Any

    @property
    def scale(self) -> int: ...

    def latent_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the latents of a picture of a width and height."""

    def encode_prompt(self, prompt: str) -> Tensor:
        """The text embedding, (1, L, E) float32. Raises UsageError for a prompt too long."""

    def encode_frames(self, pixels_F3YX: Tensor, chunk: int = 8) -> Tensor:
        """Latents (F, C, Y/s, X/s) of pixels in [-1, 1]."""

    def decode_latents(self, latents_FCYX: Tensor, chunk: int = 8, size: tuple[int, int] | None = None) -> Tensor:
        """Pixels (F, 3, Y, X) in [-1, 1], float32, not clipped. size: width and height to cut to."""

    def identity(self) -> dict[str, Any]:
        """What an inversion depends on, by content."""
