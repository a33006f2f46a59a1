"""Edit masks: boxes, times, frame numbers, pictures and clips as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vedit.app.clips import Pixels, Selection, read_pixels
from vedit.app.masks import EditMask
from vedit.errors import UsageError

DELAYS_CS = (50, 50, 100, 50, 50)


@pytest.fixture
def pixels(tmp_path: Path) -> Pixels:
    """Five frames of 20x10 that last 0.5, 0.5, 1, 0.5 and 0.5 s."""
    images = [Image.new("L", (20, 10), 40 * number) for number in range(5)]
    images[0].save(tmp_path / "clip.gif", save_all=True, append_images=images[1:], duration=[10 * delay for delay in DELAYS_CS])
    return read_pixels(str(tmp_path / "clip.gif"), Selection(size=(20, 10)))


def of(pixels: Pixels, *specs: str) -> np.ndarray:
    return EditMask(specs, pixels).pixels(slice(None))


def by_frame(pixels: Pixels, *specs: str) -> list[int]:
    """The mask of each frame, which is the same everywhere in it."""
    found = of(pixels, *specs)
    assert all(len(np.unique(frame)) == 1 for frame in found)
    return [int(frame[0, 0]) for frame in found]


@pytest.mark.parametrize("spec", ["2,1,12,6", "box:2,1,10,5", "box:10%,10%,50%,50%"])
def test_a_box_is_edited_inside_and_kept_outside(pixels: Pixels, spec: str) -> None:
    expected = np.zeros((5, 10, 20), np.uint8)
    expected[:, 1:6, 2:12] = 255
    assert (of(pixels, spec) == expected).all()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("time:1s-", [0, 0, 255, 255, 255]),
        ("time:-1s", [255, 255, 0, 0, 0]),
        ("time:0.5s-2000ms", [0, 255, 255, 0, 0]),
        ("time:1-2", [0, 0, 255, 0, 0]),
        ("frames:1-3", [0, 255, 255, 255, 0]),
        ("frames:4-", [0, 0, 0, 0, 255]),
        ("frames:-0", [255, 0, 0, 0, 0]),
        ("time:0s-~2s", [32, 96, 191, 255, 255]),  # middles at 0.25, 0.75, 1.5, 2.25 and 2.75 of 2 s
        ("time:-3s~1s", [255, 255, 255, 191, 64]),
    ],
)
def test_a_range_holds_the_frames_whose_middle_lies_in_it(pixels: Pixels, spec: str, expected: list[int]) -> None:
    assert by_frame(pixels, spec) == expected


def test_a_box_with_a_time_holds_only_then_and_masks_are_united(pixels: Pixels) -> None:
    found = of(pixels, "box:0,0,4,4@1s-2s", "frames:4-4")
    assert (found[[0, 1, 3]] == 0).all() and (found[4] == 255).all()
    assert found[2, :4, :4].all() and int((found[2] > 0).sum()) == 16


def test_times_and_numbers_are_those_of_the_source_whatever_is_selected(tmp_path: Path, pixels: Pixels) -> None:
    part = read_pixels(str(tmp_path / "clip.gif"), Selection(start=1, stride=2, size=(20, 10)))
    assert by_frame(part, "frames:3-") == [0, 255]
    assert by_frame(part, "time:2s-") == [0, 255]


def test_windows_of_a_mask_are_parts_of_the_whole(pixels: Pixels) -> None:
    mask = EditMask(["box:1,1,3,3@0.5s-2s~1s", "frames:3-4"], pixels)
    parts = [mask.pixels(slice(first, first + 2)) for first in (0, 2, 4)]
    assert (np.concatenate(parts) == mask.pixels(slice(None))).all()


def masks(path: Path, count: int) -> str:
    """A clip whose frame n is white in row n."""
    images = []
    for number in range(count):
        picture = Image.new("L", (20, 10))
        picture.paste(255, (0, number, 20, number + 1))
        images.append(picture)
    images[0].save(path, save_all=True, append_images=images[1:], duration=100)
    return str(path)


def rows(found: np.ndarray) -> list[int]:
    return [int(frame[:, 0].argmax()) for frame in found]


def test_a_picture_serves_all_frames_and_a_clip_is_matched_or_stretched(tmp_path: Path, pixels: Pixels) -> None:
    assert rows(of(pixels, masks(tmp_path / "one.gif", 1))) == [0] * 5
    assert rows(of(pixels, masks(tmp_path / "five.gif", 5))) == [0, 1, 2, 3, 4]
    assert rows(of(pixels, masks(tmp_path / "three.gif", 3))) == [0, 0, 1, 2, 2]  # middles at 0.25, 0.75, 1.5, 2.25, 2.75 of 3 s


def test_a_mask_as_long_as_the_source_is_taken_by_the_same_selection(tmp_path: Path, pixels: Pixels) -> None:
    part = read_pixels(str(tmp_path / "clip.gif"), Selection(start=1, stride=2, size=(20, 10)))
    assert rows(of(part, masks(tmp_path / "five.gif", 5))) == [1, 3]


def test_at_latent_size_a_cell_holds_the_share_that_is_edited(pixels: Pixels) -> None:
    latent = EditMask(["box:1,0,2,10"], pixels).latent(slice(0, 2), 2)
    assert latent.shape == (2, 1, 5, 10)
    assert latent[0, 0, 0, :3].tolist() == [0.5, 0.5, 0.0]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nothing.gif", "neither a file nor a form"),
        ("box:1,2,3", "neither a file nor a form"),
        ("box:15,0,10,5", "does not lie in the 20x10 frame"),
        ("0,0,99,5", "does not lie in the 20x10 frame"),
        ("box:0,0,0,5", "does not lie"),
        ("time:-", "empty or open"),
        ("time:2s-1s", "empty or open"),
        ("time:9s-", r"holds no frame of this clip"),
        ("frames:7-9", "frames 0 to 4 of the source"),
    ],
)
def test_what_is_not_a_mask_is_refused(pixels: Pixels, spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        EditMask([spec], pixels)
    assert error.value.right
