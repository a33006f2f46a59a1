"""Where the tokens of a clip go: tracks along its optical flow, for any grid of tokens.

Source: Cong et al. 2024 (FLATTEN), section 3.2; docs/methods.md 7.8. A track begins at the middle of a
token that no track reaches and is moved by the flow at its very place, between pixels, so that slow motion
adds up on coarse grids too. It ends where it leaves the picture, or where its pixel cannot be found again.
Every token lies on one track.

Deviations from the published code: places are rounded to tokens to look them up, not to go on from there;
of several tracks that meet in a token the one nearest to its middle goes on, where a drawn one did; tracks
end at occlusions, which were not looked for.
Shape letters: F frames, P = F - 1 pairs, T tokens, N tracks, 2 for x and y, Y X pixel rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from vedit.motion import Floats, Warps, pairs_of, visible
from vedit.pixels import to_bytes


@dataclass(frozen=True)
class Tracks:
    """Tracks of the tokens of a grid.

    track_FT: which track each token lies on. place_NF: the token of each track in each frame, -1 where it is
    in none. Both int32: 64 frames of 64x64 tokens take a megabyte and 256 bytes a track.
    """

    track_FT: Tensor
    place_NF: Tensor

    def of(self, frame: int) -> Tensor:
        """Where the tracks of a frame's tokens are in every frame, (T, F) int64, -1 where they are not."""
        return self.place_NF[self.track_FT[frame].long()].long()

    def begun(self) -> Tensor:
        """The tokens with which tracks begin, (N, 2) frame and token, those of frame 0 first: all of it, then
        what later frames show for the first time.
        """
        first_N = (self.place_NF >= 0).int().argmax(1)
        return torch.stack([first_N, self.place_NF.gather(1, first_N[:, None])[:, 0].long()], 1)


def standing(frames: int, grid: tuple[int, int]) -> Tracks:
    """Tracks of one token each: what is known of a clip that nobody has looked at."""
    tokens = grid[0] * grid[1]
    track_FT = torch.arange(frames * tokens, dtype=torch.int32).view(frames, tokens)
    place_NF = torch.full((frames * tokens, frames), -1, dtype=torch.int32)
    for frame in range(frames):
        place_NF[track_FT[frame].long(), frame] = torch.arange(tokens, dtype=torch.int32)
    return Tracks(track_FT, place_NF)


def follow(forward_P2YX: Tensor, visible_PYX: Tensor, grid: tuple[int, int]) -> Tracks:
    """Tracks along a flow.

    forward: from each frame to the next, in pixels, x first. visible: which pixels of a frame are in the next
    one too, bool. grid: rows and columns of tokens.
    """
    pairs, _, rows, columns = forward_P2YX.shape
    cell_2 = torch.tensor([columns / grid[1], rows / grid[0]], dtype=torch.float64)
    middle_T2 = (_corners(grid) + 0.5) * cell_2  # from the picture's corner
    tokens = len(middle_T2)
    at_T2, track_T = middle_T2, torch.arange(tokens)
    tracks, places, count = [track_T], [(track_T, torch.arange(tokens))], tokens
    for pair in range(pairs):
        moved_T2, goes_on_T = _moved(at_T2, forward_P2YX[pair].double(), visible_PYX[pair])
        winner_T = _winners(moved_T2, goes_on_T, middle_T2, cell_2, grid)
        is_reached_T = winner_T < tokens
        began = int((~is_reached_T).sum())
        came_T = winner_T.clamp(max=tokens - 1)
        new_T = count + torch.cumsum(~is_reached_T, 0) - 1
        track_T = torch.where(is_reached_T, track_T[came_T], new_T)
        at_T2 = torch.where(is_reached_T[:, None], moved_T2[came_T], middle_T2)
        count += began
        tracks.append(track_T)
        places.append((track_T, torch.arange(tokens)))
    place_NF = torch.full((count, pairs + 1), -1, dtype=torch.int32)
    for frame, (track_T, token_T) in enumerate(places):
        place_NF[track_T, frame] = token_T.int()
    return Tracks(torch.stack(tracks).int(), place_NF)


