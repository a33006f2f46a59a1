"""Merging tokens: against the published matching, and that nothing is lost on the way back."""

from __future__ import annotations

import torch
from torch import Tensor

from vedit.engine.rules.merge import Merging, matched, merged_frames, met


def tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def published(metric: Tensor, frame: int, frames: int, ratio: float) -> tuple[Tensor, Tensor]:
    """`bipartite_soft_matching_randframe` with align_batch and "replace", one drawn frame: merged, and unmerged again."""
    batch, count, width = metric.shape
    index = torch.arange(count)
    is_target = index // (count // frames) == frame
    a_idx, b_idx = index[~is_target], index[is_target]
    unit = metric / metric.norm(dim=-1, keepdim=True)
    scores = torch.cat([*(unit[:, a_idx] @ unit[:, b_idx].transpose(-1, -2))], dim=-1)
    node_max, node_idx = scores.max(dim=-1)
    edges = node_max.argsort(dim=-1, descending=True)
    r = int(len(a_idx) * ratio)
    left, gone, target = edges[r:], edges[:r], node_idx[edges[:r]] % len(b_idx)
    merged = torch.cat([metric[:, a_idx][:, left], metric[:, b_idx]], dim=1)
    out = torch.zeros(batch, count, width, dtype=metric.dtype)
    out[:, b_idx] = merged[:, len(left) :]
    out[:, a_idx[left]] = merged[:, : len(left)]
    out[:, a_idx[gone]] = merged[:, len(left) :][:, target]
    return merged, out


def test_frames_merge_as_in_the_published_code() -> None:
    x = tokens(3, 4, 9, 5)
    merged, back = merged_frames(x, 2, 0.6)
    expected, handed_back = published(x.flatten(1, 2), 2, 4, 0.6)
    torch.testing.assert_close(merged, expected, rtol=0, atol=0)
    torch.testing.assert_close(merged[:, back], handed_back, rtol=0, atol=0)


def test_a_share_of_nothing_only_reorders_and_of_everything_leaves_one_frame() -> None:
    x = tokens(2, 3, 8, 4)
    merged, back = merged_frames(x, 1, 0.0)
    assert torch.equal(merged[:, back], x.flatten(1, 2))
    merged, back = merged_frames(x, 1, 1.0)
    assert torch.equal(merged, x[:, 1]) and back.max() < 8


def test_equal_frames_merge_onto_themselves() -> None:
    x = tokens(2, 1, 8, 4).expand(-1, 4, -1, -1)
    merged, back = merged_frames(x, 0, 0.9)
    torch.testing.assert_close(merged[:, back], x.flatten(1, 2), rtol=0, atol=0)


def test_tokens_of_a_call_meet_those_before_it_on_either_side() -> None:
    local, before = tokens(2, 6, 4), tokens(2, 5, 4, seed=1)
    left, own = met(local, before, 0.5, True)  # three of six go into those before
    assert left.shape[1] == 3 + 5 and len(own) == 6 and int((own >= 3).sum()) == 3
    left, own = met(local, before, 1.0, False)
    assert torch.equal(left[:, own], local)


def test_the_most_alike_are_merged_first_and_with_their_nearest() -> None:
    source, target = torch.eye(3)[None, :2] + 0.01, torch.eye(3)[None, [2, 0]]
    source[0, 1] = torch.tensor([0.5, 1.0, 0.9])
    left, of_source, of_target = matched(source, target, 0.5)
    assert (left.shape[1], of_source.tolist(), of_target.tolist()) == (3, [2, 0], [1, 2])


def test_calls_cover_the_clip_once_and_their_seams_move() -> None:
    merging = Merging(0.5, together=4, seed=3)
    seams = set()
    for step in range(12):
        groups = merging.groups(step, 10)
        assert sorted(frame for group in groups for frame in group) == list(range(10))
        assert all(len(group) <= 4 and group == sorted(group) for group in groups)
        seams.add(min(len(group) for group in groups if 0 in group))
    assert len(seams) > 2
