"""Flow without weights: motion that is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vedit.data import scenes
from vedit.motion.tvl1 import divergence, forward_differences, tvl1_pairs


def smooth(rows: int = 48, columns: int = 56, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """A picture of waves, moved by (x, y) pixels."""
    y, x = np.mgrid[0:rows, 0:columns].astype(float)
    x, y = x - shift[0], y - shift[1]
    waves = [np.sin(x / 3.1) + np.cos(y / 4.3), np.sin((x + y) / 5.7), np.cos((x - 2 * y) / 6.1)]
    return np.stack([np.rint(127.5 + 50 * wave) for wave in waves], axis=2).astype(np.uint8)


@pytest.mark.parametrize("shift", [(1.0, 0.0), (-2.5, 1.5), (4.0, -3.0)])
def test_a_moved_picture_has_its_movement_as_flow(shift: tuple[float, float]) -> None:
    found = tvl1_pairs(smooth()[None], smooth(shift=shift)[None])[0]
    inner = found[:, 8:-8, 8:-8]
    assert np.abs(inner - np.array(shift)[:, None, None]).mean() < 0.1


def test_equal_pictures_have_no_flow() -> None:
    assert np.abs(tvl1_pairs(smooth()[None], smooth()[None])).max() < 1e-5


def true_flow(scene: scenes.Scene, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Forward flow of a drawn scene's object, and where it is in the first frame of each pair."""
    step = scene.span / (frames - 1)
    batch = scenes.stack([scene] * frames)
    cover = scenes.object_mask(batch, torch.arange(frames) / (frames - 1)).numpy() > 0.5
    direction = np.array(scenes.STEP_XY[scene.motion])
    return np.repeat((direction * step)[None, :, None, None], frames - 1, 0), cover[:-1]


def test_drawn_objects_are_followed_to_half_a_pixel() -> None:
    errors, lengths = [], []
    moving = [scene for scene in scenes.sample_records(12, 77, held_out=None) if scene.motion != "still"]
    for scene in moving[:6]:
        frames = (scenes.clip(scene, 5)[:2] * 255 + 0.5).byte().permute(0, 2, 3, 1).numpy()
        truth, cover = true_flow(scene, 5)
        found = tvl1_pairs(frames[:1], frames[1:2])[0]
        errors.append(np.linalg.norm(found - truth[0], axis=0)[cover[0]].mean())
        lengths.append(np.linalg.norm(truth[0]))
    assert np.mean(lengths) > 2.5
    assert np.mean(errors) < 0.5


def test_the_divergence_is_the_negative_adjoint_of_the_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    image, x, y = (torch.randn(1, 1, 6, 7, generator=generator, dtype=torch.float64) for _ in range(3))
    across, down = forward_differences(image)
    assert ((across * x + down * y).sum() + (image * divergence(x, y)).sum()).abs() < 1e-12
