"""Names say which format is written; every container that is named can be written, and is what ffmpeg reads
again.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from tests.conftest import gif, vedit
from tests.media.clips import COLOURS, bars, clip_of, decoded, ffmpeg
from vedit.errors import UsageError
from vedit.media.formats import (
    CONTAINERS,
    FORMATS,
    MPEG_RATES,
    check_own_format,
    family_of,
    format_of,
    is_pattern,
    output_format,
    rate_for,
)
from vedit.media.frames import GIF_TIMEBASE
from vedit.media.video.encode import write_video


@pytest.mark.parametrize("name", CONTAINERS)
def test_each_container_keeps_the_colours_and_begins_as_its_family_does(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{name}"
    pictures = [bars(), bars(), bars()]
    for at, picture in enumerate(pictures):  # Theora leaves out a picture that repeats the one before
        picture.paste((255, 255, 255), (16 * at, 0, 16 * at + 16, 8))
    clip, frames = clip_of(pictures, [10, 10, 10], GIF_TIMEBASE, rate=Fraction(10))
    assert write_video(clip, frames, str(path), name) >= 3
    assert family_of(path.read_bytes()[:16]) == CONTAINERS[name].family
    shown = decoded(path, (128, 32))
    assert len(shown) == (3 if not CONTAINERS[name].rates else 9)  # 10 a second at MPEG's 30
    for place, colour in enumerate(COLOURS):  # the middle of each bar, away from its blurred sides
        got = shown[1].getpixel((16 * place + 8, 24))
        assert max(abs(a - b) for a, b in zip(got, colour, strict=True)) <= 12, (colour, got)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["ts", "m2ts", "3gp", "flv", "wmv", "mpg", "ogv"])
def test_sound_goes_into_each_container(name: str, tmp_path: Path) -> None:
    source, path = tmp_path / "in.mp4", tmp_path / f"out.{name}"
    ffmpeg(
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=64x48:r=25:d=1",
        "-f",
        "lavfi",
        "-i",
        "sine=440:d=1",
        "-pix_fmt",
        "yuv420p",
        source,
    )
    assert vedit("convert", source, "-o", path).err == ""
    pcm = ffmpeg("-i", path, "-map", "0:a", "-ac", "1", "-ar", "8000", "-f", "s16le", "pipe:1")
    assert abs(len(pcm) / 16000 - 1) < 0.15


@pytest.mark.parametrize(
    ("rate", "written"),
    [
        (Fraction(10), Fraction(30)),
        (Fraction(25), Fraction(25)),
        (Fraction(12), Fraction(24)),
        (Fraction(100), Fraction(60)),
        (Fraction(27), Fraction(30000, 1001)),
    ],
)
def test_mpeg_gets_a_rate_that_it_knows(rate: Fraction, written: Fraction) -> None:
    assert rate_for(CONTAINERS["mpg"], rate) == written and written in MPEG_RATES
    assert rate_for(CONTAINERS["avi"], rate) == rate


@pytest.mark.parametrize("name", ["a.tss", "a.jpg", "a.txt", "a", "a.gif.bak", "a.folder", "a.mxf"])
def test_an_unknown_suffix_is_a_usage_error_that_lists_the_known_ones(name: str) -> None:
    with pytest.raises(UsageError) as error:
        output_format(name)
    assert all(known in str(error.value) for known in FORMATS)


@pytest.mark.parametrize(
    ("name", "to", "format"),
    [
        ("a.MTS", None, "mts"),
        ("a.GIF", None, "gif"),
        ("-", None, "gif"),
        ("/dev/null", None, "gif"),
        ("/dev/null", "webm", "webm"),
        ("-", "nut", "nut"),
        ("a.bin", "rgb24", "rgb24"),
        ("a.y4m", "mono", "mono"),
        ("a.png", "apng", "apng"),
        ("frames/%05d.png", None, "folder"),
        ("frames/", "folder", "folder"),
    ],
)
def test_the_format_is_what_was_asked_for_else_what_the_name_says(
    name: str, to: str | None, format: str
) -> None:
    assert output_format(name, to) == format


@pytest.mark.parametrize(
    ("name", "to"), [("a.mp4", "gif"), ("a.gif", "mp4"), ("a.mov", "mkv"), ("a.gif", "giff")]
)
def test_a_name_that_says_another_format_is_refused(name: str, to: str) -> None:
    with pytest.raises(UsageError):
        output_format(name, to)


@pytest.mark.parametrize("name", ["f%05d.png", "f%d.png", "f-%3d-x.JPG", "50%d_x.png", "folder/"])
def test_patterns(name: str) -> None:
    assert is_pattern(name) and format_of(name) == "folder"


@pytest.mark.parametrize(
    "name",
    ["100%done.gif", "100%done.png", "5%discount.mp4", "x%05d.mp4", "a%20b.webm", "%s.gif", "100%.gif"],
)
def test_a_percent_sign_in_a_name_is_no_pattern(name: str) -> None:
    assert not is_pattern(name)


@pytest.mark.parametrize("name", ["film.gif", "film.mkv", "film.webp", "film.y4m"])
def test_a_film_named_as_another_kind_is_not_rewritten_in_place(name: str, tmp_path: Path) -> None:
    film = tmp_path / name
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=0.5", "-c:v", "mpeg2video", "-f", "mpegts", film)
    before = film.read_bytes()
    for options in (("--in-place", film), (film, "-y", "-o", tmp_path / "." / name)):
        assert vedit("gif", "rotate", "180", *options).code == 2
        assert film.read_bytes() == before


def test_a_gif_is_not_written_into_a_films_name(tmp_path: Path) -> None:
    for name in ("x.tss", "x.jpg", "x"):
        done = vedit("gif", "rotate", "90", gif("ok_plain.gif"), "-o", tmp_path / name)
        assert done.code == 2 and "The formats are: gif" in done.err and not (tmp_path / name).exists()
    named = tmp_path / "x.jpg"
    named.write_bytes(gif("ok_plain.gif").read_bytes())
    for options in (("--in-place",), ("-O", tmp_path / "out"), ("--in-place", "--to", "gif")):
        assert vedit("gif", "rotate", "90", named, *options).code == 2
    assert named.read_bytes()[:4] == b"GIF8"


def test_a_family_is_told_from_the_first_bytes() -> None:
    assert [
        family_of(start)
        for start in (b"GIF89a", b"\0\0\0\x18ftypisom", b"RIFF\0\0\0\0AVI LIST", b"words", b"")
    ] == ["gif", "mp4", "avi", "", ""]
    check_own_format("a.m4v", b"\0\0\0\x18ftypisom")
    with pytest.raises(UsageError, match="holds mp4"):
        check_own_format("a.avi", b"\0\0\0\x18ftypisom")
