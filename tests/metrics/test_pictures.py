"""Protects ms_ssim, ciede2000, sharpness, edit_exclusivity, compliance, core_picture and _edges: published
tables, numbers of OpenCV, scikit-image and pytorch_msssim, and formulas written out once more.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.metrics.clips import clip, noise, values
from tests.metrics.test_full_reference import slow_ssim
from vedit.metrics import ciede2000, compliance, core_picture, edit_exclusivity, ms_ssim, sharpness
from vedit.metrics._edges import canny, f1, within
from vedit.metrics.types import Options

# L*, a*, b* of both colours and their difference: Sharma, Wu and Dalal 2005, table 1
SHARMA = """
50 2.6772 -79.7751 50 0 -82.7485 2.0425; 50 3.1571 -77.2803 50 0 -82.7485 2.8615
50 2.8361 -74.0200 50 0 -82.7485 3.4412; 50 -1.3802 -84.2814 50 0 -82.7485 1.0000
50 -1.1848 -84.8006 50 0 -82.7485 1.0000; 50 -0.9009 -85.5211 50 0 -82.7485 1.0000
50 0 0 50 -1 2 2.3669; 50 -1 2 50 0 0 2.3669; 50 2.49 -0.001 50 -2.49 0.0009 7.1792
50 2.49 -0.001 50 -2.49 0.0010 7.1792; 50 2.49 -0.001 50 -2.49 0.0011 7.2195
50 2.49 -0.001 50 -2.49 0.0012 7.2195; 50 -0.001 2.49 50 0.0009 -2.49 4.8045
50 -0.001 2.49 50 0.0010 -2.49 4.8045; 50 -0.001 2.49 50 0.0011 -2.49 4.7461
50 2.5 0 50 0 -2.5 4.3065; 50 2.5 0 73 25 -18 27.1492; 50 2.5 0 61 -5 29 22.8977
50 2.5 0 56 -27 -3 31.9030; 50 2.5 0 58 24 15 19.4535; 50 2.5 0 50 3.1736 0.5854 1.0000
50 2.5 0 50 3.2972 0 1.0000; 50 2.5 0 50 1.8634 0.5757 1.0000; 50 2.5 0 50 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377; 2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""
# cv2.Canny(waves(24, 32, 3)[..., 0], 100, 200) of OpenCV 5.0.0, a bit per pixel
CANNY = (
    "a3ae487921105805c13054184139f630204f1224b998014908b07febc6a7041276848412148c440c9ba8c419ca182611a182da10"
    "2089021ba0192451c5a2462102184c6048adc820ed86083c88f377620818c0a2f408803c460e8e07520889c4"
)


def waves(rows: int, columns: int, seed: int) -> np.ndarray:
    """A picture of waves with grain."""
    y, x = np.mgrid[0:rows, 0:columns]
    parts = [np.sin(x / 3.1) + np.cos(y / 4.3), np.sin((x + y) / 5.7), np.cos((x - 2 * y) / 6.1)]
    grain = np.random.default_rng(seed).normal(0, 20, (rows, columns, 3))
    return np.clip(np.stack([127.5 + 50 * part for part in parts], 2) + grain, 0, 255).astype(np.uint8)


def one(name: object, *arrays: np.ndarray | None, **facts: object) -> dict[str, float]:
    """The values of a metric on single frames."""
    frames = [None if array is None else array[None] for array in arrays]
    return values(name.score(clip(*frames, **facts), None, Options()))  # type: ignore[attr-defined]


# --- MS-SSIM -------------------------------------------------------------------------------------


def test_ms_ssim_is_that_of_pytorch_msssim() -> None:
    found = ms_ssim.score(clip(waves(192, 208, 1)[None], truth=waves(192, 208, 2)[None]), None, Options())[
        "ms_ssim"
    ]
    assert found.value == pytest.approx(0.9207376247089017, abs=1e-6)  # its window is float32
    assert found.extra == {"scales": 5}


