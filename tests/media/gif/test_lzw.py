"""Compressed images to indices and back, against a decoder of the tests' own."""

from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image

from tests import reference
from tests.random_gifs import nasty, pixels
from vedit.media.frames import Clip, Frame, Palette, Rect
from vedit.media.gif.lzw import decode, encode, filled_rows, nothing, pack, unpack


def unblocked(payload: bytes) -> bytes:
    """The data of sub-blocks without their sizes."""
    out, at = b"", 0
    while payload[at]:
        out += payload[at + 1 : at + 1 + payload[at]]
        at += payload[at] + 1
    assert at == len(payload) - 1
    return out


def expected(
    payload: bytes, w: int, h: int, code_size: int, interlaced: bool
) -> tuple[np.ndarray, np.ndarray]:
    return reference.decode(reference.Image(0, 0, w, h, unblocked(payload), code_size, interlaced, None))


def check(payload: bytes, w: int, h: int, code_size: int, interlaced: bool = False) -> str:
    """Decode, compare with the reference, and give the complaint."""
    indices, known = expected(payload, w, h, code_size, interlaced)
    found = decode(payload, w, h, code_size, interlaced)
    missing = np.zeros((h, w), bool) if found.missing is None else np.asarray(found.missing) == 255
    assert np.array_equal(~missing, known)
    assert np.array_equal(np.asarray(found.pixels)[known], np.minimum(indices[known], 255))
    assert found.missing is None or missing.any()
    return found.complaint


@pytest.mark.parametrize("code_size", range(1, 12))
@pytest.mark.parametrize("interlaced", [False, True])
def test_every_code_size_decodes_like_the_reference(code_size: int, interlaced: bool) -> None:
    for seed in range(12):
        rng = random.Random(100 * code_size + seed)
        w, h = rng.randrange(1, 70), rng.randrange(1, 50)
        data = pixels(rng, w * h, min(256, 1 << code_size))
        payload = nasty.sub(nasty.lzw(data, code_size, table_max=rng.choice([4096, 300 + (2 << code_size)])))
        assert check(payload, w, h, code_size, interlaced) == ""


@pytest.mark.parametrize("code_size", [0, 12, 13, 255])
def test_an_impossible_code_size_holds_no_pixels(code_size: int) -> None:
    found = decode(nasty.sub(b"\0\1\2\3"), 3, 2, code_size, False)
    assert found.missing is not None and found.missing.getextrema() == (255, 255)


def test_a_stream_that_never_clears_its_full_table() -> None:
    indices = nasty.rings(128, 128, 216)
    payload = nasty.sub(nasty._deferred(128, 128))
    assert check(payload, 128, 128, 8) == ""
    assert decode(payload, 128, 128, 8, False).pixels.tobytes() == indices


def test_a_stream_without_a_first_clear_code() -> None:
    data = bytes(i % 5 % 4 for i in range(600))
    assert check(nasty.sub(nasty.lzw(data, 2, clear=False)), 30, 20, 2) == ""


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("code_size", "style"), [(2, 0), (2, 1), (5, 0), (8, 1), (8, 0)])
def test_a_cut_stream_keeps_the_pixels_before_the_cut(code_size: int, style: int, interlaced: bool) -> None:
    rng = random.Random(code_size + style)
    data = (
        bytes(rng.randrange(1 << code_size) for _ in range(23 * 17))
        if style == 0
        else nasty.checks(23, 17, 1 << min(code_size, 6), 3)
    )
    whole = nasty.lzw(data, code_size)
    for length in range(len(whole) - 1):
        check(nasty.sub(whole[:length]), 23, 17, code_size, interlaced)


def test_corrupt_streams_keep_what_the_reference_keeps() -> None:
    kept = 0
    for seed in range(400):
        rng = random.Random(seed)
        code_size = rng.choice([1, 2, 3, 8, 8, 9])
        data = pixels(rng, 31 * 19, min(256, 1 << code_size))
        stream = bytearray(nasty.lzw(data, code_size))
        for _ in range(rng.randrange(1, 4)):
            stream[rng.randrange(len(stream))] = rng.randrange(256)
        kept += check(nasty.sub(bytes(stream)), 31, 19, code_size, rng.random() < 0.3) != ""
    assert 100 < kept < 400  # damage there was, and not always


def test_too_many_pixels_are_told() -> None:
    assert check(nasty.sub(nasty.lzw(nasty.checks(64, 60), 2)), 64, 48, 2) == "has more pixels than fit in it"


def test_a_missing_end_code_is_told_and_the_pixels_are_whole() -> None:
    assert check(nasty.sub(nasty.lzw(nasty.checks(64, 48), 2, eoi=False)), 64, 48, 2) == "has no end code"
    for w, h in ((1, 1), (7, 5), (16, 16), (3, 1), (9, 9), (30, 2)):
        data = nasty.checks(w, h)
        check(nasty.sub(nasty.lzw(data, 2, eoi=False)), w, h, 2)  # zero padding may look like one more pixel
        assert check(nasty.sub(nasty.lzw(data, 2)), w, h, 2) == ""


