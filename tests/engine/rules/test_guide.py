"""Queries, keys and values that go by the source: against products written out."""

from __future__ import annotations

import torch
from torch import Tensor

from vedit.engine.rules.guide import GatherTokens, Keep, Kept, SpatialGuide
from vedit.engine.rules.rule import Call
from vedit.models.sites import Select, Site
from vedit.models.tensors import Tensors

SITE = Site("attn1", "self", 0, 1)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def call(frames: int) -> Call:
    return Call(0, slice(0, frames), frames, site=SITE, grid=(2, 3))


def shown(q: Tensor, k: Tensor) -> Kept:
    """What a pass of the source keeps, in two calls."""
    kept: Kept = {}
    rule = Keep(Select("self"), "src", kept)
    for part in (slice(0, 1), slice(1, len(q))):
        rule.apply(
            Tensors({"q": q[None, part], "k": k[None, part]}, {"src": 0}), Call(0, part, len(q), site=SITE)
        )
    return kept


def test_queries_are_mixed_by_the_maps_of_the_source() -> None:
    q, k, own = (drawn(3, 2, 6, 4, seed=seed) for seed in range(3))
    tensors = Tensors({"q": own[None]}, {"tgt": 0})
    SpatialGuide(Select("self"), ("tgt",), shown(q, k), (True,), 0.2).apply(tensors, call(3))
    maps = torch.softmax(0.2 * q @ k.transpose(-1, -2) / 2, -1)  # the root of a width of 4
    torch.testing.assert_close(tensors["q", "tgt"], maps @ own, rtol=0, atol=1e-12)


def test_a_sharp_guide_leaves_queries_whose_source_tokens_differ() -> None:
    unit = torch.nn.functional.normalize(drawn(2, 2, 6, 4), dim=-1)
    own = drawn(2, 2, 6, 4, seed=1)
    tensors = Tensors({"q": own[None]}, {"tgt": 0})
    SpatialGuide(Select("self"), ("tgt",), shown(unit, unit), (True,), 1e6).apply(tensors, call(2))
    torch.testing.assert_close(tensors["q", "tgt"], own, rtol=0, atol=1e-9)


def test_chosen_tokens_of_all_frames_stand_for_each_frame() -> None:
    k, v = drawn(3, 2, 6, 4), drawn(3, 2, 6, 4, seed=1)
    chosen = torch.tensor([[0, 0], [0, 5], [2, 3]])
    tensors = Tensors({"k": k[None], "v": v[None]}, {"tgt": 0})
    GatherTokens(Select("self"), ("tgt",), lambda grid: chosen, (True,)).apply(tensors, call(3))
    expected = torch.stack([k[0, :, 0], k[0, :, 5], k[2, :, 3]], 1)
    for frame in range(3):
        assert torch.equal(tensors["k", "tgt"][frame], expected)
    assert torch.equal(tensors["v", "tgt"][1, :, 2], v[2, :, 3])