def test_ms_ssim_of_frames_for_one_scale_is_the_plain_mean_of_ssim() -> None:
    a, b = waves(20, 17, 1), waves(20, 17, 2)
    found = ms_ssim.score(clip(a[None], truth=b[None]), None, Options())["ms_ssim"]
    assert found.value == pytest.approx(slow_ssim(a, b).mean(), abs=1e-9)
    assert found.extra["scales"] == 1
    assert "1 of the 5 scales" in found.extra["note"]


def test_ms_ssim_halves_by_means_of_four_pixels_and_repeats_an_odd_end() -> None:
    picture = np.arange(3 * 3 * 1, dtype=float).reshape(3, 3, 1)
    assert ms_ssim.halved(picture)[..., 0].tolist() == [[2.0, 3.5], [6.5, 8.0]]


def test_ms_ssim_is_1_for_equal_frames_the_same_both_ways_and_lower_for_more_noise() -> None:
    a, b, c = waves(48, 48, 1), waves(48, 48, 2), noise(1, 48, 48)[0]
    assert ms_ssim.ms_ssim(a, a) == pytest.approx(1)
    assert ms_ssim.ms_ssim(a, b) == pytest.approx(ms_ssim.ms_ssim(b, a), abs=1e-12)
    assert 0 <= ms_ssim.ms_ssim(a, c) < ms_ssim.ms_ssim(a, b) < 1
    small = one(ms_ssim, a[:10], None, b[:10])
    assert math.isnan(small["ms_ssim"])


# --- CIEDE2000 -----------------------------------------------------------------------------------


def test_ciede2000_is_that_of_the_published_table_both_ways() -> None:
    table = np.array([line.split() for line in SHARMA.strip().replace(";", "\n").splitlines()], float)
    assert table.shape == (34, 7)
    for a, b in ((table[:, :3], table[:, 3:6]), (table[:, 3:6], table[:, :3])):
        assert np.abs(ciede2000.delta_e(a, b) - table[:, 6]).max() < 5.1e-5  # it has four decimals


def test_colours_come_to_cielab_as_scikit_image_brings_them() -> None:
    # skimage.color.rgb2lab of scikit-image 0.26
    wanted = {
        (255, 0, 0): (53.240588, 80.092308, 67.202751),
        (0, 128, 255): (54.714539, 18.773464, -70.913764),
        (255, 255, 255): (100.0, -0.002455, 0.004653),
        (3, 5, 2): (1.194889, -0.940217, 0.951159),
    }
    for rgb, colour in wanted.items():
        assert ciede2000.lab(np.array([rgb], np.uint8))[0] == pytest.approx(colour, abs=1e-6)


def test_ciede2000_is_0_for_equal_frames_and_a_mean_over_pixels() -> None:
    a = waves(12, 12, 1)
    b = a.copy()
    b[:6] = 255 - b[:6]
    assert one(ciede2000, a, None, a)["ciede2000"] == 0
    half = one(ciede2000, a[:6], None, b[:6])["ciede2000"]
    assert one(ciede2000, a, None, b)["ciede2000"] == pytest.approx(half / 2)


# --- sharpness -----------------------------------------------------------------------------------


def test_sharpness_is_the_variance_of_the_laplacian_of_opencv() -> None:
    # cv2.Laplacian(luma, CV_64F, borderType=BORDER_REPLICATE).var() of OpenCV 5.0.0
    assert one(sharpness, waves(192, 208, 1))["sharpness"] == pytest.approx(3519.317996678685, rel=1e-12)


def test_sharpness_falls_with_blur_and_is_mirrored_nowhere() -> None:
    a = waves(32, 40, 1)
    soft = ((a[:-1].astype(float) + a[1:]) / 2).astype(np.uint8)
    found = one(sharpness, soft, a[:-1])
    assert found["sharpness_ratio"] < 0.7
    assert one(sharpness, a[:, ::-1])["sharpness"] == pytest.approx(one(sharpness, a)["sharpness"])
    assert one(sharpness, a, a)["sharpness_ratio"] == 1
    assert "sharpness_ratio" not in one(sharpness, a, np.zeros_like(a))


# --- edges and the core --------------------------------------------------------------------------


