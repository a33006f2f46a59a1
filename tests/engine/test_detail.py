"""Protects vedit/engine/detail.py: what a codec lost comes back where the edit left the clip alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vedit.engine.detail import kept_weight, with_detail


def pictures(seed: int, frames: int = 2, side: int = 12) -> torch.Tensor:
    return torch.rand(frames, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_an_edit_that_is_the_decoded_clip_becomes_the_clip() -> None:
    source, decoded = pictures(0), pictures(1)
    torch.testing.assert_close(with_detail(decoded, decoded, source), source, rtol=0, atol=2e-7)


def test_where_an_edit_differs_by_much_it_stays_as_it_is_bit_for_bit() -> None:
    source, decoded = pictures(0), pictures(1).clamp(max=-0.5)
    edit = decoded.clone()
    edit[..., :6] += 1.0
    out = with_detail(edit, decoded, source)
    assert torch.equal(out[..., :5], edit[..., :5])
    torch.testing.assert_close(out[..., 7:], source[..., 7:], rtol=0, atol=2e-7)


def test_the_weight_is_the_gaussian_of_the_local_root_mean_square() -> None:
    difference = 0.1 * pictures(2, frames=1, side=7)
    squares = (difference.numpy().astype(float) ** 2).mean(1)[0]
    expected = np.empty((7, 7))
    for y in range(7):
        for x in range(7):
            near = squares[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
            expected[y, x] = math.exp(-near.mean() / 0.07**2)
    found = kept_weight(difference, tau=0.07, radius=2)
    np.testing.assert_allclose(found[0, 0].numpy(), expected, rtol=1e-5)


def test_a_third_of_the_detail_comes_back_at_a_difference_of_tau() -> None:
    decoded = torch.zeros(1, 3, 5, 5)
    out = with_detail(decoded + 0.2, decoded, decoded + 0.5, tau=0.2)
    assert out.unique().tolist() == pytest.approx([0.2 + 0.5 / math.e])


def test_a_frame_s_detail_is_its_own() -> None:
    source, decoded, edit = pictures(0), pictures(1), pictures(1) + 0.1 * pictures(3)
    whole = with_detail(edit, decoded, source)
    parts = [with_detail(*(part[i : i + 1] for part in (edit, decoded, source))) for i in range(2)]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-6)
