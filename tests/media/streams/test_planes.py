"""Film that is cut, turned or retimed on its way to film keeps its chroma samples, as ffmpeg's filters do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import vedit
from tests.media.clips import ffmpeg
from vedit.media.streams.planes import Planes, byte_count
from vedit.media.video.ffmpeg import probe

WIDTH, HEIGHT = 160, 120


@pytest.fixture(scope="module", params=["bt709", "smpte170m"])
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three frames of a drawn scene, nearly lossless, of BT.709 and of BT.601."""
    path, tag = tmp_path_factory.mktemp("film") / "film.mp4", request.param
    tags = f"scale=out_color_matrix={tag},setparams=colorspace={tag}:color_primaries={tag}:color_trc={tag}:range=tv"
    ffmpeg(
        "-f",
        "lavfi",
        "-i",
        f"testsrc2=s={WIDTH}x{HEIGHT}:r=10:d=0.3",
        "-vf",
        tags,
        "-c:v",
        "libx264",
        "-crf",
        "4",
        "-pix_fmt",
        "yuv420p",
        path,
    )
    return path


def planes(path: Path, filters: str = "null") -> np.ndarray:
    """All samples of a film, as stored."""
    return np.frombuffer(
        ffmpeg("-i", path, "-vf", filters, "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"), np.uint8
    ).astype(float)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, float(((a - b) ** 2).mean()))))


@pytest.mark.parametrize(
    ("command", "filters"),
    [
        (("crop", "--rect", "100x80+20+14"), "crop=100:80:20:14"),
        (("rotate", "90"), "transpose=clock"),
        (("rotate", "180"), "hflip,vflip"),
        (("rotate", "--flip", "h"), "hflip"),
        (("rotate", "270", "--flip", "v"), "transpose=cclock,vflip"),
        (
            ("chain", "crop:rect=100x80+20+14; rotate:90; metadata:comment=x"),
            "crop=100:80:20:14,transpose=clock",
        ),
        (("speed", "--reverse"), "reverse"),
    ],
)
def test_samples_are_moved_and_not_made_again(
    command: tuple[str, ...], filters: str, film: Path, tmp_path: Path
) -> None:
    assert vedit("gif", *command, film, "-o", tmp_path / "ours.mp4").err == ""
    ffmpeg("-i", film, "-vf", filters, "-crf", "18", tmp_path / "theirs.mp4")
    exact = planes(film, filters)
    assert psnr(planes(tmp_path / "ours.mp4"), exact) > psnr(planes(tmp_path / "theirs.mp4"), exact) - 0.5


def test_a_film_keeps_the_colours_that_it_names(film: Path, tmp_path: Path) -> None:
    assert vedit("convert", film, "-o", tmp_path / "out.mp4").err == ""
    with film.open("rb") as source, (tmp_path / "out.mp4").open("rb") as result:
        facts, wanted = probe(result).video, probe(source).video
    assert facts is not None and wanted is not None and facts.color == wanted.color


def test_a_film_that_names_no_colours_names_those_players_show(tmp_path: Path) -> None:
    ffmpeg(
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=64x48:r=10:d=0.2",
        "-c:v",
        "libx264",
        "-pix_fmt",
        "yuv420p",
        tmp_path / "a.mp4",
    )
    assert vedit("convert", tmp_path / "a.mp4", "-o", tmp_path / "b.mp4").err == ""
    with (tmp_path / "b.mp4").open("rb") as file:
        video = probe(file).video
    assert video is not None and video.color == "tv, smpte170m"


def test_full_range_becomes_video_range(tmp_path: Path) -> None:
    ffmpeg(
        "-f",
        "lavfi",
        "-i",
        "color=white:s=64x48:r=10:d=0.2",
        "-c:v",
        "libx264",
        "-vf",
        "scale=out_range=pc",
        "-color_range",
        "pc",
        "-pix_fmt",
        "yuv420p",
        tmp_path / "a.mp4",
    )
    assert vedit("gif", "crop", "--left", "2", tmp_path / "a.mp4", "-o", tmp_path / "b.mp4").err == ""
    assert abs(planes(tmp_path / "b.mp4")[: 62 * 48].mean() - 235) < 2


@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv422p", "yuv444p"])
def test_other_forms_of_film_are_cut_too(pix_fmt: str, tmp_path: Path) -> None:
    ffmpeg(
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=64x48:r=10:d=0.2",
        "-c:v",
        "libx264",
        "-crf",
        "4",
        "-pix_fmt",
        pix_fmt,
        tmp_path / "a.mp4",
    )
    assert (
        vedit("gif", "crop", "--rect", "40x30+10+10", tmp_path / "a.mp4", "-o", tmp_path / "b.mp4").err == ""
    )
    assert (
        psnr(planes(tmp_path / "b.mp4"), planes(tmp_path / "a.mp4", "format=yuv420p,crop=40:30:10:10")) > 35
    )


@pytest.mark.parametrize(("left", "top"), [(1, 0), (0, 1), (3, 5)])
def test_an_odd_offset_keeps_luma_exact_and_moves_chroma_by_half_a_sample(left: int, top: int) -> None:
    across, down = np.meshgrid(np.arange(20.0), np.arange(16.0))
    slope = (40 + 6 * across + 3 * down).astype(np.uint8)
    whole = Planes(
        Image.fromarray(np.arange(40 * 32, dtype=np.uint32).astype(np.uint8).reshape(32, 40)),
        Image.fromarray(slope),
        Image.fromarray(slope),
    )
    cut = whole.crop((left, top, left + 24, top + 20))
    assert np.array_equal(np.asarray(cut.y), np.asarray(whole.y)[top : top + 20, left : left + 24])
    inside = np.asarray(cut.u).astype(float)[2:-2, 2:-2]
    wanted = 40 + 6 * (across + left / 2) + 3 * (down + top / 2)
    assert np.abs(inside - wanted[2:8, 2:10]).max() <= 1


@pytest.mark.parametrize("how", ["pad", "crop", "scale"])
@pytest.mark.parametrize("size", [(1, 1), (5, 4), (4, 7), (33, 65)])
def test_odd_sizes_become_even_in_all_planes(size: tuple[int, int], how: str) -> None:
    from vedit.media.video.encode import _even_size

    picture = Planes.frombytes(size, bytes(range(256)) * (byte_count(*size) // 256 + 1))
    wanted = _even_size(*size, how)
    made = picture.made_even(wanted, how)
    assert len(made.tobytes()) == byte_count(*wanted) == wanted[0] * wanted[1] * 3 // 2


def test_an_odd_cut_is_written_and_shown_whole(film: Path, tmp_path: Path) -> None:
    assert vedit("gif", "crop", "--rect", "101x79+21+13", film, "-o", tmp_path / "out.mp4").err == ""
    found = planes(tmp_path / "out.mp4").reshape(3, -1)[0][: 102 * 80].reshape(80, 102)
    wanted = planes(film).reshape(3, -1)[0][: WIDTH * HEIGHT].reshape(HEIGHT, WIDTH)[13:92, 21:122]
    assert psnr(found[:79, :101], wanted) > 40
    assert np.abs(found[:, 101] - found[:, 100]).mean() < 6


def test_the_path_of_film_to_film_is_told(film: Path, tmp_path: Path) -> None:
    assert "planes" in vedit("gif", "crop", "--info", "--left", "2", film, "-o", tmp_path / "out.mp4").err
