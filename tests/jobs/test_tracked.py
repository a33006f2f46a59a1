"""Masks that follow what they hold: drawn clips whose motion is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from PIL import Image

from vedit.data import scenes
from vedit.data.cases import load_cases
from vedit.errors import UsageError
from vedit.jobs.clips import Pixels, Selection, read_pixels
from vedit.jobs.masks import EditMask, check_specs, file_of
from vedit.jobs.tracked import Place, growth_of, moved_box, share_inside
from vedit.pixels import to_bytes

FRAMES = 8


def written(frames_FYX3: np.ndarray, path: Path) -> Pixels:
    images = [Image.fromarray(frame) for frame in frames_FYX3]
    images[0].save(path, save_all=True, append_images=images[1:], lossless=True, duration=100)
    return read_pixels(str(path), Selection(size=(frames_FYX3.shape[2], frames_FYX3.shape[1])))


def moving_scenes() -> list[scenes.Scene]:
    """One scene of each motion."""
    found = {}
    for case in load_cases("drawn-scenes-tuning"):
        found.setdefault(case.scene.motion, case.scene)
    return [found[motion] for motion in ("left", "right", "up", "down", "still")]


def covers_of(scene: scenes.Scene) -> np.ndarray:
    """Where the object is, (F, Y, X) bool."""
    batch = scenes.stack([scene] * FRAMES)
    return np.asarray(scenes.object_mask(batch, torch.arange(FRAMES) / (FRAMES - 1)) > 0.5)


def box_of(cover_YX: np.ndarray) -> tuple[int, int, int, int]:
    """The smallest box around an object: x, y, width, height."""
    rows, columns = np.where(cover_YX.any(1))[0], np.where(cover_YX.any(0))[0]
    return columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("start", [0, 4])
def test_a_box_stays_around_its_object(tmp_path: Path, start: int) -> None:
    shares = []
    for scene in moving_scenes():
        pixels, covers = (
            written(to_bytes(scenes.clip(scene, FRAMES) * 2 - 1), tmp_path / "c.webp"),
            covers_of(scene),
        )
        spec = f"track:{','.join(map(str, box_of(covers[start])))}@{0.1 * start + 0.05:.2f}s"
        masks = EditMask([spec], pixels).pixels(slice(None)) > 127
        for mask, cover in zip(masks, covers, strict=True):
            x, y, width, height = box_of(cover)
            true = np.zeros_like(mask)
            true[y : y + height, x : x + width] = True
            shares.append(overlap(mask, true))
    assert np.mean(shares) > 0.93 and min(shares) > 0.8


def test_a_painted_mask_stays_on_its_object(tmp_path: Path) -> None:
    shares = []
    for scene in moving_scenes():
        pixels, covers = (
            written(to_bytes(scenes.clip(scene, FRAMES) * 2 - 1), tmp_path / "c.webp"),
            covers_of(scene),
        )
        Image.fromarray(covers[0].astype(np.uint8) * 255).save(tmp_path / "m.png")
        masks = EditMask([f"track:{tmp_path / 'm.png'}"], pixels).pixels(slice(None)) > 127
        assert np.array_equal(masks[0], covers[0])
        shares += [overlap(mask, cover) for mask, cover in zip(masks, covers, strict=True)]
    assert np.mean(shares) > 0.9


@pytest.mark.parametrize("kind", ["box", "painted"])
def test_what_a_cut_takes_away_is_lost_and_a_warning_says_when(tmp_path: Path, kind: str) -> None:
    rng, told = np.random.default_rng(0), list[str]()
    before, after = (rng.integers(0, 255, (8, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1) for _ in range(2))
    pixels = written(
        np.stack([before, np.roll(before, 1, 1), after, np.flip(before, 1)]), tmp_path / "c.webp"
    )
    Image.fromarray(np.pad(np.full((32, 32), 255, np.uint8), 16)).save(tmp_path / "m.png")
    spec = "track:16,16,32,32@0.1s" if kind == "box" else f"track:{tmp_path / 'm.png'}@0.1s"
    masks = EditMask([spec], pixels, told.append).pixels(slice(None))
    assert masks[0].any() and masks[1].any() and not masks[-1].any()
    assert len(told) == 1 and f"the mask {spec} is lost at 0." in told[0]
    opposite = EditMask([f"not:{spec}"], pixels).pixels(slice(None))
    assert np.array_equal(opposite[:2], 255 - masks[:2]) and not opposite[-1].any()


@pytest.mark.parametrize(("growth", "step"), [(0.0, (3.0, -1.0)), (0.1, (0.0, 0.0)), (-0.05, (1.5, 2.0))])
def test_a_box_moves_and_grows_as_the_flow_says(growth: float, step: tuple[float, float]) -> None:
    y, x = np.mgrid[0:40, 0:60] + 0.5
    flow = np.stack([step[0] + growth * (x - 30), step[1] + growth * (y - 20)])
    flow[:, ::7, ::5] += 25  # one point in 35 is wrong
    box = moved_box(Place(30, 20, 20, 10), flow, np.ones((40, 60), bool), np.ones(2))
    assert box is not None
    wanted = (30 + step[0], 20 + step[1], 20 * (1 + growth), 10 * (1 + growth))
    np.testing.assert_allclose(box, wanted, atol=1e-9)


def test_growth_is_believed_up_to_a_fifth_and_of_few_points_not_at_all() -> None:
    at = np.random.default_rng(1).random((50, 2)) * 10
    assert growth_of(at, at * 0.5) == 0.2 and growth_of(at[:4], at[:4] * 0.1) == 0.0


def test_a_box_that_nobody_sees_again_is_not_carried_on() -> None:
    flow = np.zeros((2, 20, 20))
    assert moved_box(Place(10, 10, 8, 8), flow, np.zeros((20, 20), bool), np.ones(2)) is None
    assert (
        share_inside(Place(0, 10, 8, 8), (20, 20)) == 0.5 and share_inside(Place(30, 10, 8, 8), (20, 20)) == 0
    )


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("track:nowhere.png", "neither a box nor a file"),
        ("track:5,5,100,5", "does not lie in the 64x64 frame"),
        ("track:1,2,3", "is not x,y,width,height"),
        ("track:1,2,30,40@1.2.3s", "'1.2.3s' is not a time in seconds"),
        ("track:1,2,30,40@1m", "'1m' is not a time in seconds"),
        ("track:1,2,30,40@", "'' is not a time in seconds"),
        ("track:1,2,30,40@1s-2s", "'1s-2s' is not a time in seconds"),
        ("track:-1,2,30,40", "is not x,y,width,height"),
        ("track:", "nothing is named"),
        ("track:5,5,0,5", "the mask track:5,5,0,5 has no area"),
        ("track:60,60,20,20", "of it is in the frame is box:60,60,4,4"),
    ],
)
def test_what_cannot_be_followed_is_refused_before_a_clip_is_read(spec: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        check_specs([spec], (64, 64))


def test_a_painted_clip_is_followed_from_its_first_frame_which_is_told(tmp_path: Path) -> None:
    pixels = written(np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), np.uint8), tmp_path / "c.webp")
    painted = np.zeros((2, 16, 16, 3), np.uint8)
    painted[:, 4:12, 4:12] = 255
    written(painted * np.array([1, 0], np.uint8)[:, None, None, None], tmp_path / "first.webp")
    written(painted * np.array([0, 1], np.uint8)[:, None, None, None], tmp_path / "second.webp")
    said: list[str] = []
    mask = EditMask([f"track:{tmp_path / 'first.webp'}"], pixels, said.append)
    assert np.array_equal(mask.pixels(slice(0, 1))[0], painted[0, ..., 0])
    assert any("has 2 frames, and track: follows the first of them" in line for line in said)
    with pytest.raises(UsageError, match="nothing as bright as half of white at first"):
        EditMask([f"track:{tmp_path / 'second.webp'}"], pixels)


def test_a_time_outside_the_clip_is_refused(tmp_path: Path) -> None:
    pixels = written(
        np.zeros((3, 16, 16, 3), np.uint8) + np.arange(3, dtype=np.uint8)[:, None, None, None],
        tmp_path / "c.webp",
    )
    with pytest.raises(UsageError, match="drawn at 9 s, where no frame is edited"):
        EditMask(["track:1,1,4,4@9s"], pixels)


def test_the_file_of_a_mask_is_found_behind_its_words() -> None:
    names = [
        "not:m.png",
        "track:m.png",
        "not:track:m.png@2s",
        "track:1,2,3,4@1s",
        "10%,10%,5%,5%",
        "box:1,2,3,4",
    ]
    assert [file_of(name) for name in names] == ["m.png", "m.png", "m.png", None, None, None]
