"""Protects motion_smoothness, dynamic_degree, flow_difference, core_temporal, warp_ssim and motion_fidelity:
flow that is given, formulas written out once more, and what must be 0 or 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.metrics.clips import clip, noise, values
from tests.metrics.test_full_reference import slow_ssim
from tests.motion.test_tvl1 import smooth
from vedit import metrics
from vedit.metrics import _flow, dynamic_degree, motion_fidelity, warp_ssim
from vedit.metrics.types import Options, Video

TVL1 = Options(flow="tvl1")
OWN_FLOW = ("motion_smoothness", "dynamic_degree", "flow_difference", "core_temporal", "motion_fidelity")
Given = Callable[..., None]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    """Sets the flow of videos: backward and forward, (P, 2, Y, X)."""

    def fix(*known: tuple[Video, Any, Any]) -> None:
        table = {video.digest: _flow.Flows(np.asarray(b), np.asarray(f)) for video, b, f in known}
        for name in (*OWN_FLOW, "warp_ssim"):
            monkeypatch.setattr(metrics.load(name), "flows", lambda video, *_, **__: table[video.digest])

    return fix


def field(seed: int, pairs: int = 3, rows: int = 7, columns: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, (pairs, 2, rows, columns)).astype(np.float32)


def score(name: str, found: Any, options: Options = TVL1) -> dict[str, float]:
    return values(metrics.load(name).score(found, None, options))


def test_smoothness_differences_and_degree_are_their_formulas(given: Given) -> None:
    edited, source = Video(noise(4, 7, 9)), Video(noise(4, 7, 9, seed=1))
    flows = [field(seed) for seed in range(4)]
    given((edited, flows[0], flows[1]), (source, flows[2], flows[3]))
    case = clip(edited.frames_TYX3, source.frames_TYX3)
    smooth_terms, apart, relative, fast = [], [], [], []
    for pair in range(3):
        speeds = []
        for y in range(7):
            for x in range(9):
                e, s = (part[pair, :, y, x].astype(float) for part in (flows[0], flows[2]))
                speeds.append(math.hypot(*e))
                apart.append(math.dist(e, s))
                relative.append(math.dist(e, s) / (math.hypot(*s) + 1))
                if pair:
                    f, b = flows[1][pair, :, y, x].astype(float), flows[0][pair - 1, :, y, x].astype(float)
                    smooth_terms.append(1 - math.hypot(*(f + b)) / (math.hypot(*f) + math.hypot(*b) + 1))
        fast.append(100 * np.mean(sorted(speeds)[-3:]) / 7)  # 5 % of 63 places
    assert score("motion_smoothness", case)["motion_smoothness"] == pytest.approx(
        np.mean(smooth_terms), abs=1e-9
    )
    assert score("flow_difference", case)["flow_difference"] == pytest.approx(np.mean(apart), abs=1e-9)
    assert score("core_temporal", case)["core_temporal"] == pytest.approx(
        math.exp(-np.mean(relative)), abs=1e-9
    )
    assert score("dynamic_degree", case)["dynamic_degree"] == pytest.approx(np.mean(fast), abs=1e-9)


def test_steady_motion_is_smooth_and_a_jump_is_not(given: Given) -> None:
    video = Video(noise(4, 7, 9))
    steady = np.ones((3, 2, 7, 9)) * 2.0
    given((video, -steady, steady))
    assert score("motion_smoothness", clip(video.frames_TYX3))["motion_smoothness"] == 1
    jump = steady * np.array([1, -1, 1])[:, None, None, None]
    given((video, -jump, jump))
    assert score("motion_smoothness", clip(video.frames_TYX3))["motion_smoothness"] < 0.2


def test_a_clip_is_dynamic_when_a_quarter_of_its_frames_is_fast() -> None:
    fast, slow = dynamic_degree.THRESHOLD + 0.1, dynamic_degree.THRESHOLD - 0.1
    assert dynamic_degree.is_dynamic([fast] * 4 + [slow] * 11)
    assert not dynamic_degree.is_dynamic([fast] * 3 + [slow] * 12)


def test_an_unchanged_copy_moves_as_its_source_and_a_still_one_not_at_all() -> None:
    moving = np.stack([smooth(32, 36, (2.0 * t, -1.0 * t)) for t in range(3)])
    same, still = clip(moving, moving), clip(np.repeat(moving[:1], 3, 0), moving)
    assert score("flow_difference", same) == {"flow_difference": 0}
    assert score("core_temporal", same) == {"core_temporal": 1}
    assert score("motion_fidelity", same)["motion_fidelity"] == pytest.approx(1)
    assert score("dynamic_degree", still)["dynamic_degree"] < 0.01
    assert score("flow_difference", still)["flow_difference"] > 1.5
    assert score("core_temporal", still)["core_temporal"] < 0.6
    found = motion_fidelity.score(still, None, TVL1)["motion_fidelity"]
    assert (found.value, found.extra["note"]) == (0, "nothing moves in the edit")
    assert motion_fidelity.score(clip(moving, still.edited_TYX3), None, TVL1) == {}


def test_motion_is_measured_the_same_for_mirrored_clips() -> None:
    moving = np.stack([smooth(32, 36, (2.0 * t, -1.0 * t)) for t in range(2)])
    source = np.stack([smooth(32, 36, (1.0 * t, 0.5 * t)) for t in range(2)])
    for name in ("dynamic_degree", "flow_difference", "core_temporal"):
        mirrored = score(name, clip(moving[:, :, ::-1].copy(), source[:, :, ::-1].copy()))
        assert mirrored == pytest.approx(score(name, clip(moving, source)), rel=0.15)


def test_fidelity_is_the_best_match_of_each_track_wherever_it_is(given: Given) -> None:
    edited, source = Video(noise(4, 7, 9)), Video(noise(4, 7, 9, seed=1))
    right, down = np.zeros((3, 2, 7, 9)), np.zeros((3, 2, 7, 9))
    right[:, 0], down[:, 1] = 1, 1
    right[:, :, :3] = 0  # the upper rows stand still, and are no tracks
    both = right.copy()
    both[:, 0, 3:, :4], both[:, 1, 3:, :4] = 0, 0.5  # a part goes down in the source
    given((edited, -down, down), (source, -right, right))
    assert score("motion_fidelity", clip(edited.frames_TYX3, source.frames_TYX3)) == {"motion_fidelity": 0}
    given((edited, -down, down), (source, -both, both))
    found = score("motion_fidelity", clip(edited.frames_TYX3, source.frames_TYX3))
    assert found["motion_fidelity"] == pytest.approx(1)
    opposite = right * -1
    given((edited, right, opposite), (source, opposite, right))
    found = score("motion_fidelity", clip(edited.frames_TYX3, source.frames_TYX3))
    assert found["motion_fidelity"] == pytest.approx(-1)


def test_fidelity_is_that_of_loops_over_tracks() -> None:
    a, b = field(0, 4, 12, 14) * 0.2 + 0.4, field(1, 4, 12, 14) * 0.2 + 0.4
    tracks = []
    for flow in (a, b):
        found = []
        for y in range(12):
            for x in range(14):
                at, steps, is_inside = np.array([x, y], float), [], True
                for pair in range(4):
                    if not (0 <= at[0] <= 13 and 0 <= at[1] <= 11):
                        is_inside = False
                        break
                    left, top = (int(min(v, end)) for v, end in zip(np.floor(at), (12, 10), strict=True))
                    wx, wy = at[0] - left, at[1] - top
                    step = sum(
                        weight * flow[pair, :, top + j, left + i].astype(float)
                        for i, j, weight in (
                            (0, 0, (1 - wx) * (1 - wy)), (1, 0, wx * (1 - wy)),
                            (0, 1, (1 - wx) * wy), (1, 1, wx * wy),
                        )
                    )  # fmt: skip
                    steps.append(step)
                    at = at + step
                is_inside = is_inside and bool(0 <= at[0] <= 13 and 0 <= at[1] <= 11)
                if is_inside and np.mean([math.hypot(*step) for step in steps]) >= 0.25:
                    found.append([step / math.hypot(*step) for step in steps])
        tracks.append(found)
    best = [
        max(np.mean([p @ q for p, q in zip(track, other, strict=True)]) for other in tracks[1])
        for track in tracks[0]
    ]
    units = [motion_fidelity.steps_of(flow) for flow in (a, b)]
    assert [len(part) for part in units] == [len(part) for part in tracks]
    assert motion_fidelity.correlations(*units).max(axis=1).mean() == pytest.approx(np.mean(best), abs=1e-9)


def test_warp_ssim_is_the_mean_of_ssim_where_pixels_can_be_followed(tmp_path: Path) -> None:
    backward = np.zeros((2, 2, 16, 18))
    backward[:, 0] = -2
    np.savez(tmp_path / "f.npz", backward=backward)
    edited = noise(3, 16, 18, seed=4)
    wanted = []
    for pair in range(2):
        moved = edited[pair][:, np.clip(np.arange(18) - 2, 0, 17)]
        whole = slow_ssim(moved, edited[pair + 1]).mean(axis=2)
        wanted.append(whole.mean())  # the border of 5 hides the two columns from outside
    options = Options(flow=f"file:{tmp_path / 'f.npz'}")
    found = warp_ssim.score(clip(edited, noise(3, 16, 18)), None, options)["warp_ssim"]
    assert found.per_frame == pytest.approx(wanted, abs=1e-9)
    still = np.repeat(noise(1, 16, 18), 3, axis=0)
    np.savez(tmp_path / "f.npz", backward=np.zeros((2, 2, 16, 18)))
    assert values(warp_ssim.score(clip(still, still), None, options)) == {"warp_ssim": pytest.approx(1)}
    assert math.isnan(warp_ssim.score(clip(still[:, :9], still[:, :9]), None, TVL1)["warp_ssim"].value)


@pytest.mark.parametrize("name", OWN_FLOW)
def test_what_follows_the_edit_cannot_take_a_file_of_the_sources_flow(name: str) -> None:
    unfit = metrics.load(name).unfit
    assert "flow file" in unfit(clip(noise()), Options(flow="file:f.npz"))
    assert unfit(clip(noise()), TVL1) == ""


def test_smoothness_needs_a_frame_between_two_others() -> None:
    assert "three frames" in metrics.load("motion_smoothness").unfit(clip(noise(2)), TVL1)
