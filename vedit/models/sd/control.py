"""ControlNets beside a UNet: what they add to its skips and its middle, by a picture for each frame.

    down_i, mid_i = ControlNet_i(x_t, t, text, picture_i)        skips += sum of w_i down_i, mid += w_i mid_i

Source: Zhang et al. 2023; diffusers' ControlNetModel and StableDiffusionControlNetPipeline, whose noise
predictions these are. A weight of 0 asks no network at all. Every branch is controlled, and so is the
inversion, so that sampling leads back to the clip.
Shape letters: F frames, R rows of a batch, C channels, Y X rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from vedit.errors import option
from vedit.models.bare import weight_bytes
from vedit.models.checked import read_config
from vedit.models.controls import by_content, check_made_for
from vedit.models.hub import hash_weights
from vedit.models.parts import loaded

Pictures = Callable[[Sequence[int]], Tensor]


class Net(NamedTuple):
    """A ControlNet that is loaded. sha256: of its weights."""

    module: Any
    sha256: str

    @property
    def scale(self) -> int:
        """Pixels of its pictures for each cell of the latents."""
        return int(2 ** (len(self.module.config.conditioning_embedding_out_channels) - 1))


def load_net(name: str, folder: Path, model: Any) -> Net:
    """A ControlNet in the model's precision and on its device. model: one of this layout.

    Raises ModelError for one of another family, or damaged.
    """
    from diffusers import ControlNetModel

    unet = model.unet
    check_made_for(name, read_config(folder / "config.json"), unet.config, model.name)
    again = f"Name another: {option('control', 'FOLDER:CLIP')}"
    module = loaded(name, folder.parent, folder.name, ControlNetModel, again, torch_dtype=model.dtype)
    module.eval().requires_grad_(False)
    if model.offload == "sequential" and model.device.type != "cpu":
        from accelerate import cpu_offload

        cpu_offload(module, model.device)
    else:
        module.to(model.device)
    return Net(module, hash_weights(folder))


@dataclass(frozen=True)
class Controlled:
    """A ControlNet with its weight and its clip.

    pictures: of some frames of the clip by their index, (F, 3, Y, X) in [0, 1]. told: for records.
    """

    net: Net
    weight: float
    pictures: Pictures
    told: Mapping[str, Any] = field(default_factory=dict)


class Controls:
    """The ControlNets of an edit.

    The frames of a call are told before it; those of a window count from where it begins in the clip.
    """

    def __init__(self, parts: Sequence[Controlled]) -> None:
        self.parts = [part for part in parts if part.weight]
        self.told = [dict(part.told) for part in parts]
        self.first = 0
        self.frames: Any = slice(None)
        self.layout: tuple[Sequence[int], int] | None = None

    def identity(self) -> list[dict[str, Any]]:
        """What of them an inversion depends on."""
        return by_content(self.told)

    @contextmanager
    def at(self, first: int) -> Iterator[None]:
        """While inside, frames are those of a window that begins at a frame of the clip."""
        before, self.first = self.first, first
        try:
            yield
        finally:
            self.first = before

    @contextmanager
    def of(self, frames: Any) -> Iterator[None]:
        """While inside, the rows of each branch are these frames of the window, or grids of them."""
        before, self.frames = self.frames, frames
        try:
            yield
        finally:
            self.frames = before

    @contextmanager
    def tiled(self, places: Sequence[int], side: int) -> Iterator[None]:
        """While inside, rows are grids of side x side frames of the window, row by row in this order."""
        before, self.layout = self.layout, (places, side)
        try:
            yield
        finally:
            self.layout = before

    def residuals(
        self, latents_RCYX: Tensor, timestep: Any, text_RLE: Tensor, added: Mapping[str, Tensor] | None = None
    ) -> dict[str, Any]:
        """What the UNet is given beside latents and text. added: conditions that are not text, as in SDXL."""
        downs: list[Tensor] = []
        mid: Tensor | None = None
        for part in self.parts:
            down, middle = part.net.module(
                latents_RCYX,
                timestep,
                encoder_hidden_states=text_RLE,
                controlnet_cond=self._pictures(part, latents_RCYX),
                conditioning_scale=part.weight,
                added_cond_kwargs=added,
                return_dict=False,
            )
            downs = [a + b for a, b in zip(downs, down, strict=True)] if downs else list(down)
            mid = middle if mid is None else mid + middle
        if mid is None:
            return {}
        return {"down_block_additional_residuals": downs, "mid_block_additional_residual": mid}

    def _pictures(self, part: Controlled, latents_RCYX: Tensor) -> Tensor:
        """The pictures of a call, a row for each of the batch's."""
        rows, columns = (side * part.net.scale for side in latents_RCYX.shape[-2:])
        if latents_RCYX.device.type == "meta":
            return latents_RCYX.new_empty(len(latents_RCYX), 3, rows, columns)
        shown = self._laid(part.pictures, len(latents_RCYX)).to(latents_RCYX)
        if tuple(shown.shape[-2:]) != (rows, columns):
            shown = functional.interpolate(shown, (rows, columns), mode="bilinear", antialias=True)
        return shown.repeat(len(latents_RCYX) // len(shown), 1, 1, 1)

    def _laid(self, pictures: Pictures, rows: int) -> Tensor:
        if self.layout is None:
            return pictures([self.first + frame for frame in self._numbers(rows)])
        places, side = self.layout
        count = side**2
        grids = self._numbers(len(places) // count)
        wanted = [places[grid * count + place] for grid in grids for place in range(count)]
        parts = pictures([self.first + frame for frame in wanted]).unflatten(0, (-1, side, side))
        return parts.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)

    def _numbers(self, rows: int) -> list[int]:
        """The frames of the call by their index in the window. rows: where nobody tells, so many from the
        first.
        """
        if isinstance(self.frames, slice):
            stop = rows if self.frames.stop is None else self.frames.stop
            return list(range(self.frames.start or 0, stop))
        return list(self.frames)

    def on_meta(self, rebuilt: Callable[[Any], Any]) -> Controls:
        """The same without contents."""
        return Controls(
            [
                Controlled(Net(rebuilt(part.net.module), ""), part.weight, part.pictures, part.told)
                for part in self.parts
            ]
        )

    def bytes(self) -> int:
        """Bytes of their weights."""
        modules = {id(part.net.module): part.net.module for part in self.parts}
        return sum(map(weight_bytes, modules.values()))


def pictures_of(frames_FYX3: Any, multiple: int) -> Pictures:
    """Pictures from bytes in an array, sides filled up to multiples as those of the clip are."""
    from vedit.pixels import padded

    def shown(frames: Sequence[int]) -> Tensor:
        chosen = torch.from_numpy(frames_FYX3[list(frames)]).movedim(-1, -3).float() / 255
        return padded(chosen, multiple)

    return shown
