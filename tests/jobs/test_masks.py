"""Edit masks: boxes, times, frame numbers, pictures and clips as one."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vedit.errors import UsageError
from vedit.jobs.clips import Pixels, Selection, read_pixels
from vedit.jobs.masks import EditMask

DELAYS_CS = (50, 50, 100, 50, 50)


@pytest.fixture
def pixels(tmp_path: Path) -> Pixels:
    """Five frames of 20x10 that last 0.5, 0.5, 1, 0.5 and 0.5 s."""
    images = [Image.new("L", (20, 10), 40 * number) for number in range(5)]
    images[0].save(
        tmp_path / "clip.gif",
        save_all=True,
        append_images=images[1:],
        duration=[10 * delay for delay in DELAYS_CS],
    )
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
def test_a_range_holds_the_frames_whose_middle_lies_in_it(
    pixels: Pixels, spec: str, expected: list[int]
) -> None:
    assert by_frame(pixels, spec) == expected


def test_a_box_with_a_time_holds_only_then_and_masks_are_united(pixels: Pixels) -> None:
    found = of(pixels, "box:0,0,4,4@1s-2s", "frames:4-4")
    assert (found[[0, 1, 3]] == 0).all() and (found[4] == 255).all()
    assert found[2, :4, :4].all() and int((found[2] > 0).sum()) == 16


def test_times_and_numbers_are_those_of_the_source_whatever_is_selected(
    tmp_path: Path, pixels: Pixels
) -> None:
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


def test_a_picture_serves_all_frames_and_a_clip_is_matched_or_stretched(
    tmp_path: Path, pixels: Pixels
) -> None:
    assert rows(of(pixels, masks(tmp_path / "one.gif", 1))) == [0] * 5
    assert rows(of(pixels, masks(tmp_path / "five.gif", 5))) == [0, 1, 2, 3, 4]
    assert rows(of(pixels, masks(tmp_path / "three.gif", 3))) == [
        0,
        0,
        1,
        2,
        2,
    ]  # middles at 0.25, 0.75, 1.5, 2.25, 2.75 of 3 s


def test_a_mask_as_long_as_the_source_is_taken_by_the_same_selection(tmp_path: Path, pixels: Pixels) -> None:
    part = read_pixels(str(tmp_path / "clip.gif"), Selection(start=1, stride=2, size=(20, 10)))
    assert rows(of(part, masks(tmp_path / "five.gif", 5))) == [1, 3]


def test_at_latent_size_a_cell_holds_the_share_that_is_edited(pixels: Pixels) -> None:
    latent = EditMask(["box:1,0,2,10"], pixels).latent(slice(0, 2), 2)
    assert latent.shape == (2, 1, 5, 10)
    assert latent[0, 0, 0, :3].tolist() == [0.5, 0.5, 0.0]


LEFT = np.zeros((10, 20), np.uint8)
LEFT[:, :5] = 255


def painted(kind: str, path: Path) -> str:
    """The left quarter, as programs write it."""
    left = Image.fromarray(LEFT)
    if kind == "1 bit":
        picture = left.convert("1")
    elif kind == "labels 0 and 1":
        picture = Image.fromarray(LEFT // 255)
    elif kind == "palette of objects":
        picture = Image.fromarray(LEFT // 255).convert("P")
        picture.putpalette([0, 0, 0, 0, 128, 0])
    elif kind == "white on transparent":
        picture = Image.merge("RGBA", (left, left, left, left))
    elif kind == "red on transparent":
        picture = Image.merge("RGBA", (left, Image.new("L", left.size), Image.new("L", left.size), left))
    elif kind == "white, the rest hidden":  # the colour under transparency does not count
        white = Image.new("L", left.size, 255)
        picture = Image.merge("RGBA", (white, white, white, left))
    else:
        picture = Image.merge("LA", (left, Image.new("L", left.size, 255)))
    picture.save(path)
    return str(path)


KINDS = [
    "1 bit",
    "labels 0 and 1",
    "palette of objects",
    "white on transparent",
    "red on transparent",
    "white, the rest hidden",
    "grey with alpha",
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_is_read_as_the_program_meant_it(pixels: Pixels, tmp_path: Path, kind: str) -> None:
    assert (of(pixels, painted(kind, tmp_path / "m.png")) == LEFT).all()


def test_the_opposite_of_any_mask_is_said_before_it(pixels: Pixels, tmp_path: Path) -> None:
    assert (of(pixels, "not:" + painted("1 bit", tmp_path / "m.png")) == 255 - LEFT).all()
    assert (of(pixels, "not:box:0,0,5,10") == 255 - LEFT).all()
    assert by_frame(pixels, "not:frames:1-3") == [255, 0, 0, 0, 255]


def test_a_mask_that_edits_nothing_is_refused_with_its_opposite_and_one_that_edits_all_is_said(
    pixels: Pixels, tmp_path: Path
) -> None:
    Image.new("L", (20, 10)).save(tmp_path / "black.png")
    with pytest.raises(UsageError, match="black everywhere") as error:
        of(pixels, str(tmp_path / "black.png"))
    assert error.value.next_step.endswith(f"--mask not:{tmp_path / 'black.png'}")
    Image.new("L", (20, 10), 255).save(tmp_path / "white.png")
    said: list[str] = []
    EditMask([str(tmp_path / "white.png")], pixels, said.append)
    assert len(said) == 1 and "white everywhere" in said[0]


def test_a_mask_is_cut_and_scaled_as_the_clip_is(tmp_path: Path, pixels: Pixels) -> None:
    square = read_pixels(str(tmp_path / "clip.gif"), Selection(size=8, output=(10, 10)))
    picture = Image.new("L", (20, 10))
    picture.paste(255, (5, 0, 10, 10))  # the left half of the centre square
    picture.save(tmp_path / "m.png")
    found = of(square, str(tmp_path / "m.png"))
    assert found.shape == (5, 10, 10) and (found[:, :, :5] == 255).all() and (found[:, :, 5:] == 0).all()
    latent = EditMask([str(tmp_path / "m.png")], square).latent(
        slice(0, 1), 3, (8, 8)
    )  # 8 pixels fill 3 cells of 3, the last in part
    assert (
        latent.shape == (1, 1, 3, 3) and latent[0, 0, :, 0].tolist() == [1, 1, 1] and latent[0, 0, 0, 2] == 0
    )


@pytest.mark.parametrize(
    ("when", "wanted"),
    [  # frames whose middles are at 0.25, 0.75, 1.5, 2.25, 2.75 of 3 s
        ((Fraction(1, 2), Fraction(1)), [0, 0, 255, 255, 255]),
        ((Fraction(0), Fraction(1, 2)), [255, 255, 0, 0, 0]),  # that of the middle begins the second half
        ((Fraction(2, 3), Fraction(1)), [0, 0, 0, 255, 255]),
    ],
)
def test_masks_hold_in_a_part_of_the_clip(
    pixels: Pixels, when: tuple[Fraction, Fraction], wanted: list[int]
) -> None:
    assert EditMask([], pixels, when=when).pixels(slice(None))[:, 0, 0].tolist() == wanted
    boxed = EditMask(["box:0,0,5,5"], pixels, when=when).pixels(slice(1, 4))
    assert boxed[:, 0, 0].tolist() == wanted[1:4] and not boxed[:, :, 5:].any()
    with pytest.raises(UsageError, match=r"holds from 2\.85 s to 3\.00 s, and no frame"):
        EditMask([], pixels, when=(Fraction(95, 100), Fraction(1)))


@pytest.mark.parametrize(
    ("size", "frames", "said"),
    [
        ((20, 10), 1, ""),
        ((61, 30), 1, ""),  # of the same proportions, but for rounding
        ((20, 10), 5, ""),
        ((20, 20), 1, "is 20x20 and the clip 20x10: it is stretched to the shape of the clip"),
        ((20, 10), 3, "has 3 frames, and 5 are edited: it is stretched over their time"),
        ((20, 10), 7, "has 7 frames, and 5 are edited"),
    ],
)
def test_a_mask_of_another_shape_or_length_is_warned_of(
    pixels: Pixels, tmp_path: Path, size: tuple[int, int], frames: int, said: str
) -> None:
    images = [Image.new("L", size, 255) for _ in range(frames)]
    for number, image in enumerate(images):
        image.putpixel((number, 0), 0)
    name = str(tmp_path / "m.gif")
    images[0].save(name, save_all=True, append_images=images[1:], duration=100)
    told: list[str] = []
    EditMask([name], pixels, told.append)
    assert len(told) == bool(said) and all(said in line for line in told)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nothing.gif", "neither a file nor a form"),
        ("box:1,2,3", "neither a file nor a form"),
        ("box:15,0,10,5", "does not lie in the 20x10 frame"),
        ("0,0,99,5", "does not lie in the 20x10 frame"),
        ("box:0,0,0,5", "has no area: 0 by 5 pixels"),
        ("5,5,2,9", "has no area: -3 by 4 pixels"),
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
