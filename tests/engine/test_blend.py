"""Masks from attention maps, and the blend."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vedit.engine.blend import (
    MaskWatch,
    blend,
    finest,
    grow,
    resize_mask,
    soft_edges,
    threshold_map,
    word_map,
)


def reference_mask(
    sums_FQL: torch.Tensor, words: torch.Tensor, side: int, size: int, threshold: float
) -> torch.Tensor:
    """LocalBlend.get_mask of google/prompt-to-prompt, for one frame and one head."""
    maps = (sums_FQL.reshape(-1, 1, 1, side, side, sums_FQL.shape[-1]) * words).sum(-1).mean(1)
    mask = F.max_pool2d(maps, (3, 3), (1, 1), padding=(1, 1))
    mask = F.interpolate(mask, size=(size, size))
    mask = mask / mask.max(2, keepdim=True)[0].max(3, keepdim=True)[0]
    return mask.gt(threshold)


def test_mask_equals_that_of_the_published_code() -> None:
    sums = torch.rand(3, 16, 7, generator=torch.Generator().manual_seed(0)) ** 3
    words = torch.tensor([0, 0, 1.0, 1, 0, 0, 0])
    ours = threshold_map(word_map(sums, [2, 3], (4, 4)), (16, 16), 0.6)
    expected = reference_mask(sums, words, 4, 16, 0.6)
    assert torch.equal(ours, expected) and 0 < int(ours.sum()) < ours.numel()


def test_a_frame_is_measured_by_its_own_maximum() -> None:
    maps = torch.zeros(2, 1, 4, 4)
    maps[0, 0, 0, 0], maps[1, 0, 3, 3] = 100.0, 0.01
    mask = threshold_map(maps, (4, 4), 0.3, pool=False)
    assert mask.nonzero().tolist() == [[0, 0, 0, 0], [1, 0, 3, 3]]


def test_pooling_widens_by_one_cell_and_a_zero_map_is_empty() -> None:
    maps = torch.zeros(2, 1, 5, 5)
    maps[0, 0, 2, 2] = 1
    assert threshold_map(maps, (5, 5), 0.3).sum((1, 2, 3)).tolist() == [9, 0]


def test_stretching_divides_a_map_that_is_high_everywhere() -> None:
    maps = torch.full((1, 1, 4, 4), 0.9)
    maps[0, 0, 0, 0] = 1.0
    assert bool(threshold_map(maps, (4, 4), 0.5, pool=False).all())
    assert threshold_map(maps, (4, 4), 0.5, pool=False, stretch=True).nonzero().tolist() == [[0, 0, 0, 0]]


def test_maps_of_several_sizes_meet_at_the_finest() -> None:
    small, large = torch.ones(1, 1, 2, 3), torch.full((1, 1, 4, 6), 4.0)
    assert torch.equal(finest([small, large], [2, 1]), torch.full((1, 1, 4, 6), 2.0))


def test_growing_and_shrinking() -> None:
    mask = torch.zeros(1, 1, 7, 7, dtype=torch.bool)
    mask[..., 2:5, 2:5] = True
    assert grow(mask, 0) is mask
    assert int(grow(mask, 1).sum()) == 25 and int(grow(mask, -1).sum()) == 1
    assert torch.equal(grow(grow(mask, 1), -1), mask)
    assert bool(
        grow(torch.ones(1, 1, 3, 3, dtype=torch.bool), -1).all()
    )  # no edge of the frame eats into a mask


def test_blend_keeps_either_side_bit_for_bit() -> None:
    source, target = torch.randn(2, 4, 3, 3), 1e9 * torch.randn(2, 4, 3, 3)
    assert torch.equal(blend(source, target, torch.ones(2, 1, 3, 3, dtype=torch.bool)), target)
    assert torch.equal(blend(source, target, torch.zeros(2, 1, 3, 3, dtype=torch.bool)), source)


def test_blend_mixes_in_proportion() -> None:
    assert (
        blend(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), 0.25)).item() == 0.25
    )


def test_resizing_a_mask_is_nearest() -> None:
    mask = torch.tensor([[[[True, False], [False, True]]]])
    assert torch.equal(resize_mask(mask, (4, 4)), mask.repeat_interleave(2, 2).repeat_interleave(2, 3))


@pytest.mark.parametrize(("kind", "value"), [("empty", False), ("full", True)])
def test_masks_without_a_border_are_warned_of_once_after_half_the_steps(kind: str, value: bool) -> None:
    said: list[str] = []
    watch = MaskWatch(4, said.append, "Try another threshold.")
    good, bad = torch.eye(3, dtype=torch.bool)[None, None], torch.full((1, 1, 3, 3), value)
    mask = torch.cat([good, bad])
    for step in range(4):
        watch.see(mask)
        assert len(said) == (step >= 2)
    assert kind in said[0] and "frame 2" in said[0] and said[0].endswith("Try another threshold.")


def test_good_masks_are_not_warned_of() -> None:
    said: list[str] = []
    watch = MaskWatch(2, said.append, "")
    for _ in range(2):
        watch.see(torch.eye(3, dtype=torch.bool)[None, None])
    assert said == []


def test_soft_edges_fall_off_linearly_between_the_centres_of_cells():
    row = torch.tensor([0.0, 0, 1, 1, 0])
    soft = soft_edges(row.expand(1, 1, 5, 5), 4)
    centres = (np.arange(5) + 0.5) * 4 - 0.5
    assert np.allclose(soft[0, 0, 7], np.interp(np.arange(20), centres, row), atol=1e-6)
    assert soft.shape == (1, 1, 20, 20)
