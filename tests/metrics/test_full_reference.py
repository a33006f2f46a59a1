"""Protects vedit/metrics/psnr.py and ssim.py: formulas written out once more, and scikit-image's numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.metrics.clips import clip, noise, values
from vedit.errors import InputError
from vedit.metrics import psnr, ssim
from vedit.metrics.types import Options


def slow_ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """SSIM by a two-dimensional window at each place, one channel at a time."""
    place = np.arange(11) - 5
    window = np.exp(-(place[:, None] ** 2 + place[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    rows, columns, channels = a.shape
    found = np.empty((rows - 10, columns - 10, channels))
    for y in range(rows - 10):
        for x in range(columns - 10):
            for c in range(channels):
                p, q = (image[y : y + 11, x : x + 11, c].astype(float) for image in (a, b))
                mean_p, mean_q = (window * p).sum(), (window * q).sum()
                var_p, var_q = (window * (p - mean_p) ** 2).sum(), (window * (q - mean_q) ** 2).sum()
                both = (window * (p - mean_p) * (q - mean_q)).sum()
                c1, c2 = 6.5025, 58.5225
                found[y, x, c] = (
                    (2 * mean_p * mean_q + c1)
                    * (2 * both + c2)
                    / ((mean_p**2 + mean_q**2 + c1) * (var_p + var_q + c2))
                )
    return found


def test_psnr_of_a_known_error() -> None:
    truth = np.zeros((2, 4, 4, 3), np.uint8)
    edited = truth.copy()
    edited[0] += 10  # MSE 100: 48.1308 - 20 dB
    edited[1, 0, 0, 0] = 255  # one value of 48: MSE 255^2 / 48
    found = psnr.score(clip(edited, truth=truth), None, Options())["psnr"]
    assert found.per_frame == pytest.approx([28.130803608679344, 10 * math.log10(48)])
    assert found.value == pytest.approx(np.mean(found.per_frame))


def test_equal_frames_have_100_db_and_structure_1() -> None:
    frames = noise()
    same = clip(frames, truth=frames)
    assert values(psnr.score(same, None, Options()) | ssim.score(same, None, Options())) == {
        "psnr": 100.0,
        "ssim": pytest.approx(1.0),
    }


def test_psnr_does_not_wrap_around_in_eight_bits() -> None:
    a, b = np.zeros((1, 2, 2, 3), np.uint8), np.full((1, 2, 2, 3), 255, np.uint8)
    assert psnr.score(clip(a, truth=b), None, Options())["psnr"].value == pytest.approx(0.0)


def test_ssim_equals_the_window_written_out() -> None:
    a = noise(1, 16, 14)
    b = np.clip(a.astype(int) + np.random.default_rng(1).integers(-30, 30, a.shape), 0, 255).astype(np.uint8)
    assert ssim.ssim_map(a[0], b[0]) == pytest.approx(slow_ssim(a[0], b[0]), abs=1e-9)


def test_scikit_image_gives_the_same_numbers() -> None:
    # skimage 0.26: structural_similarity(a, b, channel_axis=2, gaussian_weights=True,
    # use_sample_covariance=False, data_range=255), and peak_signal_noise_ratio(a, b, data_range=255)
    y, x = np.mgrid[0:32, 0:40]
    a = np.stack([(8 * x) % 256, (8 * y) % 256, (4 * (x + y)) % 256], axis=2).astype(np.uint8)
    b = np.stack([(8 * x + 20) % 256, (8 * y) % 256, (4 * (x + y) + 3 * (x % 5)) % 256], axis=2).astype(
        np.uint8
    )
    pair = clip(b[None], truth=a[None])
    assert values(psnr.score(pair, None, Options()) | ssim.score(pair, None, Options())) == pytest.approx(
        {"psnr": 17.121127841684846, "ssim": 0.8654640585600913}, rel=1e-6
    )


def test_frames_smaller_than_the_window_have_no_structure() -> None:
    tiny = noise(2, 10, 40)
    found = ssim.score(clip(tiny, truth=tiny), None, Options())["ssim"]
    assert math.isnan(found.value) and "11x11" in found.extra["why"]


def test_another_size_or_length_is_refused_with_both() -> None:
    with pytest.raises(InputError, match=r"3 frames of 24x20, the ideal edit 2 frames of 24x20"):
        psnr.score(clip(noise(3), truth=noise(2)), None, Options())
    with pytest.raises(InputError, match=r"3 frames of 24x20, the ideal edit 3 frames of 20x24"):
        ssim.score(clip(noise(3), truth=noise(3, 24, 20)), None, Options())
