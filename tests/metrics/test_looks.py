"""Protects vedit/metrics/_looks.py: what is still, of one colour or noise is told, and what is a picture is
not.
"""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from vedit.data import scenes
from vedit.data.cases import load_cases
from vedit.metrics import _looks as looks


def picture(size: int = 96, frames: int = 3) -> np.ndarray:
    """Two waves with a little grain, moving by a pixel a frame."""
    y, x = np.mgrid[:size, :size]
    wave = 128 + 50 * np.sin(x / 5 + y / 9) + 30 * np.cos(x / 11 - y / 4)
    grain = np.random.default_rng(0).normal(0, 2, (frames, size, size, 3))
    return np.clip(
        np.stack([np.roll(wave, t, 1)[..., None].repeat(3, 2) for t in range(frames)]) + grain, 0, 255
    ).astype(np.uint8)


def noise(size: int = 96, frames: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (frames, size, size, 3), dtype=np.uint8)


def jpeg(frame: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def enlarged(frame: np.ndarray, factor: int, how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(frame).resize((frame.shape[1] * factor, frame.shape[0] * factor), how))


def test_a_picture_that_moves_has_no_remark() -> None:
    assert looks.remarks(picture(), None) == [] and looks.remarks(picture(), picture()[:2]) == []


def test_frozen_clips_are_told_also_behind_a_codec_and_not_with_a_frozen_source() -> None:
    still = np.repeat(picture()[:1], 4, axis=0)
    nearly = np.stack([jpeg(still[0], quality) for quality in (97, 98, 99)])
    assert looks.is_frozen(still) and looks.remarks(still, picture())[0].startswith("frozen")
    assert looks.is_frozen(nearly) == (np.abs(nearly.astype(int) - nearly[0]).max() <= 3)
    assert looks.remarks(still, still) == [] and looks.remarks(still[:1], None) == []
    small = still.copy()
    small[2, 40:44, 40:44] += 30  # a thing of four pixels that moves is motion
    assert not looks.is_frozen(small)


@pytest.mark.parametrize(
    ("colour", "name"),
    [((0, 0, 0), "black"), ((255, 255, 255), "white"), ((10, 200, 30), "of one colour, rgb 10 200 30")],
)
def test_frames_of_one_colour_are_counted_and_named(colour: tuple[int, ...], name: str) -> None:
    clip = picture()
    clip[1] = colour
    (said,) = looks.remarks(clip, None)
    assert f"1 of 3 frames is {name}" in said
    assert looks.remarks(clip, clip) == [] and looks.remarks(clip, picture()) == [said]


@pytest.mark.parametrize("make", [
    lambda: noise()[0],
    lambda: np.clip(np.random.default_rng(2).normal(128, 30, (64, 64, 3)), 0, 255).astype(np.uint8),
    lambda: noise()[0][..., :1].repeat(3, 2),
    lambda: jpeg(noise()[0], 75),
    lambda: jpeg(noise(128)[0], 30),
    lambda: enlarged(noise(64)[0], 2, Image.Resampling.NEAREST),
    lambda: enlarged(noise(64)[0], 4, Image.Resampling.BICUBIC),
])  # fmt: skip
def test_noise_is_known_in_many_dresses(make: object) -> None:
    assert looks.is_noise(make())  # type: ignore[operator]


def test_stripes_squares_and_drawn_scenes_are_not_noise() -> None:
    y, x = np.mgrid[:96, :96]
    for pattern in ((x // 2 + y // 2) % 2, (x + y) % 2, x % 3 // 2, (x // 3) * (y // 3) % 2):
        assert not looks.is_noise((pattern[..., None] * [200, 30, 90]).astype(np.uint8))
    for case in load_cases("drawn-scenes-tuning")[::6]:
        frames = (scenes.clip(case.truth, 1).permute(0, 2, 3, 1) * 255).round().byte().numpy()
        assert not looks.unclear_frames(frames).any()
