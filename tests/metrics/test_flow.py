"""Protects vedit/metrics/_flow.py: motion that is known, and lookups by another library."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.metrics.clips import noise
from vedit.data import scenes
from vedit.errors import InputError, ModelError, UsageError
from vedit.metrics import _flow as flow
from vedit.metrics.towers.features import FeatureStore
from vedit.metrics.types import Options, Video

TVL1 = Options(flow="tvl1")


def smooth(rows: int = 48, columns: int = 56, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """A picture of waves, moved by (x, y) pixels."""
    y, x = np.mgrid[0:rows, 0:columns].astype(float)
    x, y = x - shift[0], y - shift[1]
    waves = [np.sin(x / 3.1) + np.cos(y / 4.3), np.sin((x + y) / 5.7), np.cos((x - 2 * y) / 6.1)]
    return np.stack([np.rint(127.5 + 50 * wave) for wave in waves], axis=2).astype(np.uint8)


@pytest.mark.parametrize("shift", [(1.0, 0.0), (-2.5, 1.5), (4.0, -3.0)])
def test_a_moved_picture_has_its_movement_as_flow(shift: tuple[float, float]) -> None:
    found = flow.tvl1_pairs(smooth()[None], smooth(shift=shift)[None])[0]
    inner = found[:, 8:-8, 8:-8]
    assert np.abs(inner - np.array(shift)[:, None, None]).mean() < 0.1


def test_equal_pictures_have_no_flow() -> None:
    assert np.abs(flow.tvl1_pairs(smooth()[None], smooth()[None])).max() < 1e-5


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
        found = flow.tvl1_pairs(frames[:1], frames[1:2])[0]
        errors.append(np.linalg.norm(found - truth[0], axis=0)[cover[0]].mean())
        lengths.append(np.linalg.norm(truth[0]))
    assert np.mean(lengths) > 2.5
    assert np.mean(errors) < 0.5


def test_odd_and_tiny_sizes_work() -> None:
    for rows, columns in ((1, 1), (5, 3), (17, 33), (2, 64)):
        found = flow.flows(Video(noise(2, rows, columns)), None, TVL1)
        assert found.backward_P2YX.shape == (1, 2, rows, columns)
        assert np.isfinite(found.backward_P2YX).all()


def test_the_divergence_is_the_negative_adjoint_of_the_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    image, x, y = (torch.randn(1, 1, 6, 7, generator=generator, dtype=torch.float64) for _ in range(3))
    across, down = flow.forward_differences(image)
    assert ((across * x + down * y).sum() + (image * flow.divergence(x, y)).sum()).abs() < 1e-12


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
    found, inside = flow.look_up(image, field)
    assert found == pytest.approx(wanted[0].numpy().transpose(1, 2, 0), abs=1e-9)
    assert (inside == (np.abs(grid) <= 1).all(axis=2)).all()


def test_a_pixel_that_comes_back_elsewhere_is_not_visible() -> None:
    backward, forward = np.zeros((2, 4, 5), np.float32), np.zeros((2, 4, 5), np.float32)
    backward[0] = -1  # everything came from the left
    forward[0] = 1
    forward[0, 2, 1] = 3  # but this pixel says that it goes further
    seen = flow.visible(backward, forward)
    assert not seen[:, 0].any()  # came from outside the frame
    assert not seen[2, 2]
    assert seen.sum() == 4 * 4 - 1
    assert flow.visible(backward, None)[2, 2]  # without a forward flow nothing is tested but the frame


def test_both_directions_are_computed_and_kept() -> None:
    towers = SimpleNamespace(store=FeatureStore())
    video = Video(np.stack([smooth(), smooth(shift=(2, 0))]))
    first = flow.flows(video, towers, TVL1)
    assert first.forward_P2YX is not None
    assert first.forward_P2YX[0, 0, 8:-8, 8:-8].mean() == pytest.approx(2, abs=0.1)
    assert first.backward_P2YX[0, 0, 8:-8, 8:-8].mean() == pytest.approx(-2, abs=0.1)
    assert len(towers.store._recent) == 2
    key = next(iter(towers.store._recent))
    towers.store.put(key, {"flow": first.backward_P2YX + 1})
    assert (flow.flows(video, towers, TVL1).backward_P2YX == first.backward_P2YX + 1).all()
    assert flow.flows(video, towers, TVL1, of_source=False).forward_P2YX is None


def test_a_flow_file_must_fit_the_source(tmp_path: Path) -> None:
    path = tmp_path / "f.npz"
    options = Options(flow=f"file:{path}")
    video = Video(noise(3, 8, 10))
    with pytest.raises(InputError, match="cannot read flow"):
        flow.flows(video, None, options)
    np.savez(path, backward=np.zeros((1, 2, 8, 10)))
    with pytest.raises(InputError, match=r"backward has the shape \(1, 2, 8, 10\)"):
        flow.flows(video, None, options)
    np.savez(path, forward=np.zeros((2, 2, 8, 10)))
    with pytest.raises(InputError, match="no array `backward`"):
        flow.flows(video, None, options)
    np.savez(path, backward=np.full((2, 2, 8, 10), 0.5))
    found = flow.flows(video, None, options)
    assert found.forward_P2YX is None and (found.backward_P2YX == 0.5).all()
    path.write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(InputError, match="cannot read flow"):
        flow.flows(video, None, options)


def test_unknown_engines_and_missing_opencv_say_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="tvl1"):
        flow.flows(Video(noise(2)), None, Options(flow="farneback"))
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(ModelError, match="pip install opencv-python-headless"):
        flow.flows(Video(noise(2)), None, Options(flow="dis"))


def test_dis_follows_a_moved_picture_where_opencv_is_present() -> None:
    pytest.importorskip("cv2")
    found = flow.dis_pair(smooth(), smooth(shift=(2, 1)))
    assert np.median(found[:, 8:-8, 8:-8], axis=(1, 2)) == pytest.approx([2, 1], abs=0.3)


def test_the_embedded_profile_takes_the_flow_without_weights() -> None:
    assert flow.towers_of_flow(Options(profile="embedded")) == ()
    assert flow.towers_of_flow(Options()) == ("gmflow",)
