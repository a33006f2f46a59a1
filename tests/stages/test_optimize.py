"""The pictures and their times stay as they are, in fewer bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import reference
from tests.conftest import WELL_FORMED, gif, parsed, vedit
from tests.random_gifs import nasty, random_gif

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
FOUR = [RED, GREEN, BLUE, WHITE]


def timeline(data: bytes, merged: bool = True) -> list[tuple[bytes, int]]:
    """Each picture and how long it is shown; equal ones in a row as one."""
    found = reference.read(data)
    shown: list[tuple[bytes, int]] = []
    for frame, delay in zip(found.frames(), found.delays, strict=True):
        picture = frame.tobytes()
        if merged and shown and shown[-1][0] == picture:
            shown[-1] = picture, shown[-1][1] + delay
        else:
            shown.append((picture, delay))
    return shown


def optimized(data: bytes, *args: str) -> bytes:
    result = vedit("gif", "optimize", *args, "-", stdin=data)
    assert (result.code, result.err) == (0, "")
    return result.out


@pytest.mark.parametrize("name", WELL_FORMED)
def test_every_picture_keeps_its_pixels_and_its_time(name: str) -> None:
    source = gif(name).read_bytes()
    result = optimized(source)
    assert timeline(result) == timeline(source)
    assert len(result) <= len(source) + 16  # a loop block that is written anew, a larger table
    before, after = parsed(gif(name)), reference.read(result)
    assert (after.loop, after.comments, after.apps, after.texts) == (
        before.loop,
        before.comments,
        before.apps,
        before.texts,
    )


@pytest.mark.parametrize("seed", range(60))
def test_random_gifs_show_the_same(seed: int) -> None:
    source = random_gif(seed)
    assert timeline(optimized(source)) == timeline(source)
    assert timeline(optimized(source, "--keep-images"), False) == timeline(source, False)


def test_the_number_of_threads_makes_no_difference() -> None:
    source = gif("minrf_51.gif").read_bytes()
    assert optimized(source, "-j", "1") == optimized(source, "-j", "3")


def test_equal_images_in_a_row_become_one_and_their_delays_add_up() -> None:
    image = nasty.image(4, 4, bytes(16), mcs=2)
    source = nasty.header(4, 4, FOUR) + (nasty.gce(7, 1) + image) * 3 + nasty.END
    assert reference.read(optimized(source)).delays == [21]
    assert reference.read(optimized(source, "--keep-images")).delays == [7, 7, 7]


def test_delays_that_players_change_are_not_added_up() -> None:
    image = nasty.image(4, 4, bytes(16), mcs=2)
    source = nasty.header(4, 4, FOUR) + (nasty.gce(0, 1) + image) * 3 + nasty.END
    assert reference.read(optimized(source)).delays == [0, 0, 0]


def test_delays_add_up_to_no_more_than_a_gif_holds() -> None:
    image = nasty.image(4, 4, bytes(16), mcs=2)
    source = nasty.header(4, 4, FOUR) + (nasty.gce(40_000, 1) + image) * 2 + nasty.END
    assert reference.read(optimized(source)).delays == [40_000, 40_000]


def test_only_the_pixels_that_change_are_drawn() -> None:
    first, second = bytearray(64 * 64), bytearray(64 * 64)
    second[20 * 64 + 10] = 1
    second[22 * 64 + 13] = 2
    source = nasty.header(64, 64, FOUR)
    for pixels in (first, second):
        source += nasty.gce(5, 1) + nasty.image(64, 64, bytes(pixels), mcs=2)
    image = reference.read(optimized(source + nasty.END)).images[1]
    assert (image.x, image.y, image.w, image.h) == (10, 20, 4, 3)


def test_images_share_one_table_where_their_colours_fit_in_it() -> None:
    source = nasty.header(8, 8, None, 0)
    for colour in range(5):
        palette = [(colour, 0, i) for i in range(4)]
        source += nasty.gce(5, 1) + nasty.image(8, 8, bytes(i % 4 for i in range(64)), mcs=2, colours=palette)
    result = reference.read(optimized(source + nasty.END))
    assert result.palette is not None and all(image.palette is None for image in result.images)


def test_what_disposal_brings_back_is_drawn_though_no_single_palette_has_its_colours() -> None:
    halves = [[(i, 0, 0) for i in range(256)], [(0, i, 1) for i in range(256)]]
    every = bytes(range(256))
    source = nasty.header(16, 48, None, 0)
    source += nasty.gce(5, 1) + nasty.image(16, 16, every, mcs=8, colours=halves[0], bits=8)
    source += nasty.gce(5, 3) + nasty.image(16, 16, every, mcs=8, colours=halves[1], bits=8)
    source += nasty.gce(5, 1) + nasty.image(16, 16, every, mcs=8, colours=halves[1], bits=8, y=32) + nasty.END
    assert timeline(optimized(source)) == timeline(source)


def test_an_image_of_256_colours_over_another_needs_no_transparent_index() -> None:
    source = nasty.header(16, 17, [(i, i, 0) for i in range(256)], 8)
    source += nasty.gce(5, 1) + nasty.image(16, 17, bytes(272), mcs=8)
    source += nasty.gce(5, 1) + nasty.image(16, 16, bytes(range(256)), mcs=8) + nasty.END
    assert timeline(optimized(source)) == timeline(source)


def test_a_film_becomes_a_smaller_gif_and_no_other_format_is_made(tmp_path: Path) -> None:
    source = gif("ok_plain.gif")
    film, result = tmp_path / "film.mp4", tmp_path / "film.gif"
    assert vedit("convert", source, "-o", film).code == 0
    assert vedit("gif", "optimize", film, "-o", result).code == 0
    assert len(reference.read(result.read_bytes()).images) == len(parsed(source).images)
    refused = vedit("gif", "optimize", film, "-o", tmp_path / "small.mp4")
    assert refused.code == 2 and "GIF" in refused.err


def test_it_runs_behind_stages_that_make_new_colours(tmp_path: Path) -> None:
    result = tmp_path / "out.gif"
    chain = "resize:width=40; optimize"
    assert vedit("gif", "chain", chain, gif("ok_plain.gif"), "-o", result).code == 0
    plain = vedit("gif", "resize", "--width", "40", gif("ok_plain.gif")).out
    assert timeline(result.read_bytes()) == timeline(plain)
    assert np.less_equal(result.stat().st_size, len(plain))


@pytest.mark.parametrize(
    "name", ["minrf_51.gif", "httpx_rich-progress.gif", "ok_noise.gif", "ok_disposal_mix.gif"]
)
def test_lossy_pixels_are_within_the_error_that_was_allowed(name: str) -> None:
    source = gif(name).read_bytes()
    plain, result = optimized(source, "--keep-images"), optimized(source, "--keep-images", "--lossy", "40")
    before, after = reference.read(source), reference.read(result)
    assert before.delays == after.delays
    for wanted, found in zip(before.frames(), after.frames(), strict=True):
        error = found.astype(int) - wanted.astype(int)
        assert not error[..., 3].any()
        assert (error[..., :3] ** 2).sum(axis=2).max() <= 10 * 40
    assert len(result) <= len(plain)


def test_lossy_saves_more_the_more_it_may_change() -> None:
    source = gif("minrf_51.gif").read_bytes()
    sizes = [len(optimized(source, "--lossy", loss)) for loss in ("0", "20", "80")]
    assert sizes[0] > 1.5 * sizes[1] > 1.5 * sizes[2]


def test_fewer_colours_and_loss_go_together_though_every_image_has_its_own_palette() -> None:
    halves = [[(i, 40 * k, 255 - i) for i in range(256)] for k in range(4)]
    source = nasty.header(32, 32, None, 0)
    for k, palette in enumerate(halves):
        pixels = bytes((7 * x + 13 * k * (x // 32)) % 256 for x in range(1024))
        source += nasty.gce(5, 1) + nasty.image(32, 32, pixels, mcs=8, colours=palette, bits=8)
    result = reference.read(optimized(source + nasty.END, "--lossy", "100", "--colors", "128"))
    assert len(result.images) == 4


@pytest.mark.parametrize("lossy", ["0", "10", "0.3"])
def test_a_full_table_with_a_colour_twice_leaves_room_for_holes(lossy: str) -> None:
    """Many writers name the transparent index black, which the table has already."""
    import io

    from PIL import Image

    rng = np.random.default_rng(3)
    pictures = []
    for _ in range(3):
        indices = rng.integers(0, 4, (12, 12), np.uint8)
        picture = Image.frombytes("P", (12, 12), indices.tobytes())
        picture.putpalette([0, 0, 0, 250, 0, 0, 0, 250, 0, 0, 0, 0])
        pictures.append(picture)
    stream = io.BytesIO()
    pictures[0].save(
        stream, "GIF", save_all=True, append_images=pictures[1:], transparency=3, disposal=2, duration=100
    )
    result = optimized(stream.getvalue(), "--lossy", lossy)
    if lossy == "0":
        assert timeline(result) == timeline(stream.getvalue())
    else:
        holes = [[f[..., 3] for f in reference.read(data).frames()] for data in (result, stream.getvalue())]
        assert np.array_equal(*holes)
