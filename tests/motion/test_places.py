"""Pictures looked up along a flow: lookups by another library, and what can be found again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vedit.motion import look_up, visible


def test_lookups_equal_those_of_grid_sample() -> None:
    rng = np.random.default_rng(0)
    image, field = rng.uniform(size=(9, 11, 2)), rng.normal(0, 2, (2, 9, 11)).astype(np.float32)
    y, x = np.mgrid[0:9, 0:11]
    grid = np.stack([(x + field[0]) * 2 / 10 - 1, (y + field[1]) * 2 / 8 - 1], axis=2)
    wanted = torch.nn.functional.grid_sample(
        torch.from_numpy(image.transpose(2, 0, 1))[None],
        torch.from_numpy(grid).double()[None],
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )
    found, inside = look_up(image, field)
    assert found == pytest.approx(wanted[0].numpy().transpose(1, 2, 0), abs=1e-9)
    assert (inside == (np.abs(grid) <= 1).all(axis=2)).all()


def test_a_pixel_that_comes_back_elsewhere_is_not_visible() -> None:
    backward, forward = np.zeros((2, 4, 5), np.float32), np.zeros((2, 4, 5), np.float32)
    backward[0] = -1  # everything came from the left
    forward[0] = 1
    forward[0, 2, 1] = 3  # but this pixel says that it goes further
    seen = visible(backward, forward)
    assert not seen[:, 0].any()  # came from outside the frame
    assert not seen[2, 2]
    assert seen.sum() == 4 * 4 - 1
    assert visible(backward, None)[2, 2]  # without a forward flow nothing is tested but the frame
