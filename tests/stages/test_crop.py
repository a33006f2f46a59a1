"""Cropping cuts the canvas and touches nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from tests import reference
from tests.conftest import EXPECTED, NASTY, WELL_FORMED, edited, gif, parsed, same_facts, same_frames, vedit
from vedit.errors import UsageError
from vedit.media.frames import Clip, Rect
from vedit.stages import crop
from vedit.stages.options import read_options


def resolved(width: int, height: int, **given: str) -> Rect:
    """The rectangle that options keep of a canvas."""
    stage = crop.make(**read_options("crop", crop.OPTIONS, given))
    stage.open(Clip(width, height))
    return stage.kept


@pytest.mark.parametrize("name", WELL_FORMED)
def test_crop_keeps_every_pixel_inside(name: str) -> None:
    source = parsed(gif(name))
    width, height = source.size
    x, y = width // 5, height // 3
    w, h = max(1, width // 2), max(1, height // 2)
    result = edited(name, "crop", "--rect", f"{w}x{h}+{x}+{y}")
    same_frames(result, source, reference.cropped(x, y, w, h))
    same_facts(result, source)


@pytest.mark.parametrize(
    "name",
    [
        "ok_disposal_mix.gif",
        "ok_256_used.gif",
        "ok_outside_part.gif",
        "ok_local_palettes.gif",
        "ok_interlaced.gif",
    ],
)
def test_crop_of_a_corner_that_most_images_miss(name: str) -> None:
    source = parsed(gif(name))
    width, height = source.size
    result = edited(name, "crop", "--rect", f"3x2+{width - 3}+{height - 2}")
    same_frames(result, source, reference.cropped(width - 3, height - 2, 3, 2))
    same_facts(result, source)


def test_an_image_that_misses_keeps_its_place_in_time_with_all_256_colours_in_use() -> None:
    """Without a free palette slot for transparency the pixel gets a palette of its own."""
    full = bytes(range(256))
    head = (
        b"GIF89a"
        + bytes((16, 0, 17, 0, 0xF7, 0, 0))
        + b"".join(bytes((i, 255 - i, i // 2)) for i in range(256))
    )
    from vedit.media.gif.lzw import encode

    def block(x: int, y: int, w: int, h: int, indices: bytes) -> bytes:
        from PIL import Image

        payload = encode(Image.frombytes("L", (w, h), indices), 8)
        return (
            b"\x21\xf9\x04\x04\x07\0\0\0\x2c"
            + b"".join(v.to_bytes(2, "little") for v in (x, y, w, h))
            + b"\0\x08"
            + payload
        )

    data = head + block(0, 0, 16, 16, full) + block(0, 16, 16, 1, full[:16]) + b"\x3b"
    done = vedit("gif", "crop", "--rect", "16x8+0+0", stdin=data)
    assert done.code == 0
    found = reference.read(done.out)
    assert found.delays == [7, 7]
    same_frames(done.out, reference.read(data), reference.cropped(0, 0, 16, 8))
    assert found.images[1].transparent is not None


@pytest.mark.parametrize("name", ["ok_disposal_mix.gif", "ok_first_smaller.gif", "ok_local_palettes.gif"])
def test_crop_of_a_crop_is_one_crop(name: str) -> None:
    once = edited(name, "crop", "--rect", "11x9+9+8")
    first = vedit("gif", "crop", "--rect", "20x20+4+3", gif(name))
    twice = vedit("gif", "crop", "--rect", "11x9+5+5", stdin=first.out)
    same_frames(twice.out, reference.read(once))


@pytest.mark.parametrize(
    ("given", "rect"),
    [
        ({"rect": "20x10+3+4"}, (3, 4, 20, 10)),
        ({"left": "10%", "right": "25%"}, (32, 0, 208, 200)),
        ({"left": "5", "top": "7", "right": "1", "bottom": "2"}, (5, 7, 314, 191)),
        ({"left": "0.15%"}, (0, 0, 320, 200)),  # 0.48 pixels
        ({"top": "0.25%"}, (0, 1, 320, 199)),  # half a pixel rounds up
        ({"bottom": "99%"}, (0, 0, 320, 2)),
        ({"centre": "100x50"}, (110, 75, 100, 50)),
        ({"centre": "101x51"}, (109, 74, 101, 51)),
        ({"left": "100%", "right": "0"}, None),
    ],
)
def test_the_rectangle_that_options_name(given: dict[str, str], rect: tuple[int, ...] | None) -> None:
    if rect is None:
        with pytest.raises(UsageError):
            resolved(320, 200, **given)
    else:
        assert resolved(320, 200, **given) == rect


def test_percent_of_width_and_of_height() -> None:
    assert resolved(300, 30, left="10%", top="10%") == (30, 3, 270, 27)


def test_crop_that_leaves_nothing_says_the_sum() -> None:
    with pytest.raises(UsageError, match=r"crop leaves no pixels \(left 60% \+ right 40% of 320\)"):
        resolved(320, 200, left="60%", right="40%")


def test_crop_that_leaves_nothing_exits_2() -> None:
    done = vedit("gif", "crop", "--top", "48", gif("ok_plain.gif"))
    assert (done.code, done.out) == (2, b"")
    assert "crop leaves no pixels (top 48 of 48)" in done.err


def test_a_rectangle_that_reaches_outside_is_clipped_with_a_warning() -> None:
    done = vedit("gif", "crop", "--rect", "100x20+40+30", gif("ok_plain.gif"))
    assert done.code == 0
    assert "clipped to the canvas: 24x18+40+30" in done.err
    same_frames(done.out, parsed(gif("ok_plain.gif")), reference.cropped(40, 30, 24, 18))


@pytest.mark.parametrize("rect", ["10x10+64+0", "10x10-10+0", "10x10+0+48"])
def test_a_rectangle_wholly_outside_is_refused(rect: str) -> None:
    done = vedit("gif", "crop", "--rect", rect, gif("ok_plain.gif"))
    assert done.code == 2
    assert "outside the 64x48 canvas" in done.err


@pytest.mark.parametrize("bad", ["0x5+1+1", "5x5", "axb+1+1", "5x5+1", "-5x5+1+1"])
def test_an_impossible_rectangle_is_refused_with_an_example(bad: str) -> None:
    done = vedit("gif", "crop", f"--rect={bad}", gif("ok_plain.gif"))
    assert done.code == 2
    assert "200x100+40+20" in done.err


@pytest.mark.parametrize("bad", ["101%", "-3", "2.5", "ten", "1e999999%"])
def test_an_impossible_length_is_refused(bad: str) -> None:
    assert vedit("gif", "crop", f"--left={bad}", gif("ok_plain.gif")).code == 2


def test_two_ways_of_naming_the_rectangle_are_refused() -> None:
    done = vedit("gif", "crop", "--centre", "5x5", "--left", "3", gif("ok_plain.gif"))
    assert done.code == 2
    assert "--centre" in done.err


def test_the_rectangle_may_be_given_without_its_option() -> None:
    source = parsed(gif("ok_plain.gif"))
    same_frames(edited("ok_plain.gif", "crop", "20x10+3+4"), source, reference.cropped(3, 4, 20, 10))


def test_auto_trims_the_border_that_all_frames_share() -> None:
    frames = list(parsed(gif("ok_first_smaller.gif")).frames())  # transparent around two small images
    seen = np.any([frame[..., 3] > 0 for frame in frames], axis=0)
    rows, columns = np.nonzero(seen)
    x, y, w, h = columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1
    assert (w, h) != parsed(gif("ok_first_smaller.gif")).size
    result = edited("ok_first_smaller.gif", "crop", "--auto")
    same_frames(
        result, parsed(gif("ok_first_smaller.gif")), reference.cropped(int(x), int(y), int(w), int(h))
    )


def test_auto_reads_a_pipe_too() -> None:
    done = vedit("gif", "crop", "--auto", stdin=gif("ok_first_smaller.gif").read_bytes())
    assert (done.code, done.out) == (0, edited("ok_first_smaller.gif", "crop", "--auto"))


def test_auto_trims_an_opaque_border_of_one_colour() -> None:
    data = framed((12, 9), (3, 2, 5, 4))
    done = vedit("gif", "crop", "--auto", stdin=data)
    assert reference.read(done.out).size == (5, 4)
    same_frames(done.out, reference.read(data), reference.cropped(3, 2, 5, 4))


def test_auto_refuses_a_clip_of_one_colour() -> None:
    done = vedit("gif", "crop", "--auto", stdin=framed((12, 9), (0, 0, 12, 9)))
    assert done.code == 2
    assert "--auto leaves no pixels" in done.err


def framed(size: tuple[int, int], inner: tuple[int, int, int, int]) -> bytes:
    """A still of colour 1 with a rectangle of colour 2 in it."""
    from PIL import Image

    from vedit.media.gif.lzw import encode

    picture = Image.new("L", size, 1)
    picture.paste(2, (inner[0], inner[1], inner[0] + inner[2], inner[1] + inner[3]))
    head = (
        b"GIF89a"
        + size[0].to_bytes(2, "little")
        + size[1].to_bytes(2, "little")
        + b"\xf1\0\0"
        + bytes((0, 0, 0, 9, 9, 9, 200, 9, 9, 1, 2, 3))
    )
    return (
        head
        + b"\x2c\0\0\0\0"
        + size[0].to_bytes(2, "little")
        + size[1].to_bytes(2, "little")
        + b"\0\x02"
        + encode(picture, 2)
        + b"\x3b"
    )


def test_every_ok_file_is_covered() -> None:
    assert {name for name in EXPECTED if name.startswith("ok_")} == {path.name for path in NASTY.glob("ok_*")}
