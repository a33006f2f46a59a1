"""Protects vedit/metrics/warp_error.py and flow_fidelity.py: pixel loops, and what must be 0 or 1."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.metrics.clips import clip, noise, values
from tests.motion.test_tvl1 import smooth
from vedit.metrics import flow_fidelity, warp_error
from vedit.metrics.types import Options
from vedit.motion import visible

TVL1 = Options(flow="tvl1")


@pytest.fixture
def still(tmp_path: Path) -> Options:
    """Flow of a source that does not move: three frames of 20x24."""
    np.savez(tmp_path / "still.npz", backward=np.zeros((2, 2, 20, 24)), forward=np.zeros((2, 2, 20, 24)))
    return Options(flow=f"file:{tmp_path / 'still.npz'}")


def moving(frames: int = 3) -> np.ndarray:
    return np.stack([smooth(shift=(1.5 * t, -0.5 * t)) for t in range(frames)])


def test_an_unchanged_copy_has_the_ratio_1_and_no_fidelity_error() -> None:
    found = values(warp_error.score(clip(moving(), moving()), None, TVL1))
    assert found["warp_error_ratio"] == 1.0
    assert 0 < found["warp_error"] < 1e-3
    assert flow_fidelity.score(clip(moving(), moving()), None, TVL1)["ff_beta"].value == pytest.approx(
        0, abs=1e-9
    )


def test_without_motion_the_error_is_the_mean_square_between_frames(still: Options) -> None:
    edited, source = noise(seed=1), noise(seed=2)
    wanted = [np.mean((edited[t + 1] / 255 - edited[t] / 255) ** 2) for t in range(2)]
    found = warp_error.score(clip(edited, source), None, still)
    assert found["warp_error"].per_frame == pytest.approx(wanted)
    own = np.mean([np.mean((source[t + 1] / 255 - source[t] / 255) ** 2) for t in range(2)])
    assert found["warp_error_ratio"].value == pytest.approx(np.mean(wanted) / own)
    assert found["warp_error"].extra["occluded_share"] == 0


def test_pixels_from_outside_the_frame_do_not_count(tmp_path: Path) -> None:
    backward = np.zeros((2, 2, 20, 24))
    backward[:, 0] = -3  # everything came from three columns to the left
    np.savez(tmp_path / "f.npz", backward=backward)
    edited = np.repeat(noise(1), 3, axis=0)
    edited[1], edited[2] = np.roll(edited[0], 3, axis=1), np.roll(edited[0], 6, axis=1)
    found = warp_error.score(clip(edited, noise(seed=2)), None, Options(flow=f"file:{tmp_path / 'f.npz'}"))[
        "warp_error"
    ]
    assert found.value == pytest.approx(0, abs=1e-12)  # what np.roll brings round the edge is not looked at
    assert found.extra["occluded_share"] == pytest.approx(3 / 24)
    assert found.extra["consistency_test"] is False


def test_a_pair_without_a_followed_pixel_is_left_out_and_counted(tmp_path: Path) -> None:
    backward = np.zeros((2, 2, 20, 24))
    backward[0] = 100
    np.savez(tmp_path / "f.npz", backward=backward)
    options = Options(flow=f"file:{tmp_path / 'f.npz'}")
    found = warp_error.score(clip(noise(seed=1), noise(seed=2)), None, options)["warp_error"]
    assert found.extra["excluded_pairs"] == 1 and math.isnan(found.per_frame[0])
    assert found.value == pytest.approx(found.per_frame[1])
    np.savez(tmp_path / "f.npz", backward=backward + 100)
    nothing = warp_error.score(clip(noise(seed=1), noise(seed=2)), None, options)
    assert math.isnan(nothing["warp_error"].value) and "followed" in nothing["warp_error"].extra["why"]


def test_flicker_raises_the_error_that_smooth_motion_keeps_low() -> None:
    flickering = moving().astype(int)
    flickering[1] += 40
    steady, shaken = (
        warp_error.score(clip(frames.clip(0, 255).astype(np.uint8), moving()), None, TVL1)
        for frames in (moving(), flickering)
    )
    assert shaken["warp_error_ratio"].value > 20 * steady["warp_error_ratio"].value


def test_the_map_is_empty_where_nothing_can_be_followed_and_squares_to_the_score() -> None:
    pair = clip(moving()[:, ::-1].copy(), moving())
    maps = warp_error.error_maps(pair, None, TVL1)
    found = warp_error.score(pair, None, TVL1)["warp_error"]
    assert [np.nanmean(error**2) for error in maps] == pytest.approx(found.per_frame)
    assert np.isnan(maps).mean() == pytest.approx(found.extra["occluded_share"])


def editboard_alpha(edited: np.ndarray, source: np.ndarray) -> tuple[float, float]:
    """`calculate_ff_alpha` of EditBoard pixel by pixel, with a flow of zero; its mean over pairs, and its
    share of steady pixels.
    """
    errors, shares = [], []
    for t in range(len(source) - 1):
        kept = []
        for y in range(source.shape[1]):
            for x in range(source.shape[2]):
                red, green, blue = np.abs(source[t + 1, y, x].astype(int) - source[t, y, x])
                if round(0.299 * red + 0.587 * green + 0.114 * blue) <= 5:
                    kept.append(max(np.abs(edited[t + 1, y, x].astype(int) - edited[t, y, x])))
        errors.append(np.mean(kept))
        shares.append(len(kept) / (source.shape[1] * source.shape[2]))
    return float(np.mean(errors)), float(np.mean(shares))


@pytest.mark.parametrize(
    "jumping", [2, 5]
)  # rows of twenty that jump once; a quarter of them is more than 30 % of one pair, but not of both
def test_alpha_is_editboards_largest_change_where_the_source_is_steady_in_grey(
    still: Options, jumping: int
) -> None:
    source = np.repeat(noise(1, seed=2), 3, axis=0)
    source[1:, :jumping] = 255 - source[1:, :jumping]
    source[1:, jumping : jumping + 3, :, 2] ^= 31  # blue by up to 31 is at most 4 levels of grey
    edited = source.copy()
    edited[1, 10:] = np.clip(edited[1, 10:].astype(int) + (9, 2, 4), 0, 255)
    wanted, share = editboard_alpha(edited, source)
    found = flow_fidelity.score(clip(edited, source), None, still)["ff_alpha"]
    assert (
        share >= 0.7
        and found.value == pytest.approx(wanted)
        and found.extra["steady_share"] == pytest.approx(share)
    )
    assert "ff_beta" not in flow_fidelity.score(
        clip(edited, source), None, still
    )  # needs the edit's own flow


def test_alpha_takes_the_largest_colour_and_is_steady_by_grey(still: Options) -> None:
    source, edited = np.full((3, 20, 24, 3), 90, np.uint8), np.full((3, 20, 24, 3), 90, np.uint8)
    edited[1] = 120, 96, 90
    assert flow_fidelity.score(clip(edited, source), None, still)["ff_alpha"].value == 30
    source[1] = 90, 90, 130  # 40 levels of blue are 4.56 of grey, which rounds to 5
    assert flow_fidelity.score(clip(edited, source), None, still)["ff_alpha"].value == 30
    source[1] = 90, 90, 140  # and 50 are 5.7
    assert math.isnan(flow_fidelity.score(clip(edited, source), None, still)["ff_alpha"].value)


def test_alpha_asks_for_70_percent_of_the_video_not_of_each_pair(still: Options) -> None:
    source = np.full((3, 20, 24, 3), 90, np.uint8)
    source[1:, :10] = 200  # the first pair is steady at a half, the second everywhere: 75 %
    edited = source.copy()
    edited[2] += 7
    found = flow_fidelity.score(clip(edited, source), None, still)["ff_alpha"]
    assert found.value == pytest.approx(3.5) and found.per_frame == pytest.approx((0, 7))
    source[2, 10:] = 180  # the second at a half as well
    unmeasured = flow_fidelity.score(clip(edited, source), None, still)["ff_alpha"]
    assert math.isnan(unmeasured.value) and "steady along its flow at" in unmeasured.extra["why"]


def test_alpha_of_a_source_that_is_nowhere_steady_is_not_a_number(still: Options) -> None:
    found = flow_fidelity.score(clip(noise(seed=1), noise(seed=2)), None, still)["ff_alpha"]
    assert math.isnan(found.value) and "70 %" in found.extra["why"]


def test_an_error_over_few_pixels_says_how_many(tmp_path: Path) -> None:
    backward = np.zeros((2, 2, 20, 24))
    for columns, said in ((3, ""), (13, "only 46 % of the pixels"), (23, "only 4.2 % of the pixels")):
        backward[:, 0] = -columns
        np.savez(tmp_path / "f.npz", backward=backward)
        found = warp_error.score(
            clip(noise(seed=1), noise(seed=2)), None, Options(flow=f"file:{tmp_path / 'f.npz'}")
        )["warp_error"]
        assert said in found.extra.get("warning", "") and bool(said) == ("warning" in found.extra)


def test_opposite_flows_differ_by_two_and_crossed_ones_by_one() -> None:
    right, down = np.zeros((2, 3, 3), np.float32), np.zeros((2, 3, 3), np.float32)
    right[0], down[1] = 1, 1
    assert flow_fidelity.one_minus_cosine(right, -right) == pytest.approx(2)
    assert flow_fidelity.one_minus_cosine(right, down) == pytest.approx(1)
    assert flow_fidelity.one_minus_cosine(0 * right, 0 * right) == 0


def test_visibility_follows_the_published_threshold() -> None:
    backward, forward = np.zeros((2, 1, 3), np.float32), np.zeros((2, 1, 3), np.float32)
    forward[0, 0] = [0.7, 0.71, 0.72]  # |b + f|^2 = f^2 against 0.01 f^2 + 0.5: the limit is 0.7107
    assert visible(backward, forward)[0].tolist() == [True, True, False]
