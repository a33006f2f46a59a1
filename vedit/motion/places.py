"""Where a flow leads: pictures looked up between their pixels, and what can be found again.

Shape letters: P pairs of frames, 2 for x and y, Y X rows and columns, C colours or channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating[Any]]


def look_up(image_YXC: NDArray[Any], flow_2YX: Floats) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The image at x + flow(x), bilinear between pixel centres, and where that lies inside the frame."""
    rows, columns = image_YXC.shape[:2]
    y, x = np.mgrid[0:rows, 0:columns]
    return look_up_at(image_YXC, np.stack([x, y]) + flow_2YX.astype(np.float64))


def look_up_at(image_YXC: NDArray[Any], at_2: Floats) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The image at places (x, y) in any shape, (..., C), and which of them lie inside the frame."""
    rows, columns = image_YXC.shape[:2]
    at_x, at_y = at_2
    is_inside: NDArray[np.bool_] = (at_x >= 0) & (at_x <= columns - 1) & (at_y >= 0) & (at_y <= rows - 1)
    at_x, at_y = np.clip(np.nan_to_num(at_x), 0, columns - 1), np.clip(np.nan_to_num(at_y), 0, rows - 1)
    left, top = np.floor(at_x).astype(int), np.floor(at_y).astype(int)
    right, bottom = np.minimum(left + 1, columns - 1), np.minimum(top + 1, rows - 1)
    share_x, share_y = (at_x - left)[..., None], (at_y - top)[..., None]
    upper = image_YXC[top, left] * (1 - share_x) + image_YXC[top, right] * share_x
    lower = image_YXC[bottom, left] * (1 - share_x) + image_YXC[bottom, right] * share_x
    return upper * (1 - share_y) + lower * share_y, is_inside


def visible(backward_2YX: Floats, forward_2YX: Floats | None) -> NDArray[np.bool_]:
    """Which pixels of a frame are also in the frame before: inside it, and back again by the forward flow.

    |b + f|^2 <= 0.01 (|b|^2 + |f|^2) + 0.5, f looked up where b points (Sundaram et al. 2010).
    """
    b = backward_2YX.astype(np.float64)
    if forward_2YX is None:
        return look_up(b.transpose(1, 2, 0), backward_2YX)[1]
    found, is_inside = look_up(forward_2YX.transpose(1, 2, 0), backward_2YX)
    f = found.transpose(2, 0, 1)
    is_back: NDArray[np.bool_] = ((b + f) ** 2).sum(0) <= 0.01 * ((b**2).sum(0) + (f**2).sum(0)) + 0.5
    return is_inside & is_back


class Warps(NamedTuple):
    """How the frames of a grid move: flows in cells (P, 2, Y, X), forward from each frame to the next and
    backward from that to it, and where each can be found there, bool (P, 1, Y, X).
    """

    forward: Tensor
    backward: Tensor
    forward_seen: Tensor
    backward_seen: Tensor


def warped(image: Tensor, flow: Tensor) -> Tensor:
    """Images (P, C, Y, X) looked up at x + flow(x), flow (P, 2, Y, X); outside them the border goes on."""
    import torch
    from torch.nn.functional import grid_sample

    rows, columns = image.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(rows, device=image.device), torch.arange(columns, device=image.device), indexing="ij"
    )
    at_x, at_y = x + flow[:, 0], y + flow[:, 1]
    grid = torch.stack([at_x * 2 / max(columns - 1, 1) - 1, at_y * 2 / max(rows - 1, 1) - 1], dim=-1)
    return grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)
