"""Protects vedit/engine/fit.py: masks that follow what a word looks at, and the picture's edges."""

from __future__ import annotations

import numpy as np
import torch

from vedit.data import scenes
from vedit.engine.fit import box_mean, fitted, guided_filter, spread, stretched


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def filtered_by_hand(mask: np.ndarray, guide: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """Eq. 14 to 16 of He, Sun and Tang window by window: mask (Y, X), guide (Y, X, C)."""
    rows, columns, channels = guide.shape
    slopes, offsets = np.empty(guide.shape), np.empty((rows, columns))
    windows = {
        (y, x): (slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1))
        for y in range(rows)
        for x in range(columns)
    }
    for place, window in windows.items():
        colours, values = guide[window].reshape(-1, channels), mask[window].ravel()
        sigma = np.cov(colours, rowvar=False, bias=True).reshape(channels, channels)
        cross = (colours * values[:, None]).mean(0) - colours.mean(0) * values.mean()
        slopes[place] = np.linalg.inv(sigma + eps * np.eye(channels)) @ cross
        offsets[place] = values.mean() - slopes[place] @ colours.mean(0)
    out = np.empty((rows, columns))
    for place, window in windows.items():
        out[place] = slopes[window].reshape(-1, channels).mean(0) @ guide[place] + offsets[window].mean()
    return out


def test_the_filter_is_the_closed_form_window_by_window() -> None:
    for channels, radius, eps in ((3, 2, 1e-3), (1, 3, 0.1), (4, 1, 0.01)):
        guide, mask = 2 * drawn(channels, 2, channels, 9, 11) - 1, drawn(9, 2, 1, 9, 11)
        found = guided_filter(mask, guide, radius, eps)
        for frame in range(2):
            expected = filtered_by_hand(
                mask[frame, 0].numpy(), guide[frame].movedim(0, -1).numpy(), radius, eps
            )
            np.testing.assert_allclose(found[frame, 0].numpy(), expected, atol=1e-10)


def test_single_precision_is_enough_for_flat_pictures() -> None:
    guide = 0.9 + 0.001 * drawn(0, 1, 3, 24, 24)
    mask = (drawn(1, 1, 1, 24, 24) > 0.5).double()
    single = guided_filter(mask.float(), guide.float(), 8, 1e-3)
    torch.testing.assert_close(single.double(), guided_filter(mask, guide, 8, 1e-3), rtol=0, atol=1e-4)


def test_a_constant_mask_stays_and_a_flat_picture_only_blurs() -> None:
    guide = drawn(2, 1, 3, 10, 10)
    ones = torch.ones(1, 1, 10, 10, dtype=torch.float64)
    torch.testing.assert_close(guided_filter(ones, guide, 3, 1e-3), ones, rtol=0, atol=1e-12)
    mask = drawn(3, 1, 1, 10, 10)
    flat = guided_filter(mask, torch.full_like(guide, 0.3), 2, 1e-3)
    torch.testing.assert_close(flat, box_mean(box_mean(mask, 2), 2), rtol=0, atol=1e-9)


def test_the_box_counts_what_lies_inside_the_frame() -> None:
    row = torch.tensor([[[[1.0, 2.0, 6.0]]]])
    assert box_mean(row, 1).flatten().tolist() == [1.5, 3.0, 4.0]
    assert torch.equal(box_mean(row, 0), row)


def test_spreading_is_repeated_averaging_along_the_rows_of_attention() -> None:
    attention, word = drawn(4, 2, 12, 12), drawn(5, 2, 1, 3, 4)
    rows = attention.numpy() / attention.numpy().sum(-1, keepdims=True)
    expected = np.stack(
        [np.linalg.matrix_power(rows[frame], 3) @ word[frame].flatten().numpy() for frame in range(2)]
    )
    np.testing.assert_allclose(spread(word, attention, 3).flatten(1).numpy(), expected, rtol=1e-12)
    assert torch.equal(spread(word, attention, 0), word)


def test_a_map_is_stretched_frame_by_frame_and_a_flat_one_is_nowhere() -> None:
    maps = torch.stack([torch.tensor([[[1.0, 2.0, 5.0]]]), torch.full((1, 1, 3), 7.0)])
    assert stretched(maps).flatten(1).tolist() == [[0, 0.25, 1], [0, 0, 0]]


def test_a_map_that_is_flat_but_for_rounding_is_nowhere() -> None:
    word = torch.rand(1, 1, 2, 2, generator=torch.Generator().manual_seed(0)) + 1
    evenly = torch.full((1, 4, 4), 1 / 3)  # all places look everywhere alike
    spread_out = spread(word, evenly + 1e-8 * torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(1)))
    assert not stretched(spread_out).any() and not stretched(-spread_out).any()
    assert stretched(word).max() == 1


def overlap(mask: torch.Tensor, truth: torch.Tensor) -> float:
    a, b = mask > 0.5, truth > 0.5
    return float((a & b).sum() / (a | b).sum())


def test_a_spot_on_an_object_becomes_a_mask_of_the_object() -> None:
    """Attention between places of like colour, as networks have it, and a map of four cells."""
    for drawn_record in scenes.sample_records(6, seed=3, held_out=True):
        record = drawn_record.edited(texture="plain")  # dark stripes on black are nobody's by colour
        batch = scenes.stack([record])
        picture = scenes.clip(record, 1) * 2 - 1
        truth = scenes.object_mask(batch, torch.zeros(1))[:, None]
        cells = torch.nn.functional.avg_pool2d(picture, 4).flatten(2).transpose(1, 2)
        cover = torch.nn.functional.avg_pool2d(truth, 4)
        attention = torch.exp(-(torch.cdist(cells, cells) ** 2) / 0.08)
        word = torch.zeros_like(cover)
        word.view(-1)[cover.flatten().topk(4).indices] = 1.0
        before = torch.nn.functional.interpolate(word, (64, 64), mode="nearest")
        after = fitted(word, attention, picture, threshold=0.4)
        assert after.shape == truth.shape and float(after.min()) >= 0 and float(after.max()) <= 1
        assert overlap(after, truth) > max(0.7, overlap(before, truth)), record.caption
