"""Protects vedit/metrics/flicker.py and method_cost.py."""

from __future__ import annotations

import numpy as np
import pytest

from tests.metrics.clips import clip, noise, values
from vedit.metrics import flicker, method_cost
from vedit.metrics.types import Options


def test_flicker_is_the_mean_change_between_neighbours() -> None:
    frames = np.zeros((3, 2, 2, 3), np.uint8)
    frames[1] = 255  # up by 255, and down again by 255: no wrap-around in eight bits
    frames[2, 0] = 255
    found = flicker.score(clip(frames), None, Options())
    assert found["flicker_mae"].per_frame == (255.0, 127.5)
    assert found["temporal_flickering"].value == pytest.approx((0.0 + 0.5) / 2)


def test_a_still_picture_does_not_flicker_and_reversed_time_flickers_alike() -> None:
    still = np.repeat(noise(1), 4, axis=0)
    assert values(flicker.score(clip(still), None, Options())) == {
        "flicker_mae": 0.0,
        "temporal_flickering": 1.0,
    }
    frames = noise(5)
    assert values(flicker.score(clip(frames[::-1]), None, Options())) == pytest.approx(
        values(flicker.score(clip(frames), None, Options()))
    )


def test_cost_is_read_from_the_record_and_absent_where_it_is_silent() -> None:
    record = {
        "seconds": {"total": 12.5, "invert": 4.0, "edit": 7},
        "peak_memory_mib": {"host": 900.0, "device": 3000.0},
    }
    found = method_cost.score(clip(noise(), record=record), None, Options())
    assert values(found) == {
        "method_seconds": 12.5,
        "method_invert_seconds": 4.0,
        "method_edit_seconds": 7.0,
        "method_peak_memory": 3000.0,
    }
    assert found["method_peak_memory"].extra["where"] == "device"
    assert values(
        method_cost.score(
            clip(noise(), record={"seconds": "soon", "peak_memory_mib": {"host": 5.0}}), None, Options()
        )
    ) == {"method_peak_memory": 5.0}