def test_edges_are_those_of_opencv_bit_for_bit() -> None:
    found = canny(waves(24, 32, 3)[..., 0])
    assert np.packbits(found).tobytes().hex() == CANNY


def test_edges_match_within_the_tolerance_and_no_further() -> None:
    a, b = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    a[4, 2] = b[6, 4] = True  # two rows and two columns apart
    assert f1(a, b, 2) == 1
    assert f1(a, b, 1) == 0
    b[0, 0] = True  # one of two is matched
    assert f1(a, b, 2) == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert f1(b, a, 2) == pytest.approx(f1(a, b, 2))
    none = np.zeros((9, 9), bool)
    assert (f1(none, none, 2), f1(a, none, 2), f1(none, a, 2)) == (1, 0, 0)
    assert within(a, 1).sum() == 9


def test_the_core_of_an_unchanged_copy_is_1_and_its_layout_is_ssim() -> None:
    a, b = waves(24, 30, 1), waves(24, 30, 2)
    assert one(core_picture, a, a) == pytest.approx(
        {"core_structure": 1, "core_layout": 1, "core_content": 1}
    )
    assert one(core_picture, a, b)["core_layout"] == pytest.approx(slow_ssim(a, b).mean(), abs=1e-9)


def test_content_is_the_correlation_of_histograms_of_colours_wherever_they_are() -> None:
    a = waves(20, 20, 1)
    edges = [np.linspace(0, 256, 9)] * 3
    counts = [np.histogramdd(frame.reshape(-1, 3), bins=edges)[0].ravel() for frame in (a, waves(20, 20, 5))]
    found = one(core_picture, a, waves(20, 20, 5))["core_content"]
    assert found == pytest.approx(np.corrcoef(*counts)[0, 1], abs=1e-12)
    shuffled = np.random.default_rng(0).permutation(a.reshape(-1, 3)).reshape(a.shape)
    assert one(core_picture, a, shuffled)["core_content"] == pytest.approx(1)


# --- where, and whether at all -------------------------------------------------------------------


def test_exclusivity_is_the_share_of_change_inside_the_mask() -> None:
    source = np.zeros((3, 4, 4, 3), np.uint8)
    edited = source.copy()
    edited[0, 0, 0], edited[0, 3, 3] = (10, 20, 30), (20, 0, 0)  # 60 inside, 20 outside
    edited[1, 0, 0] = 5  # inside alone; the third frame did not change
    mask = np.zeros((3, 4, 4), np.uint8)
    mask[:, :2] = 255
    found = edit_exclusivity.score(clip(edited, source, mask_TYX=mask), None, Options())["edit_exclusivity"]
    assert found.per_frame[:2] == (0.75, 1.0)
    assert found.value == pytest.approx(0.875)
    assert found.extra["empty_frames"] == 1
    whole = clip(edited, source, mask_TYX=np.full((3, 4, 4), 255, np.uint8))
    assert edit_exclusivity.score(whole, None, Options())["edit_exclusivity"].value == 1
    same = clip(source, source, mask_TYX=mask)
    assert "unchanged" in edit_exclusivity.unfit(same, Options())
    assert edit_exclusivity.unfit(whole, Options()) == ""


def test_compliance_counts_checks_and_says_each_miss() -> None:
    frames = noise(2)
    good = clip(frames, noise(2, seed=1), asked={"frames": ("2", "2"), "size": ("24x20", "24x20")})
    assert values(compliance.score(good, None, Options())) == {"compliance": 1.0}
    bad = clip(
        frames,
        frames,
        asked={"frames": ("8", "2"), "size": ("24x20", "24x20"), "rate": ("25 frames/s", "10 frames/s")},
        damage="1 frame is missing",
    )
    found = compliance.score(bad, None, Options())["compliance"]
    assert found.value == pytest.approx(1 / 5)
    assert found.extra["failed"] == [
        "frames 2 instead of 8",
        "rate 10 frames/s instead of 25 frames/s",
        "not readable as a whole: 1 frame is missing",
        "the source, unchanged",
    ]
