from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vedit.data.folder import (
    Inspection,
    Limits,
    difference_hash,
    doubles,
    fault,
    thumbnails,
    uneven_share,
    words_of,
)


def pictures(seed: int, size: tuple[int, int] = (72, 64)) -> list[Image.Image]:
    """Four smooth pictures."""
    rng = np.random.default_rng(seed)
    return [
        Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
        for _ in range(4)
    ]


def clip(name: str, seed: int, side: int = 64, shown: list[Image.Image] | None = None) -> Inspection:
    shown = shown or pictures(seed)
    return Inspection(name, side, side, [0.1] * 4, difference_hash(shown), thumbnails(shown))


def test_the_difference_hash_is_the_sign_of_each_step_to_the_right() -> None:
    ramp = Image.fromarray(np.tile(np.arange(9, dtype=np.uint8) * 20, (8, 1)))
    assert difference_hash([ramp]) == "00" * 8
    assert difference_hash([ramp.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]) == "ff" * 8


def test_a_clip_encoded_again_smaller_and_with_fewer_colours_is_a_double_and_the_larger_stays() -> None:
    originals = [clip(f"{seed:02d}.gif", seed) for seed in range(12)]
    again = [
        clip(
            f"small{seed:02d}.gif",
            seed,
            48,
            [picture.resize((48, 48)).quantize(32).convert("RGB") for picture in pictures(seed)],
        )
        for seed in range(12)
    ]
    assert doubles([*again, *originals]) == {f"small{seed:02d}.gif": f"{seed:02d}.gif" for seed in range(12)}


def test_different_clips_are_no_doubles_even_when_they_are_nearly_all_black() -> None:
    assert doubles([clip(f"{seed}.gif", seed) for seed in range(30)]) == {}
    dots = []
    for place in range(6):
        canvas = np.zeros((64, 64), np.uint8)
        canvas[8 + place * 8 : 20 + place * 8, 20:32] = 255
        dots.append(clip(f"{place}.gif", 0, shown=[Image.fromarray(canvas)] * 4))
    assert doubles(dots) == {}
    assert doubles([]) == {}


@pytest.mark.parametrize(
    ("delays", "share"),
    [
        ([10] * 10, 0),
        ([10, 10, 20, 10, 30, 10], 0),
        ([10, 10, 14, 10, 10], 0.2),
        ([3, 3, 4, 3, 3, 4], 0),
        ([10, 15, 10, 26, 10, 10], 2 / 6),
    ],
)
def test_uneven_frames_are_those_that_are_no_multiple_of_the_usual_delay(
    delays: list[float], share: float
) -> None:
    assert uneven_share([delay / 100 for delay in delays]) == pytest.approx(share)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"width": 20}, "smaller"),
        ({"delays_s": [0.1]}, "frames"),
        ({"delays_s": [0.1, 0.16, 0.1, 0.1]}, "delay"),
        ({"delays_s": [9.0, 9.0]}, "lasts"),
        ({}, ""),
    ],
)
def test_each_fault_is_named(changes: dict[str, object], word: str) -> None:
    said = fault(clip("a.gif", 0)._replace(**changes), Limits(max_seconds=10))  # type: ignore[arg-type]
    assert word in said
    assert bool(said) == bool(word)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a kitten turning.mp4", "a kitten turning"),
        ("man-skiing_02.gif", "man skiing"),
        ("HorseJump.mp4", "Horse Jump"),
        ("0001.gif", ""),
        ("x/y/red ball.gif", "red ball"),
    ],
)
def test_captions_from_names_are_their_words(name: str, words: str) -> None:
    assert words_of(name) == words
