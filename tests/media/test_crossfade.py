"""The images between two clips, against NumPy."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.media.clips import noise
from vedit.media.crossfade import blended, cuts, mixed
from vedit.media.frames import Clip, Frame
from vedit.media.streams.planes import Planes


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(
    "share", [Fraction(0), Fraction(1, 3), Fraction(1, 2), Fraction(7, 12800), Fraction(1)]
)
def test_opaque_pictures_are_mixed_by_the_share_rounded_half_up(mode: str, share: Fraction) -> None:
    pictures = [noise(19, 7, seed, mode) for seed in (1, 2)]
    a, b = (np.asarray(picture).astype(float) for picture in pictures)
    wanted = np.floor(a + (b - a) * float(share) + 0.5 + 1e-9)
    assert np.array_equal(np.asarray(mixed(*pictures, share)), wanted)


def test_colours_count_as_far_as_they_are_opaque() -> None:
    pictures = [noise(23, 11, seed, "RGBA") for seed in (3, 4)]
    a, b = (np.asarray(picture).astype(float) for picture in pictures)
    got = np.asarray(mixed(*pictures, Fraction(1, 4))).astype(float)
    alpha = a[..., 3:] * 0.75 + b[..., 3:] * 0.25
    assert np.array_equal(got[..., 3:], np.floor(alpha + 0.5))
    colours = (a[..., :3] * a[..., 3:] * 0.75 + b[..., :3] * b[..., 3:] * 0.25) / np.maximum(alpha, 1e-9)
    is_seen = np.broadcast_to(got[..., 3:] > 0, colours.shape)
    assert np.abs(got[..., :3] - colours)[is_seen].max() <= 0.5 + 1e-6
    assert not got[..., :3][~is_seen].any()


def test_a_transparent_picture_lends_no_colour() -> None:
    clear, red = Image.new("RGBA", (1, 1), (9, 9, 9, 0)), Image.new("RGB", (1, 1), (200, 0, 0))
    assert mixed(clear, red, Fraction(1, 2)).getpixel((0, 0)) == (200, 0, 0, 128)
    assert mixed(clear, clear, Fraction(1, 2)).getpixel((0, 0)) == (0, 0, 0, 0)


def test_planes_are_mixed_plane_by_plane() -> None:
    one, other = (Planes(*(noise(w, h, seed, "L") for w, h in ((5, 3), (3, 2), (3, 2)))) for seed in (5, 6))
    got = mixed(one, other, Fraction(2, 5))
    for name in "yuv":
        a, b = (np.asarray(getattr(planes, name)).astype(int) for planes in (one, other))
        assert np.array_equal(np.asarray(getattr(got, name)), (10 * a + 4 * (b - a) + 5) // 10)


@settings(deadline=None)
@given(
    st.lists(st.integers(-50, 500), max_size=12),
    st.integers(1, 400),
    st.integers(1, 40),
    st.integers(1, 20),
)
def test_cuts_reach_from_end_to_end_with_no_image_longer_than_a_step(
    begins: list[int], length: int, step: int, gap: int
) -> None:
    found = cuts(begins, length, step, gap)
    lengths = np.diff(found)
    assert (found[0], found[-1]) == (0, length)
    assert (lengths >= 1).all() and (lengths <= step).all()
    for begin in begins:  # each change that is far enough from all others is a cut
        others = {0, length, *begins} - {begin}
        if 0 < begin < length and all(abs(begin - other) >= gap for other in others):
            assert begin in found


def test_an_image_shows_what_both_clips_show_in_its_middle() -> None:
    clip = Clip(1, 1)

    def frames(*given: tuple[int, int, int]) -> list[Frame]:
        return [
            Frame(0, pts, duration, "rgb", clip.canvas, Image.new("RGB", (1, 1), (level, 0, 0)))
            for pts, duration, level in given
        ]

    tail, head = frames((-3, 7, 0), (4, 6, 100)), frames((0, 6, 200), (6, 20, 50))
    got = list(blended(clip, tail, head, 10, 5, 2))
    assert [(frame.pts, frame.duration) for frame in got] == [(0, 4), (4, 2), (6, 4)]
    levels = [frame.pixels.getpixel((0, 0))[0] for frame in got]
    assert levels == [round(200 * 0.2), round(100 + 100 * 0.5), round(100 - 50 * 0.8)]
