"""From a window's last step to the frames that are written: decoded, with the clip's detail, and put back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vedit.jobs.clips import Pixels, scaled
from vedit.jobs.masks import EditMask
from vedit.pixels import from_bytes, to_bytes

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from vedit.engine.sample import Step
    from vedit.models.family import Model


@dataclass(frozen=True)
class Developer:
    """Makes frames and masks of latents.

    mask: the user's. gives_detail: frames get back what the codec lost of the clip where the edit left it
    alone. keeps_outside: the clip's own pixels stand outside masks.
    """

    model: Model
    pixels: Pixels
    mask: EditMask | None
    gives_detail: bool
    keeps_outside: bool
    frames_per_call: int

    def frames(
        self, frames: slice, latents_FCYX: Tensor, source_FCYX: Tensor, mask_F1YX: Tensor | None
    ) -> Tensor:
        """Edited frames as they are written, in [-1, 1].

        source_FCYX: the clip's own latents. mask_F1YX: of the method, at latent size or finer.
        """
        from vedit.engine.detail import with_detail

        pictures = frames.stop - frames.start
        result_F3YX = self._decoded(latents_FCYX, pictures)
        if self.gives_detail:
            shown = from_bytes(self.pixels.shown_FYX3[frames])
            result_F3YX = with_detail(result_F3YX, self._decoded(source_FCYX, pictures), shown)
        return self._put_back(frames, result_F3YX, mask_F1YX) if self.keeps_outside else result_F3YX

    def mask_of(self, step: Step, pictures: int) -> Tensor | None:
        """The method's mask of a window by picture, finer than latents where there is such a one."""
        coarse = None if step.mask is None else self.model.unpacked(step.mask, pictures)
        return coarse if step.fine is None else step.fine

    def masks(self, frames: slice, made_F1YX: Tensor | None, is_fine: bool) -> np.ndarray | None:
        """What a window may change as pixels of the output, (F, Y, X) uint8; None where nothing says it."""
        if made_F1YX is None:
            return None if self.mask is None else self.mask.pixels(frames)
        shown = self._mask_frames(made_F1YX, 1 if is_fine else self.model.scale)
        if self.mask is None or not is_fine:  # a coarse one has been made inside the user's
            return shown
        inside: np.ndarray = shown * (self.mask.pixels(frames) / 255)
        return inside

    def _decoded(self, latents_FCYX: Tensor, pictures: int) -> Tensor:
        """The first frames of latents as pixels (F, 3, Y, X) of the output's size in [-1, 1]."""
        selection = self.pixels.selection
        pixels = self.model.decode_latents(latents_FCYX, self.frames_per_call, selection.shape)
        pixels_F3YX = pixels[:pictures].float().cpu().clamp(-1, 1)
        if selection.shown == selection.shape:
            return pixels_F3YX
        return from_bytes(scaled(to_bytes(pixels_F3YX), selection.shown))

    def _put_back(self, frames: slice, result_F3YX: Tensor, made_F1YX: Tensor | None) -> Tensor:
        """The source's own pixels outside the masks: the user's in pixels, the method's in latents."""
        import torch

        from vedit.engine.blend import blend

        selection = self.pixels.selection
        share = torch.ones(1, 1, 1, 1)
        if made_F1YX is not None:
            share = self._in_pixels(made_F1YX.float().cpu())[..., : selection.shape[1], : selection.shape[0]]
            share = stretched(share, selection.shown, "bilinear")
        if self.mask is not None:
            share = share * (torch.from_numpy(self.mask.pixels(frames)).unsqueeze(1) / 255)
        return blend(from_bytes(self.pixels.shown_FYX3[frames]), result_F3YX, share)

    def _in_pixels(self, mask_F1YX: Tensor) -> Tensor:
        """A mask of the method's at the size of the frames: those of latents fall off between their cells."""
        from vedit.engine.blend import soft_edges

        is_fine = tuple(mask_F1YX.shape[-2:]) != self.model.latent_size(self.pixels.selection.shape)
        return mask_F1YX if is_fine else soft_edges(mask_F1YX, self.model.scale)

    def _mask_frames(self, mask_F1YX: Tensor, scale: int) -> np.ndarray:
        """A mask as pixels of the output; each of its cells is `scale` pixels wide and high."""
        import torch

        (columns, rows), shown_size = self.pixels.selection.shape, self.pixels.selection.shown
        shown = (mask_F1YX.float().clamp(0, 1) * 255).round().cpu()
        shown = shown.repeat_interleave(scale, 2).repeat_interleave(scale, 3)[..., :rows, :columns]
        array: np.ndarray = stretched(shown, shown_size, "nearest-exact").to(torch.uint8).squeeze(1).numpy()
        return array

    @property
    def covered(self) -> tuple[float, float]:
        """Which share of the latent's height and width the picture fills."""
        (width, height), scale = self.pixels.selection.shape, self.model.scale
        rows, columns = self.model.latent_size((width, height))
        return height / (rows * scale), width / (columns * scale)


def stretched(mask_F1YX: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """A mask at another width and height."""
    import torch

    wanted = (size[1], size[0])
    if tuple(mask_F1YX.shape[-2:]) == wanted:
        return mask_F1YX
    return torch.nn.functional.interpolate(mask_F1YX, wanted, mode=mode)
