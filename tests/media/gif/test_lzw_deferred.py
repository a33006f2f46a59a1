"""Every stream decodes to what was encoded, by the reference decoder and by Pillow's, and is shorter where it can be."""

from __future__ import annotations

import random

import pytest

from tests import reference
from tests.media.gif.test_lzw import unblocked
from vedit.media.gif import lzw, lzw_deferred


def texture(seed: int, count: int, colours: int) -> bytes:
    """Runs and repeats, as pictures have them."""
    rng = random.Random(seed)
    out = bytearray(rng.randrange(colours) for _ in range(40))
    while len(out) < count:
        if rng.random() < 0.3:
            out.append(rng.randrange(colours))
        else:
            start = rng.randrange(max(0, len(out) - 3000), len(out))
            out += out[start : start + rng.randrange(1, 24)]
    return bytes(out[:count])


def decoded(payload: bytes, code_size: int, count: int) -> bytes:
    found = lzw.decode(payload, count, 1, code_size, False)
    assert found.missing is None and not found.complaint
    plain = reference.lzw(unblocked(payload), code_size, count)
    assert plain == found.pixels.tobytes()
    return plain


@pytest.mark.parametrize("code_size", range(2, 9))
@pytest.mark.parametrize("count", [1, 2, 3, 257, 30_000])
def test_pixels_come_back_as_they_went_in(code_size: int, count: int) -> None:
    pixels = texture(code_size, count, 1 << code_size)
    assert decoded(lzw_deferred.encode(pixels, code_size), code_size, count) == pixels


@pytest.mark.parametrize("count", range(3830, 3850))
def test_the_end_code_has_its_width_where_the_table_has_just_filled_up(count: int) -> None:
    rng = random.Random(5)
    pixels = bytes(rng.randrange(256) for _ in range(count))  # hardly a string twice: a code a pixel
    assert decoded(lzw_deferred.encode(pixels, 8), 8, count) == pixels


def test_a_full_table_that_serves_is_kept() -> None:
    pixels = texture(1, 6_000, 64) * 8  # it goes on as it began
    ours, theirs = lzw_deferred.encode(pixels, 6), pillow(pixels, 6)
    assert decoded(ours, 6, len(pixels)) == pixels
    assert len(ours) < 0.9 * len(theirs)


def test_a_full_table_that_no_longer_serves_is_cleared() -> None:
    pixels = texture(1, 40_000, 64) + bytes(64 + level for level in texture(2, 40_000, 64))
    ours = lzw_deferred.encode(pixels, 7)
    assert decoded(ours, 7, len(pixels)) == pixels
    assert len(ours) < 1.05 * len(pillow(pixels, 7))


def pillow(pixels: bytes, code_size: int) -> bytes:
    from PIL import Image

    return lzw.encode(Image.frombytes("L", (len(pixels), 1), pixels), code_size)


@pytest.mark.parametrize("seed", range(4))
def test_each_pixel_is_one_of_the_two_that_are_right_and_the_choice_saves_bytes(seed: int) -> None:
    rng = random.Random(seed)
    first = texture(seed, 20_000, 32)
    second = bytes(31 if rng.random() < 0.5 else level for level in first)
    payload = lzw_deferred.encode(first, 5, second)
    found = decoded(payload, 5, len(first))
    assert all(pixel in pair for pixel, pair in zip(found, zip(first, second, strict=True), strict=True))
    assert len(payload) < len(lzw_deferred.encode(first, 5))


def test_similar_pixels_are_near_those_asked_for_and_take_fewer_bytes() -> None:
    pixels = texture(3, 20_000, 64)
    near = [{j: (i - j) ** 2 for j in range(64) if abs(i - j) <= 3} for i in range(64)]
    payload, drawn = lzw_deferred.encode_similar(pixels, 6, near)
    assert decoded(payload, 6, len(pixels)) == drawn
    assert max(abs(a - b) for a, b in zip(drawn, pixels, strict=True)) <= 3
    assert len(payload) < 0.9 * len(lzw_deferred.encode(pixels, 6))


def test_similar_pixels_are_the_very_ones_where_nothing_else_is_near() -> None:
    pixels = texture(4, 20_000, 64)
    payload, drawn = lzw_deferred.encode_similar(pixels, 6, [{i: 0} for i in range(64)])
    assert (payload, drawn) == (lzw_deferred.encode(pixels, 6), pixels)
