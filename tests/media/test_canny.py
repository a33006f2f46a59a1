"""Edges, against what OpenCV 5.0 gives (cv2.Canny of the same pixels), kept as its answers."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from vedit.media.canny import edges


def picture(seed: int, rows: int, columns: int, block: int) -> np.ndarray:
    """Blocks of random colours."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (rows // block + 1, columns // block + 1, 3)).astype(np.uint8)
    made: np.ndarray = np.kron(small, np.ones((block, block, 1), np.uint8))[:rows, :columns]
    return made


def test_a_square_has_the_edges_that_opencv_finds() -> None:
    frame = np.zeros((9, 9, 3), np.uint8)
    frame[3:6, 3:6] = 255
    expected = [
        ".........", ".........", "....#....", "...#.#...", "..#..#...", "...###...", ".........", ".........", ".........",
    ]  # fmt: skip
    assert ["".join("#" if pixel else "." for pixel in row) for row in edges(frame)[..., 0]] == expected


@pytest.mark.parametrize(
    ("seed", "size", "block", "levels", "count", "digest"),
    [
        (1, (40, 60), 1, (100, 200), 886, "2b1eadf69c8a6f2f"),
        (2, (33, 47), 4, (100, 200), 550, "3bcd22af039860a1"),
        (3, (64, 64), 7, (300, 700), 828, "ba4d35e9bdacba7b"),
        (4, (3, 50), 2, (50, 60), 58, "8aa2b06df26894e6"),
        (5, (48, 48), 1, (400, 900), 665, "e597ead27df0ffb4"),
    ],
)
def test_edges_are_opencvs(seed: int, size: tuple[int, int], block: int, levels: tuple[int, int], count: int, digest: str) -> None:  # fmt: skip
    found = edges(picture(seed, *size, block), *levels)[..., 0]
    assert (found > 0).sum() == count
    assert hashlib.sha256(found.tobytes()).hexdigest()[:16] == digest


def test_weak_pixels_belong_to_an_edge_that_a_strong_one_begins() -> None:
    frame = np.zeros((12, 24, 3), np.uint8)
    frame[6:] = np.linspace(20, 120, 24).astype(np.uint8)[:, None]  # a step that grows from left to right
    weak, found, strong = (
        edges(frame, *levels)[..., 0] > 0 for levels in ((100, 100), (100, 300), (300, 300))
    )
    assert strong.sum() < found.sum() and (found == weak).all() and not edges(frame, 100, 10**6).any()


def test_edges_are_white_on_black_in_all_three_channels() -> None:
    found = edges(picture(1, 20, 30, 5))
    assert found.shape == (20, 30, 3) and found.dtype == np.uint8 and set(np.unique(found)) == {0, 255}
    assert (found[..., :1] == found).all()
