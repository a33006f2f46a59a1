"""Where an edit may act: masks from cross-attention maps, and the blend that keeps the rest.

Source: Hertz et al. 2022, LocalBlend of the public code; docs/methods.md 2.4. Deviations: the maximum
that a map is divided by is taken per frame, and maps are found by their scale, not by list position.
Shape letters: F frames, Q query tokens (= rows x columns of the map), L text tokens, C Y X latent.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vedit.errors import Warn

MARGIN = 1  # pixels by which a mask with the picture's edges reaches over them: edges are soft


def word_map(sums_FQL: Tensor, tokens: Sequence[int], size: tuple[int, int]) -> Tensor:
    """The map (F, 1, y, x) of some text tokens, summed; size: rows and columns of the map."""
    return sums_FQL[:, :, list(tokens)].sum(-1).unflatten(1, size).unsqueeze(1)


def finest(maps_F1YX: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The weighted mean of maps of several sizes, at the largest of them."""
    size = max((tuple(part.shape[-2:]) for part in maps_F1YX), key=lambda side: side[0] * side[1])
    scaled = [
        weight * F.interpolate(part, size, mode="bilinear", align_corners=False)
        for part, weight in zip(maps_F1YX, weights, strict=True)
    ]
    return torch.stack(scaled).sum(0) / sum(weights)


def threshold_map(
    map_F1YX: Tensor, size: tuple[int, int], threshold: float, *, pool: bool = True, stretch: bool = False
) -> Tensor:
    """Where a map exceeds a share of its maximum, frame by frame: bool (F, 1, Y, X) at the latent's size.

    pool: widen by the maximum of 3x3 neighbours. stretch: take the frame's minimum off first, so
    that a map that is high everywhere still divides. A frame whose map is zero has an empty mask.
    """
    grown = F.max_pool2d(map_F1YX, 3, stride=1, padding=1) if pool else map_F1YX
    grown = F.interpolate(grown, size, mode="nearest")
    if stretch:
        grown = grown - grown.amin((1, 2, 3), keepdim=True)
    peak = grown.amax((1, 2, 3), keepdim=True)
    return grown / peak.clamp(min=torch.finfo(grown.dtype).tiny) > threshold


def grow(mask_F1YX: Tensor, cells: int) -> Tensor:
    """Dilate a mask by so many latent cells; erode it for a negative number.

    What lies outside the frame does not count.
    """
    if cells == 0:
        return mask_F1YX
    sign = 1.0 if cells > 0 else -1.0
    width = 2 * abs(cells) + 1
    return F.max_pool2d(sign * mask_F1YX.float(), width, stride=1, padding=abs(cells)) * sign > 0.5


def widened(fine_F1YX: Tensor, size: tuple[int, int], cells: int) -> Tensor:
    """A mask of pixels dilated by so many cells of latents, and by `MARGIN` pixels.

    size: rows and columns of the latents. A negative number of cells makes it narrower.
    """
    pixels = cells * (fine_F1YX.shape[-1] // size[1]) + MARGIN
    width = 2 * abs(pixels) + 1
    sign = 1 if pixels >= 0 else -1
    return F.max_pool2d(sign * fine_F1YX, width, 1, abs(pixels)) * sign


def cell_mask(fine_F1YX: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask of pixels as one of latents with `size` rows and columns: the most of each cell.

    Not the mean: a cell that mixes source and target decodes to the old object shining through at the edge.
    What a cell holds too much is put back in pixels. Of 12 tuning cases 9 succeed so, 7 with the mean.
    """
    return F.max_pool2d(fine_F1YX, fine_F1YX.shape[-1] // size[1])


def resize_mask(mask_F1YX: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask at another size, nearest."""
    return F.interpolate(mask_F1YX.float(), size, mode="nearest").to(mask_F1YX.dtype)


def soft_edges(mask_F1YX: Tensor, scale: int) -> Tensor:
    """A mask of latents as one of pixels, `scale` times as large: it falls from 1 to 0 between the centres of
    two cells.
    """
    return F.interpolate(mask_F1YX, scale_factor=scale, mode="bilinear", align_corners=False)


def blend(source_FCYX: Tensor, target_FCYX: Tensor, mask_F1YX: Tensor) -> Tensor:
    """The target inside the mask (1), the source outside (0), in proportion between.

    Where the mask is 0 or 1 the values are those of the one side, bit for bit.
    """
    mask = mask_F1YX.to(target_FCYX)
    mixed = source_FCYX + mask * (target_FCYX - source_FCYX)
    return torch.where(mask == 1, target_FCYX, torch.where(mask == 0, source_FCYX, mixed))


class MaskWatch:
    """Warn once when masks are empty, or full, in more than half of the steps."""

    def __init__(self, steps: int, warn: Warn, advice: str, first_frame: int = 0) -> None:
        self.half, self.warn, self.advice, self.first_frame = steps / 2, warn, advice, first_frame
        self.counts = {"empty": 0, "full": 0}

    def see(self, mask_F1YX: Tensor) -> None:
        """Count a step's mask; a frame is judged by itself, and one bad frame is enough."""
        flat = mask_F1YX.flatten(1) > 0
        for kind, found in (("empty", ~flat.any(1)), ("full", flat.all(1))):
            if not bool(found.any()):
                continue
            self.counts[kind] += 1
            if self.half < self.counts[kind] <= self.half + 1:
                frame = self.first_frame + int(found.nonzero()[0]) + 1
                self.warn(
                    f"the edit mask of frame {frame} is {kind} in more than half of the steps. {self.advice}"
                )
