"""A generator ready to sample: its network, noise levels and text, as the engine asks of a family.

Its latents are pixels in [-1, 1], and frames are an axis of their own: a clip goes through whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vedit.errors import ModelError
from vedit.models.alpha_bar import AlphaBar
from vedit.models.prompt import Prompt
from vedit.models.sites import Site
from vedit.models.tensors import Applier
from vedit.models.unet3d.attach import attached, find_sites, tensors_of
from vedit.models.unet3d.params import Described
from vedit.models.unet3d.text import TextEncoder
from vedit.models.unet3d.unet3d import UNet3D


@dataclass
class UNet3DNetwork:
    """A 3D U-Net as the engine calls it. precision: of its arithmetic; weights stay as they are."""

    network: UNet3D
    schedule: AlphaBar
    precision: torch.dtype = field(default=torch.float32, kw_only=True)
    frame_axis = True
    sees_picture = False
    network_dtype = torch.float32  # what goes in and comes out, whatever the arithmetic inside

    @property
    def channels(self) -> int:
        return int(self.network.out.weight.shape[0])

    @property
    def text_shape(self) -> tuple[int, int]:
        null = self.network.null_text
        return 1, 0 if null is None else len(null)

    @property
    def text_tokens(self) -> int:
        return 1

    @property
    def device(self) -> torch.device:
        return self.network.out.weight.device

    @property
    def empty(self) -> Tensor:
        """The learnt text of no caption, (1, 1, E)."""
        assert self.network.null_text is not None, "a generator that reads text"
        return self.network.null_text.detach()[None, None]

    def predict(self, latents_BFCYX: Tensor, timestep: Any, text_BLE: Tensor) -> Tensor:
        timestep_B = torch.full((len(latents_BFCYX),), timestep, device=latents_BFCYX.device)
        is_full = self.precision == torch.float32
        with nullcontext() if is_full else torch.autocast(latents_BFCYX.device.type, self.precision):
            output: Tensor = self.network(latents_BFCYX.transpose(1, 2), timestep_B, text_BLE[:, 0])
        return output.transpose(1, 2)

    def sites(self) -> list[Site]:
        return find_sites(self.network)

    def tensors(self, kind: str) -> frozenset[str]:
        return tensors_of(kind)

    def width(self, site: Site) -> int:
        module = self.network.get_submodule(site.path)
        return int(module.weight.shape[0]) if site.kind == "conv" else module.heads * module.head_width

    def attached(self, sites: Sequence[Site], applier: Applier) -> AbstractContextManager[None]:
        return attached(self.network, sites, applier)

    @contextmanager
    def checkpointing(self) -> Iterator[None]:
        net = self.network
        blocks = (*net.down, net.middle.first, net.middle.second, *net.up, net.last_block)
        for block in blocks:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        try:
            yield
        finally:
            for block in blocks:
                del block.forward  # what its class says is seen again

    def on_meta(self) -> UNet3DNetwork:
        import copy

        return UNet3DNetwork(copy.deepcopy(self.network).to("meta"), self.schedule)

    def network_bytes(self) -> int:
        return sum(weight.numel() * weight.element_size() for weight in self.network.parameters())


@dataclass
class Generator(UNet3DNetwork):
    """A generator by `params`. facts: format, training and hash of the weights, for records."""

    text: TextEncoder
    params: Described
    fps: float
    facts: dict[str, Any] = field(default_factory=dict)
    name: str = ""

    @property
    def scale(self) -> int:
        return 1

    def latent_size(self, size: tuple[int, int]) -> tuple[int, int]:
        return size[1], size[0]

    def frames(self, pictures: int) -> int:
        """Pixels are its latents."""
        return pictures

    def words(self, prompt: str) -> Prompt:
        raise ModelError(
            "this generator reads a prompt as one vector.",
            "Methods that edit by words need a model that reads tokens.",
        )

    def encode_frames(self, pixels_F3YX: Tensor, chunk: int = 8) -> Tensor:
        return pixels_F3YX.to(self.device)

    def decode_latents(
        self, latents_FCYX: Tensor, chunk: int = 8, size: tuple[int, int] | None = None
    ) -> Tensor:
        return latents_FCYX if size is None else latents_FCYX[..., : size[1], : size[0]]

    def identity(self) -> dict[str, Any]:
        return {"id": self.name, **self.facts}

    def encode_prompt(self, prompt: str) -> Tensor:
        """The caption as one vector, (1, 1, E)."""
        return self.text([prompt]).to(self.device)[:, None]