@pytest.mark.parametrize("code_size", range(2, 9))
@pytest.mark.parametrize("interlaced", [False, True])
def test_what_is_encoded_decodes_to_the_same(code_size: int, interlaced: bool) -> None:
    for seed in range(10):
        rng = random.Random(seed)
        w, h = rng.randrange(1, 90), rng.randrange(1, 70)
        data = pixels(rng, w * h, 1 << code_size)
        payload = encode(Image.frombytes("L", (w, h), data), code_size, interlaced)
        indices, known = expected(payload, w, h, code_size, interlaced)
        assert known.all() and indices.astype(np.uint8).tobytes() == data
        assert (
            decode(payload, w, h, code_size, interlaced).complaint == ""
        )  # our own output never earns a warning


def test_an_image_larger_than_the_code_table_is_encoded_right() -> None:
    rng = random.Random(3)
    data = bytes(rng.randrange(256) for _ in range(300 * 200))
    payload = encode(Image.frombytes("L", (300, 200), data), 8)
    assert check(payload, 300, 200, 8) == ""


def frame_of(data: bytes, w: int, h: int, **changes: object) -> Frame:
    return Frame(0, 0, 5, "packed", Rect(0, 0, w, h), nasty.sub(nasty.lzw(data, 2)), code_size=2).but(
        **changes
    )


def test_unpacking_clips_images_to_the_canvas() -> None:
    clip = Clip(8, 6, palette=Palette(bytes(12)))
    (frame,) = unpack(clip, iter([frame_of(nasty.checks(7, 7), 7, 7, rect=Rect(5, 2, 7, 7))]))
    assert frame.rect == (5, 2, 3, 4)
    assert frame.pixels.tobytes() == b"".join(nasty.checks(7, 7)[row * 7 : row * 7 + 3] for row in range(4))


def test_missing_pixels_become_transparent_by_an_index_that_no_pixel_uses() -> None:
    damage: list[str] = []
    clip = Clip(8, 6, palette=Palette(bytes(range(12))))
    packed = frame_of(b"\0\1\0\1" * 3, 4, 6)  # half of its 24 pixels
    (frame,) = unpack(clip, iter([packed]), hurt=damage.append)
    assert damage == ["image 1: damaged data, 12 of 24 pixels kept"]
    assert frame.pixels.tobytes() == b"\0\1\0\1" * 3 + bytes((frame.transparent,)) * 12
    assert frame.transparent not in (0, 1)


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_packing_gives_the_same_bytes_on_any_number_of_threads(jobs: int) -> None:
    clip = Clip(40, 30, palette=Palette(bytes(768)))
    frames = [
        Frame(
            i,
            i,
            1,
            "index",
            Rect(0, 0, 40, 30),
            Image.frombytes("L", (40, 30), nasty.checks(40, 30, 256, 2, i)),
        )
        for i in range(20)
    ]
    assert [frame.pixels for frame in pack(clip, iter(frames), jobs=jobs)] == [
        encode(frame.pixels, 8) for frame in frames
    ]


def test_nothing_is_one_transparent_pixel_that_keeps_its_time() -> None:
    frame = nothing(frame_of(b"\0", 1, 1, disposal=2, duration=7), Palette(bytes(768)))
    assert (frame.rect.w, frame.rect.h, frame.duration, frame.disposal) == (1, 1, 7, 1)
    assert frame.pixels.getpixel((0, 0)) == frame.transparent


@pytest.mark.parametrize(("code_size", "colour"), [(2, 0), (8, 7), (5, 3)])
def test_no_row_that_the_bytes_can_fill_is_given_up(code_size: int, colour: int) -> None:
    """One colour compresses best: every code stands for one more pixel than the one before."""
    for w, h in ((1, 5000), (100, 100), (640, 480), (3000, 2), (1000, 3000)):
        payload = nasty.sub(nasty.lzw(bytes((colour,)) * (w * h), code_size))
        assert filled_rows(Frame(0, 0, 0, "packed", Rect(0, 0, w, h), payload, code_size=code_size)) == h


def test_a_huge_image_of_few_bytes_is_decoded_only_as_far_as_they_reach() -> None:
    damage: list[str] = []
    packed = frame_of(b"\1\2\3" * 5, 5, 3, rect=Rect(0, 0, 5, 60_000))
    (frame,) = unpack(Clip(5, 60_000, palette=Palette(bytes(12))), iter([packed]), hurt=damage.append)
    assert frame.rect.h < 100
    assert damage == ["image 1: damaged data, 15 of 300000 pixels kept"]
    assert frame.pixels.tobytes()[:15] == b"\1\2\3" * 5 and set(frame.pixels.tobytes()[15:]) == {
        frame.transparent
    }
