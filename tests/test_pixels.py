"""Protects vedit/pixels.py: bytes survive the way to numbers and back, decibels are those of the formula."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vedit.pixels import from_bytes, mean_square, psnr, psnr_each, to_bytes  # noqa: E402

EVERY_BYTE = np.arange(256, dtype=np.uint8)


def test_bytes_come_back_as_they_were() -> None:
    frames = EVERY_BYTE.repeat(3).reshape(2, 8, 16, 3).copy()
    assert np.array_equal(to_bytes(from_bytes(frames)), frames)


def test_channels_move_before_rows_whatever_stands_before_them() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5, 3), dtype=np.uint8)
    wanted = frames.transpose(0, 1, 4, 2, 3).astype(np.float32) / 127.5 - 1
    assert np.array_equal(from_bytes(frames).numpy(), wanted)
    assert np.array_equal(to_bytes(from_bytes(frames)), frames)


def test_black_and_white_are_the_ends_and_what_lies_outside_is_clipped() -> None:
    ends = from_bytes(np.array([[[[0, 255, 51]]]], np.uint8))
    assert ends.flatten().tolist() == pytest.approx([-1, 1, -0.6])
    assert to_bytes(2 * ends).flatten().tolist() == [0, 255, 0]


def test_a_level_is_rounded_to_the_nearest_byte() -> None:
    level = torch.tensor([0.4, 0.6]).reshape(2, 1, 1, 1) / 127.5 - 1
    assert to_bytes(level).flatten().tolist() == [0, 1]


def test_gradients_do_not_stand_in_the_way_of_bytes() -> None:
    assert to_bytes(torch.zeros(1, 3, 1, 1, requires_grad=True)).tolist() == [[[[128, 128, 128]]]]


def test_psnr_of_a_tenth_of_the_range_is_20() -> None:
    a = torch.zeros(1, 3, 4, 4)
    assert psnr(mean_square(a, a + 0.2), ceiling=100) == pytest.approx(20.0, abs=1e-4)
    assert psnr(25.5**2, ceiling=math.inf, peak=255) == pytest.approx(20.0)


@pytest.mark.parametrize("ceiling", [100.0, 120.0, math.inf])
def test_equal_pictures_get_the_ceiling(ceiling: float) -> None:
    assert psnr(0.0, ceiling=ceiling) == ceiling
    assert (
        psnr_each(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4), ceiling=ceiling).tolist() == [ceiling] * 2
    )


def test_nothing_gets_more_than_the_ceiling_and_what_is_not_a_number_stays_so() -> None:
    assert psnr(1e-11, ceiling=100) == 100
    assert psnr(1e-11, ceiling=math.inf) == pytest.approx(110)
    assert math.isnan(psnr(math.nan, ceiling=100))


def test_a_mask_leaves_out_what_it_does_not_hold() -> None:
    a, mask = torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1
    half = a.clone()
    half[..., 2:] = 1
    assert mean_square(a, half, mask) == 0
    assert mean_square(a, half) == pytest.approx(0.125)
    assert mean_square(a, half, 1 - mask) == pytest.approx(0.25)


def test_each_item_has_its_own_psnr() -> None:
    a = torch.zeros(2, 3, 4, 4)
    b = a + torch.tensor([0.1, 0.01]).reshape(2, 1, 1, 1)
    assert psnr_each(a, b, ceiling=120).tolist() == pytest.approx([20, 40], abs=1e-4)
