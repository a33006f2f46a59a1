"""Attention along tracks: against a loop over tokens, and what it leaves alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vedit.engine.rules.along import along
from vedit.engine.tracks import Tracks, follow, standing


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def wild(frames: int, grid: tuple[int, int]) -> Tracks:
    """Tracks of all lengths."""
    flow = drawn(frames - 1, 2, 4 * grid[0], 4 * grid[1]).float() * 4
    return follow(flow, torch.ones(frames - 1, 4 * grid[0], 4 * grid[1], dtype=torch.bool), grid)


def by_hand(q: Tensor, k: Tensor, v: Tensor, tracks: Tracks, scale: float) -> Tensor:
    """Equation 5 of the paper, token by token."""
    frames, heads, tokens, width = v.shape
    out = torch.empty_like(v)
    for frame in range(frames):
        for token in range(tokens):
            track = int(tracks.track_FT[frame, token])
            places = [(g, int(p)) for g, p in enumerate(tracks.place_NF[track]) if p >= 0]
            for head in range(heads):
                keys = torch.stack([k[g, head, p] for g, p in places])
                values = torch.stack([v[g, head, p] for g, p in places])
                share = torch.softmax(scale * keys @ q[frame, head, token] / math.sqrt(width), 0)
                out[frame, head, token] = share @ values
    return out


def test_it_is_the_softmax_over_the_places_of_a_track() -> None:
    q, k, v = (drawn(4, 2, 12, 5, seed=seed) for seed in range(3))
    tracks = wild(4, (3, 4))
    lengths = (tracks.place_NF >= 0).sum(1)
    assert lengths.min() == 1 and lengths.max() > 1
    torch.testing.assert_close(along(q, k, v, tracks, 0.2), by_hand(q, k, v, tracks, 0.2), rtol=0, atol=1e-12)


def test_tracks_of_one_token_leave_everything_as_it_is() -> None:
    v = drawn(3, 2, 12, 5)
    assert torch.equal(along(v, v, v, standing(3, (3, 4))), v)
    assert torch.equal(along(v[:1], v[:1], v[:1], standing(1, (3, 4))), v[:1])


def test_equal_frames_at_rest_stay_equal() -> None:
    v = drawn(1, 2, 12, 5).expand(4, -1, -1, -1)
    at_rest = follow(torch.zeros(3, 2, 12, 16), torch.ones(3, 12, 16, dtype=torch.bool), (3, 4))
    torch.testing.assert_close(along(v, v, v, at_rest), v, rtol=0, atol=1e-12)
