"""Protects vedit/metrics/background.py: loops over the pixels outside the mask."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.metrics.clips import clip, noise, values
from vedit.errors import InputError
from vedit.metrics import background
from vedit.metrics.ssim import ssim_map
from vedit.metrics.types import Options


def left_half(frames: int, rows: int, columns: int) -> np.ndarray:
    """A mask whose left half may change."""
    mask = np.zeros((frames, rows, columns), np.uint8)
    mask[:, :, : columns // 2] = 255
    return mask


def test_changes_inside_the_mask_do_not_count() -> None:
    source = noise()
    edited = source.copy()
    edited[:, :, :12] = 0
    found = values(background.score(clip(edited, source, mask_TYX=left_half(3, 20, 24)), None, Options()))
    assert (found["bg_psnr"], found["bg_mae"], found["bg_maxabs"]) == (100.0, 0.0, 0.0)
    assert found["bg_ssim"] < 1  # windows at the border of the mask see the edit


def test_each_number_equals_a_loop_over_background_pixels() -> None:
    source, edited = noise(2, seed=0), noise(2, seed=1)
    mask = np.random.default_rng(2).integers(0, 256, (2, 20, 24), dtype=np.uint8)
    squares, means, largest = [], [], []
    for t in range(2):
        outside = [(y, x) for y in range(20) for x in range(24) if mask[t, y, x] <= 127]
        changes = [
            [abs(int(edited[t, y, x, c]) - int(source[t, y, x, c])) for c in range(3)] for y, x in outside
        ]
        squares.append(
            10 * math.log10(255**2 / (sum(v * v for pixel in changes for v in pixel) / (3 * len(changes))))
        )
        means.append(sum(map(sum, changes)) / (3 * len(changes)))
        largest.append(sum(map(max, changes)) / len(changes))
    found = values(background.score(clip(edited, source, mask_TYX=mask), None, Options()))
    wanted = {"bg_psnr": np.mean(squares), "bg_mae": np.mean(means), "bg_maxabs": np.mean(largest)}
    assert {key: found[key] for key in wanted} == pytest.approx(wanted)


def test_structure_is_averaged_over_background_pixels_inside_the_border() -> None:
    source, edited = noise(1, seed=0), noise(1, seed=1)
    mask = left_half(1, 20, 24)
    inner = ssim_map(edited[0], source[0])  # rows 5..14, columns 5..18
    found = background.score(clip(edited, source, mask_TYX=mask), None, Options())["bg_ssim"]
    assert found.value == pytest.approx(inner[:, 12 - 5 :].mean())


def test_dividing_by_the_frame_raises_psnr_by_the_share_of_the_background() -> None:
    pair = clip(noise(2, seed=1), noise(2), mask_TYX=left_half(2, 20, 24))
    own, full = (
        background.score(pair, None, Options(bg_norm=norm))["bg_psnr"].value
        for norm in ("background", "full")
    )
    assert full - own == pytest.approx(10 * math.log10(2))


def test_dilation_grows_the_edit_region_by_that_many_pixels() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[4, 4] = 255
    grown = ~background.background_of(mask, 2)
    assert grown.sum() == 25 and grown[2:7, 2:7].all()


def test_a_frame_without_background_is_left_out_and_counted() -> None:
    mask = left_half(3, 20, 24)
    mask[1] = 255
    found = background.score(clip(noise(seed=1), noise(), mask_TYX=mask), None, Options())["bg_mae"]
    assert found.extra["empty_frames"] == 1 and math.isnan(found.per_frame[1])
    assert found.value == pytest.approx((found.per_frame[0] + found.per_frame[2]) / 2)
    nothing = background.score(
        clip(noise(seed=1), noise(), mask_TYX=np.full((3, 20, 24), 255, np.uint8)), None, Options()
    )
    assert all(math.isnan(score.value) and "why" in score.extra for score in nothing.values())


def test_a_source_of_another_length_is_refused() -> None:
    with pytest.raises(InputError, match="3 frames, its source 2"):
        background.score(clip(noise(3), noise(2), mask_TYX=left_half(3, 20, 24)), None, Options())
