"""Protects vedit/metrics/warp_error.py and flow_fidelity.py: pixel loops, and what must be 0 or 1."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.metrics.clips import clip, noise, values
from tests.metrics.test_flow import smooth
from vedit.metrics import flow_fidelity, warp_error
from vedit.metrics.base import Options
from vedit.metrics.flow import visible

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
    assert flow_fidelity.score(clip(moving(), moving()), None, TVL1)["ff_beta"].value == pytest.approx(0, abs=1e-9)


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
    found = warp_error.score(clip(edited, noise(seed=2)), None, Options(flow=f"file:{tmp_path / 'f.npz'}"))["warp_error"]
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
    steady, shaken = (warp_error.score(clip(frames.clip(0, 255).astype(np.uint8), moving()), None, TVL1) for frames in (moving(), flickering))
    assert shaken["warp_error_ratio"].value > 20 * steady["warp_error_ratio"].value


def test_the_map_is_empty_where_nothing_can_be_followed_and_squares_to_the_score() -> None:
    pair = clip(moving()[:, ::-1].copy(), moving())
    maps = warp_error.error_maps(pair, None, TVL1)
    found = warp_error.score(pair, None, TVL1)["warp_error"]
    assert [np.nanmean(error**2) for error in maps] == pytest.approx(found.per_frame)
    assert np.isnan(maps).mean() == pytest.approx(found.extra["occluded_share"])


def test_alpha_looks_only_where_the_source_is_steady(still: Options) -> None:
    source = np.repeat(noise(1, seed=2), 3, axis=0)
    source[1:, :4] = 255 - source[1:, :4]  # a fifth of the rows jumps once, and stays
    edited = source.copy()
    edited[1, 10:] = np.clip(edited[1, 10:].astype(int) + 9, 0, 255)
    is_steady = np.abs(source[1].astype(int) - source[0]).max(axis=2) <= 5
    wanted = np.abs(edited[1].astype(int) - edited[0])[is_steady].mean()
    found = flow_fidelity.score(clip(edited, source), None, still)["ff_alpha"]
    assert found.per_frame[0] == pytest.approx(wanted)
    assert found.extra["pairs_counted_0"] == 0
    assert "ff_beta" not in flow_fidelity.score(clip(edited, source), None, still)  # needs the edit's own flow


def test_alpha_is_0_by_rule_where_the_source_is_hardly_steady(still: Options) -> None:
    found = flow_fidelity.score(clip(noise(seed=1), noise(seed=2)), None, still)["ff_alpha"]
    assert found.value == 0 and found.extra["pairs_counted_0"] == 2


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