class Motion:
    """The motion of a clip, estimated when it is first asked for.

    pixels: (F, 3, Y, X) in [-1, 1]. engine: what estimates it, as `vedit.motion.pairs_of` reads it.
    """

    def __init__(self, pixels_F3YX: Tensor, engine: str = "tvl1") -> None:
        self.pixels_F3YX, self.engine = pixels_F3YX, engine
        self._tracks: dict[tuple[int, int], Tracks] = {}

    def tracks(self, grid: tuple[int, int]) -> Tracks:
        """The tracks of a grid of tokens that covers the picture."""
        if len(self.pixels_F3YX) == 1:
            return standing(1, grid)
        if grid not in self._tracks:
            self._tracks[grid] = follow(*self._seen, grid)
        return self._tracks[grid]

    def warps(self, grid: tuple[int, int]) -> Warps | None:
        """Flows and what is seen, at a grid that covers the picture; None of a single frame."""
        if len(self.pixels_F3YX) == 1:
            return None
        forward, forward_seen = self._seen
        backward, backward_seen = self._back
        rows, columns = self.pixels_F3YX.shape[-2:]
        share_2 = torch.tensor([grid[1] / columns, grid[0] / rows]).view(1, 2, 1, 1)

        def fit(part: Tensor) -> Tensor:
            return torch.nn.functional.interpolate(part.float(), size=grid, mode="area")

        return Warps(
            fit(forward) * share_2,
            fit(backward) * share_2,
            fit(forward_seen[:, None]) > 0.5,
            fit(backward_seen[:, None]) > 0.5,
        )

    @property
    def _seen(self) -> tuple[Tensor, Tensor]:
        """The flow from each frame to the next, and which pixels are in the next."""
        return self._both[0]

    @property
    def _back(self) -> tuple[Tensor, Tensor]:
        """The flow from each frame but the first to the one before, and which pixels are there."""
        return self._both[1]

    @cached_property
    def _both(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        frames_FYX3 = to_bytes(self.pixels_F3YX)
        estimate = pairs_of(self.engine)
        forward_P2YX = estimate(frames_FYX3[:-1], frames_FYX3[1:])
        backward_P2YX = estimate(frames_FYX3[1:], frames_FYX3[:-1])

        def seen(there: Floats, back: Floats) -> tuple[Tensor, Tensor]:
            found_PYX = np.stack([visible(*pair) for pair in zip(there, back, strict=True)])
            return torch.from_numpy(there), torch.from_numpy(found_PYX)

        return seen(forward_P2YX, backward_P2YX), seen(backward_P2YX, forward_P2YX)


def _corners(grid: tuple[int, int]) -> Tensor:
    """Columns and rows of the tokens, (T, 2)."""
    y, x = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1).double()


def _moved(at_T2: Tensor, flow_2YX: Tensor, visible_YX: Tensor) -> tuple[Tensor, Tensor]:
    """Where the flow takes places, and which of them can be found there."""
    from torch.nn.functional import grid_sample

    size_2 = at_T2.new_tensor([flow_2YX.shape[2], flow_2YX.shape[1]])
    # -1 and 1 are the picture's edges, not the middles of its outer pixels
    look_T2 = at_T2 / size_2 * 2 - 1
    flow_T2 = grid_sample(flow_2YX[None], look_T2[None, None], padding_mode="border", align_corners=False)
    x_T, y_T = torch.minimum(at_T2.floor(), size_2 - 1).long().unbind(1)
    moved_T2 = at_T2 + flow_T2[0, :, 0].T
    is_inside_T = ((moved_T2 >= 0) & (moved_T2 < size_2)).all(1)
    return moved_T2, is_inside_T & visible_YX[y_T, x_T]


def _winners(
    moved_T2: Tensor, goes_on_T: Tensor, middle_T2: Tensor, cell_2: Tensor, grid: tuple[int, int]
) -> Tensor:
    """By token, which of the places that come there is nearest to its middle; T where none comes."""
    tokens = len(middle_T2)
    x_T, y_T = (moved_T2 / cell_2).floor().long().unbind(1)
    token_T = (y_T.clamp(0, grid[0] - 1) * grid[1] + x_T.clamp(0, grid[1] - 1)).masked_fill(~goes_on_T, 0)
    off_T = ((moved_T2 - middle_T2[token_T]) / cell_2).square().sum(1).masked_fill(~goes_on_T, float("inf"))
    order_T = off_T.argsort(stable=True)[: int(goes_on_T.sum())]
    rank_T = torch.full((tokens,), tokens).scatter_reduce(
        0, token_T[order_T], torch.arange(len(order_T)), "amin"
    )
    return torch.cat([order_T, order_T.new_full((tokens + 1 - len(order_T),), tokens)])[rank_T]
