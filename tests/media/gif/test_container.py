"""The container: what is read is right, however the bytes arrive, and what is written is what was read."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import reference
from tests.conftest import EXPECTED, NASTY, OK, WARN, gif, parsed, shared, vedit
from tests.random_gifs import nasty, random_gif
from vedit.errors import InputError, LimitError
from vedit.media.frames import Palette
from vedit.media.gif.container import GifReader, palette_bytes, scan_gif, write_gif
from vedit.media.limits import Limits

DAMAGE = {  # the table of docs/gif.md 4, for the damage that shows without decoding
    "warn_no_trailer.gif": "truncated after image 6: no trailer",
    "warn_trailing_garbage.gif": "65 bytes after the end of the GIF are ignored",
    "warn_two_gifs.gif": "787 bytes after the end of the GIF are ignored",
    "warn_truncated_in_gce.gif": "truncated after image 4: inside a control block",
    "warn_truncated_in_descriptor.gif": "truncated after image 4: inside an image descriptor",
    "warn_truncated_in_image.gif": "truncated inside image 5",
    "warn_junk_between.gif": "4 bytes of junk between blocks after image 2 are skipped",
    "warn_gce_size5.gif": "control block of 5 bytes before image 1: the first 4 are used",
}


def reader(data: bytes, pieces: Callable[[], int] | None = None, **options: Any) -> GifReader:
    """A reader over bytes; `pieces` gives the size of each piece that arrives."""
    stream = io.BytesIO(data)
    return GifReader(
        (lambda count: stream.read(min(count, pieces()))) if pieces else stream.read, "x.gif", **options
    )


def plain(source: GifReader) -> tuple[Any, ...]:
    """All that a reader gives, palettes by their colours."""
    frames = [frame.but(palette=frame.palette and frame.palette.rgb) for frame in source.frames()]
    clip = replace(source.clip, palette=source.clip.palette and source.clip.palette.rgb)  # type: ignore[arg-type]
    return frames, clip, source.damage, source.trailing_bytes, source.apps


def rewritten(data: bytes, **options: Any) -> bytes:
    source = reader(data, **options)
    out = io.BytesIO()
    write_gif(source.clip, source.frames(), out)
    return out.getvalue()


@pytest.mark.parametrize("name", [*OK, *WARN])
def test_facts_are_those_of_the_reference_reader(name: str) -> None:
    expected, source = EXPECTED[name], reader(gif(name).read_bytes())
    frames = list(source.frames())
    assert [source.clip.width, source.clip.height] == expected["size"]
    assert [frame.duration for frame in frames] == expected["delays_cs"]
    assert [frame.disposal for frame in frames] == expected["disposal"]
    assert source.clip.loop == expected["loop"]
    assert [app.decode().rstrip("\0") for app in source.apps] == expected["apps"]
    assert [frame.pts for frame in frames] == [sum(expected["delays_cs"][:i]) for i in range(len(frames))]


@pytest.mark.parametrize("name", OK)
def test_a_good_file_is_not_said_to_be_damaged(name: str) -> None:
    warnings: list[str] = []
    source = reader(gif(name).read_bytes(), warn=warnings.append, strict=True)
    list(source.frames())
    assert (source.damage, source.trailing_bytes, warnings) == ([], 0, [])


@pytest.mark.parametrize(("name", "message"), DAMAGE.items())
def test_damage_is_told_once_with_its_place(name: str, message: str) -> None:
    data = gif(name).read_bytes()
    warnings: list[str] = []
    source = reader(data, warn=warnings.append)
    list(source.frames())
    assert warnings == [message] == [damage.message for damage in source.damage]
    assert 0 < source.damage[0].offset <= len(data)
    with pytest.raises(InputError, match="at byte"):
        list(reader(data, strict=True).frames())


@pytest.mark.parametrize("name", [*OK, *WARN])
@pytest.mark.parametrize("size", [1, 7, "random"])
def test_the_size_of_the_pieces_that_arrive_makes_no_difference(name: str, size: int | str) -> None:
    data = gif(name).read_bytes()
    rng = random.Random(name)
    pieces = (lambda: rng.randrange(1, 300)) if size == "random" else lambda: int(size)
    assert plain(reader(data, pieces)) == plain(reader(data))


@pytest.mark.parametrize("size", [1, 13, 4096])
def test_a_walk_without_pixels_sees_the_same_images(size: int) -> None:
    for name in ("ok_noise.gif", "ok_metadata.gif", "ok_odd_delays_3cs.gif", "warn_truncated_in_image.gif"):
        data = gif(name).read_bytes()
        whole, walked = plain(reader(data))[0], plain(reader(data, lambda: size, keep_payload=False))[0]
        assert [frame.but(pixels=None) for frame in walked] == [frame.but(pixels=None) for frame in whole]
        if not name.startswith("warn"):
            assert [frame.pixels for frame in walked] == [len(frame.pixels) for frame in whole]


def test_random_files_are_written_as_they_were_read() -> None:
    for seed in range(60):
        data = random_gif(seed)
        source, found = reference.read(data), reference.read(rewritten(data))
        assert found.images == source.images
        assert (found.size, found.loop, found.comments, found.apps, found.palette) == (
            source.size,
            source.loop,
            source.comments,
            source.apps,
            source.palette,
        )


def test_rewriting_twice_changes_nothing_more() -> None:
    for name in OK:
        once = rewritten(gif(name).read_bytes())
        assert rewritten(once) == once


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty file"),
        (b"GIF89a", "ends inside its header"),
        (b"GIF", "not a GIF"),
        (b"<html>404 not found</html>\n", r'not a GIF \(starts with "<htm"\)'),
        (b"\x89PNG\r\n\x1a\n" + bytes(32), r'not a GIF \(starts with "89 50 4e 47"\)'),
        (nasty.header(10, 10, nasty.FOUR) + nasty.END, "GIF without images"),
        (nasty.header(10, 10, nasty.FOUR)[:18], "ends inside its global palette"),
        (nasty.header(0, 0, nasty.FOUR) + nasty.image(0, 0, b"") + nasty.END, "without a single pixel"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_what_it_is(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        reader(data)


def test_a_control_block_belongs_to_the_next_image_only_and_the_last_one_wins() -> None:
    data = (
        nasty.header(4, 4, nasty.FOUR)
        + nasty.gce(50, 1)
        + nasty.gce(7, 2)
        + nasty.image(4, 4, bytes(16))
        + nasty.image(4, 4, bytes(16))
        + nasty.gce(9)
        + nasty.END
    )
    assert [(frame.duration, frame.disposal, frame.has_control) for frame in reader(data).frames()] == [
        (7, 2, True),
        (0, 0, False),
    ]


def test_a_zero_screen_takes_the_extent_of_the_first_image() -> None:
    data = (
        nasty.header(0, 0, nasty.FOUR)
        + nasty.image(3, 4, bytes(12), x=2, y=5)
        + nasty.image(9, 9, bytes(81))
        + nasty.END
    )
    clip = reader(data).clip
    assert (clip.width, clip.height) == (5, 9)


def test_metadata_keeps_its_place_between_images() -> None:
    data = (
        nasty.header(2, 2, nasty.FOUR)
        + nasty.comment(b"a")
        + nasty.image(2, 2, bytes(4))
        + nasty.comment(b"b")
        + nasty.image(2, 2, bytes(4))
        + nasty.comment(b"c")
        + nasty.END
    )
    source = reader(data)
    frames = list(source.frames())
    assert [block.data for block in source.clip.blocks] == [b"\x01a\0"]
    assert [[block.data for block in frame.before] for frame in frames] == [[], [b"\x01b\0"]]
    assert [block.data for block in source.clip.tail] == [b"\x01c\0"]
    assert rewritten(data) == data


def test_unknown_extensions_and_the_user_input_flag_survive() -> None:
    control = b"\x21\xf9\x04\x02\x05\0\0\0"
    data = (
        nasty.header(2, 2, nasty.FOUR)
        + b"\x21\x42\x02hi\x00"
        + control
        + nasty.image(2, 2, bytes(4))
        + nasty.END
    )
    assert rewritten(data) == data


def test_a_comment_longer_than_the_limit_is_refused_before_it_is_held() -> None:
    data = (
        nasty.header(2, 2, nasty.FOUR)
        + nasty.comment(b"x" * 100_000)
        + nasty.image(2, 2, bytes(4))
        + nasty.END
    )
    with pytest.raises(LimitError, match="comment"):
        reader(data, limits=Limits(comment=50_000))
    held: list[int] = []

    def endless(count: int) -> bytes:
        held.append(count)
        return b"\xff" + b"x" * 255 if len(held) > 1 else nasty.header(2, 2, nasty.FOUR) + b"\x21\xfe"

    with pytest.raises(LimitError):
        GifReader(endless, limits=Limits(comment=50_000))
    assert len(held) < 300


def test_an_endless_row_of_junk_needs_no_memory() -> None:
    import tracemalloc

    pieces = iter([nasty.header(2, 2, nasty.FOUR) + nasty.image(2, 2, bytes(4))] + [bytes(1 << 18)] * 100)
    tracemalloc.start()
    source = GifReader(lambda count: next(pieces, b""))
    list(source.frames())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
    assert [damage.message for damage in source.damage] == ["truncated after image 1: no trailer"]


@pytest.mark.parametrize(("colours", "length"), [(1, 6), (2, 6), (3, 12), (5, 24), (255, 768), (256, 768)])
def test_a_palette_is_padded_to_a_power_of_two(colours: int, length: int) -> None:
    assert len(palette_bytes(Palette(bytes(3 * colours)))) == length


def test_a_scan_tells_what_a_clip_holds() -> None:
    data = gif("ok_metadata.gif").read_bytes()
    facts = scan_gif(io.BytesIO(data).read)
    source = parsed(gif("ok_metadata.gif"))
    assert (facts.images, facts.loop, facts.duration_cs) == (
        len(source.images),
        source.loop,
        sum(source.delays),
    )
    assert facts.pixels == sum(image.w * image.h for image in source.images)


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (nasty.header(10_001, 10_000, nasty.FOUR) + nasty.image(1, 1, b"\0") + nasty.END, "canvas"),
        (
            nasty.header(10, 10, nasty.FOUR)
            + nasty.image(10_001, 10_000, b"", data=nasty.sub(b"\0"))
            + nasty.END,
            "image",
        ),
        (
            nasty.header(10, 10, nasty.FOUR)
            + nasty.image(10_000, 9_000, b"", data=nasty.sub(b"\0")) * 230
            + nasty.END,
            "total",
        ),
        (
            nasty.header(10, 10, nasty.FOUR)
            + nasty.image(10_000, 9_000, b"", data=nasty.sub(b"\0")) * 20
            + nasty.END,
            "expansion",
        ),
        (nasty.header(1, 1, nasty.FOUR) + nasty.image(1, 1, b"\0") * 100_001 + nasty.END, "images"),
    ],
    ids=["canvas", "image", "total", "expansion", "images"],
)
def test_each_limit_stops_what_is_over_it_and_names_the_option(data: bytes, key: str) -> None:
    with pytest.raises(LimitError, match=rf"--limit {key}=") as caught:
        scan_gif(io.BytesIO(data).read)
    assert caught.value.exit_code == 6
    lifted = Limits(canvas=0, image=0, total=0, images=0, expansion=0)
    assert scan_gif(io.BytesIO(data).read, limits=lifted).images >= 1


def test_the_large_real_files_are_read_in_small_pieces_too() -> None:
    data = shared("data/gifs/real/fatezero_goldfish_1024.gif").read_bytes()
    rng = random.Random(1)
    assert plain(reader(data, lambda: rng.randrange(1, 5000))) == plain(reader(data))


def test_a_writer_without_frames_says_so() -> None:
    with pytest.raises(InputError, match="no frames"):
        write_gif(reader(gif("ok_1x1.gif").read_bytes()).clip, iter(()), io.BytesIO())


@pytest.mark.parametrize("head", [b"\x21\xff\x0bNETSCAPE2.0", b"\x21\xfe", b"\x21\xff\x0bXMP DataXMP"])
@pytest.mark.parametrize(
    "command", [("gif", "speed", "2"), ("gif", "metadata", "--comment", "a"), ("probe", "--json")]
)
def test_time_grows_with_the_length_of_a_chain_of_one_byte_sub_blocks_not_with_its_square(
    tmp_path: Path, head: bytes, command: tuple[str, ...]
) -> None:
    whole = (NASTY / "ok_plain.gif").read_bytes()
    at = 13 + 3 * (2 << (whole[10] & 7))
    spent = []
    for count in (50_000, 400_000):
        path = tmp_path / f"{count}.gif"
        path.write_bytes(whole[:at] + head + b"\x01x" * count + b"\0" + whole[at:])
        start = time.process_time()
        assert vedit(*command, path).code == 0
        spent.append(time.process_time() - start)
    assert spent[1] < 24 * max(spent[0], 0.02)  # 8 times the blocks; the square would be 64 times the time
