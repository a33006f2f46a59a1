from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path

import numpy as np
import pytest

from vedit.data import moving_mnist
from vedit.data.moving_mnist import DIRECTIONS, draw, fly, font_glyphs, motion_caption, motion_words
from vedit.errors import InputError


def flooded(mask: np.ndarray) -> int:
    """Components by flood fill, the slow and certain way."""
    left = {(int(row), int(column)) for row, column in zip(*np.nonzero(mask), strict=True)}
    count = 0
    while left:
        count += 1
        todo = [left.pop()]
        while todo:
            row, column = todo.pop()
            for place in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
                if place in left:
                    left.remove(place)
                    todo.append(place)
    return count


def test_components_are_those_that_a_flood_fill_finds() -> None:
    rng = np.random.default_rng(0)
    for density in (0.1, 0.4, 0.6, 0.9):
        mask = rng.random((24, 17)) < density
        labels = moving_mnist.label(mask)
        assert labels.max() == flooded(mask)
        assert np.array_equal(labels > 0, mask)
        for number in range(1, labels.max() + 1):
            assert flooded(labels == number) == 1


def test_an_empty_picture_has_no_components() -> None:
    assert moving_mnist.label(np.zeros((5, 5), bool)).max() == 0
    assert moving_mnist.blobs(np.zeros((64, 64), np.uint8)) == []


def test_eight_directions_are_told_with_y_pointing_down() -> None:
    for number, name in enumerate(DIRECTIONS):
        angle = number * math.pi / 4
        assert moving_mnist.direction((3 * math.cos(angle), -3 * math.sin(angle))) == name
    assert moving_mnist.direction((0.1, 0.1)) == ""


def test_the_first_stretch_that_is_long_enough_gives_the_direction() -> None:
    bounce = np.array(
        [[2, 0], [0, 0], [3, 0], [6, 0], [9, 0], [12, 0], [9, 0], [6, 0]], float
    )  # one step to the wall, then right
    assert motion_words(bounce) == "moving right"
    assert motion_words(np.zeros((6, 2))) == "standing still"
    assert motion_words(np.array([[0, 0], [4, 0], [0, 0]], float)) == ""


def test_a_digit_flies_at_a_tenth_of_the_free_way_and_stays_on_the_canvas() -> None:
    for seed in range(20):
        corners = fly(np.random.default_rng(seed), 20, straight=False)
        assert corners.min() >= 0
        assert corners.max() <= 36
        steps = np.hypot(*np.diff(corners, axis=0).T)
        assert steps.max() <= 3.6 + 1e-9
        assert np.isclose(steps, 3.6).sum() >= 10  # others are cut short by a wall


def test_straight_flights_keep_one_velocity() -> None:
    for seed in range(20):
        steps = np.diff(fly(np.random.default_rng(seed), 20, straight=True), axis=0)
        assert np.allclose(steps, steps[0])
        assert np.hypot(*steps[0]) > 1


def test_a_drawn_clip_depends_on_seed_and_number_alone() -> None:
    first = draw(4, 7, font_glyphs)
    assert np.array_equal(first.frames_FYX, draw(4, 7, font_glyphs).frames_FYX)
    assert not np.array_equal(first.frames_FYX, draw(4, 8, font_glyphs).frames_FYX)
    assert first.caption.startswith(f"digit {first.digits[0]} moving ")


def test_the_tracked_caption_of_one_digit_is_the_true_one() -> None:
    """Measured before: 90 % exact and all within one direction; the run of the true path is the oracle."""
    exact, flights = 0, [draw(0, number, font_glyphs) for number in range(30)]
    for flight in flights:
        true, seen = (
            motion_words(flight.paths[0]),
            motion_caption(flight.frames_FYX, 1).removeprefix("a digit "),
        )
        apart = abs(
            DIRECTIONS.index(true.removeprefix("moving ")) - DIRECTIONS.index(seen.removeprefix("moving "))
        )
        assert min(apart, 8 - apart) <= 1
        exact += true == seen
    assert exact >= 0.9 * len(flights)


def around(words: str) -> list[str]:
    """A direction and its two neighbours: positions in the file are rounded to pixels."""
    if not words.startswith("moving "):
        return [words]
    place = DIRECTIONS.index(words.removeprefix("moving "))
    return [f"moving {DIRECTIONS[(place + turn) % 8]}" for turn in (-1, 0, 1)]


def test_two_digits_are_told_apart_or_nothing_is_said() -> None:
    told = 0
    for number in range(20):
        flight = draw(1, number, font_glyphs, count=2)
        caption = motion_caption(flight.frames_FYX)
        if caption == "two digits moving":
            continue
        told += 1
        one, other = (words.removeprefix("a digit ") for words in caption.split(" and a digit "))
        first, second = (
            {near for start in range(17) for near in around(motion_words(path[start : start + 4]))}
            for path in flight.paths
        )
        assert (one in first and other in second) or (one in second and other in first), (number, caption)
    assert told >= 10


def test_overlaps_show_the_brighter_pixel() -> None:
    both = draw(2, 0, font_glyphs, count=2).frames_FYX
    assert both.max() == 255
    assert both.dtype == np.uint8


def test_the_public_file_is_mapped_in_its_own_layout(tmp_path: Path) -> None:
    array = np.zeros((20, 3, 64, 64), np.uint8)
    np.save(tmp_path / "mnist_test_seq.npy", array)
    assert moving_mnist.open_file(tmp_path / "mnist_test_seq.npy").shape == (20, 3, 64, 64)


@pytest.mark.parametrize("content", [np.zeros((20, 64, 64), np.uint8), np.zeros((20, 3, 64, 64), np.float32)])
def test_another_array_is_refused_with_its_shape(tmp_path: Path, content: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", content)
    with pytest.raises(InputError, match=r"20.*(uint8|float32)"):
        moving_mnist.open_file(tmp_path / "a.npy")


def test_what_is_no_array_is_refused_and_a_pickle_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "text.npy").write_text("hello")
    with pytest.raises(InputError, match="NumPy"):
        moving_mnist.open_file(tmp_path / "text.npy")
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match="NumPy"):
        moving_mnist.open_file(tmp_path / "objects.npy")
    with pytest.raises(InputError, match="no such file"):
        moving_mnist.open_file(tmp_path / "none.npy")


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def test_digits_of_mnist_come_with_their_labels(tmp_path: Path) -> None:
    pictures = np.arange(3 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(3, 28, 28)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pictures)))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([5, 0, 4], np.uint8))))
    glyphs = moving_mnist.mnist_glyphs(tmp_path / "train-images-idx3-ubyte.gz")
    labels = {5: 0, 0: 1, 4: 2}
    for seed in range(5):
        digit, picture = glyphs(np.random.default_rng(seed))
        assert np.array_equal(picture, pictures[labels[digit]])


@pytest.mark.parametrize(
    "damage", [b"", b"\0\0\x0d\1\0\0\0\1", b"\0\0\x08\3\0\0\0\1\0\0\0\x1c\0\0\0\x1c" + b"x"]
)
def test_a_damaged_mnist_file_is_refused(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "images").write_bytes(damage)
    with pytest.raises(InputError, match="cannot be read"):
        moving_mnist.read_idx(tmp_path / "images")
