"""y4m and raw frames: constant rates, exact bytes, and facts told beside them."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from tests.conftest import NASTY, vedit
from tests.media.clips import bars, clip_of, decoded, ffmpeg, noise
from vedit.errors import InputError, UsageError
from vedit.media.open import open_clip, write_clip
from vedit.media.options import ReadOptions, WriteOptions
from vedit.media.streams.raw import RawInfo, RawReader, Y4mReader, pixel_bytes, write_raw, write_y4m


def differs_by(a: Image.Image, b: Image.Image) -> int:
    return max(high for _, high in ImageChops.difference(a, b).getextrema())  # type: ignore[misc,union-attr]


def y4m_of(pictures: list[Image.Image], durations: list[int], **options: object) -> bytes:
    stream = io.BytesIO()
    write_y4m(*clip_of(pictures, durations), stream, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def test_y4m_has_full_chroma_and_comes_back_within_rounding() -> None:
    data = y4m_of([noise(15, 9), noise(15, 9, 1)], [4, 4])
    assert data.split(b"\n")[0] == b"YUV4MPEG2 W15 H9 F25:1 Ip A1:1 C444 XCOLORRANGE=FULL"
    reader = Y4mReader(io.BytesIO(data))
    frames = list(reader.frames())
    assert reader.clip.rate == 25
    assert [differs_by(frame.pixels, noise(15, 9, seed)) <= 2 for seed, frame in enumerate(frames)] == [
        True,
        True,
    ]


def test_ffmpeg_sees_the_colours_of_our_y4m() -> None:
    found = decoded(y4m_of([bars()], [4]), (128, 32))
    assert differs_by(found[0], bars()) <= 2


def test_grey_frames_are_exact_in_mono() -> None:
    grey = noise(16, 8).convert("L").convert("RGB")
    data = y4m_of([grey], [4], mono=True)
    assert b"Cmono" in data
    assert next(Y4mReader(io.BytesIO(data)).frames()).pixels.tobytes() == grey.tobytes()


def test_we_read_the_444_of_ffmpeg(tmp_path: Path) -> None:
    picture = tmp_path / "bars.png"
    bars().save(picture)
    data = ffmpeg(
        "-i",
        picture,
        "-vf",
        "scale=out_color_matrix=bt601:out_range=tv",
        "-pix_fmt",
        "yuv444p",
        "-f",
        "yuv4mpegpipe",
        "pipe:1",
    )
    assert differs_by(next(Y4mReader(io.BytesIO(data)).frames()).pixels, bars()) <= 3


def test_subsampled_y4m_is_read_through_ffmpeg_also_from_a_pipe(tmp_path: Path) -> None:
    data = ffmpeg(
        "-f", "lavfi", "-i", "testsrc=s=32x16:r=10:d=1", "-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", "pipe:1"
    )
    path = tmp_path / "a.y4m"
    path.write_bytes(data)
    clip, frames, _ = open_clip(str(path))
    assert clip.rate == 10
    pixels = [frame.pixels.tobytes() for frame in frames]
    assert len(pixels) == 10
    import os
    import subprocess

    read_end, write_end = os.pipe()
    with (
        subprocess.Popen(["cat", str(path)], stdout=write_end),
        os.fdopen(read_end, "rb", buffering=0) as pipe,
    ):
        os.close(write_end)
        _, frames, _ = open_clip("-", stream=pipe)
        assert [frame.pixels.tobytes() for frame in frames] == pixels


def test_varying_delays_become_the_rate_that_hits_them_all() -> None:
    reader = Y4mReader(io.BytesIO(y4m_of([noise(4, 4, seed) for seed in range(3)], [4, 8, 12])))
    assert reader.clip.rate == 25
    assert len(list(reader.frames())) == 1 + 2 + 3


def test_a_rate_that_is_asked_for_leaves_frames_out_and_repeats_them() -> None:
    pictures = [Image.new("RGB", (4, 4), (grey, grey, grey)) for grey in range(0, 250, 25)]
    stream = io.BytesIO()
    write_raw(*clip_of(pictures, [10] * 10), stream, "rgb24", rate=Fraction(5))
    assert list(stream.getvalue()[:: 3 * 16]) == [0, 50, 100, 150, 200]


def test_transparency_is_laid_over_black_or_the_background_named() -> None:
    clear = Image.new("RGBA", (2, 2), (9, 9, 9, 0))
    for background, grey in (("black", 0), ("white", 255)):
        stream = io.BytesIO()
        write_raw(*clip_of([clear], [4]), stream, "rgb24", background=background)
        assert set(stream.getvalue()) == {grey}


def test_raw_frames_tell_their_facts_as_one_json_line() -> None:
    said: list[str] = []
    stream = io.BytesIO()
    write_raw(*clip_of([noise(6, 4, mode="RGBA")], [4]), stream, "rgba", tell=said.append)
    assert stream.getvalue() == noise(6, 4, mode="RGBA").tobytes()
    assert said == ['{"format": "rgba", "size": "6x4", "rate": "25"}']
    info = RawInfo.from_json(said[0])
    assert (
        next(RawReader(io.BytesIO(stream.getvalue()), info).frames()).pixels.tobytes()
        == noise(6, 4, mode="RGBA").tobytes()
    )


def test_raw_info_goes_to_a_file_and_comes_back(tmp_path: Path) -> None:
    write_clip(
        *clip_of([noise(6, 4)] * 2, [5, 5]),
        str(tmp_path / "a.rgb24"),
        WriteOptions(raw_info=str(tmp_path / "info")),
    )
    clip, frames, _ = open_clip(
        str(tmp_path / "a.rgb24"), ReadOptions(format="rgb24", raw_info=str(tmp_path / "info"))
    )
    assert (clip.width, clip.height, clip.rate, len(list(frames))) == (6, 4, 20, 2)


def test_raw_frames_without_size_or_rate_are_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"xx")
    with pytest.raises(UsageError, match="--size WxH and --rate R"):
        open_clip(str(tmp_path / "a"), ReadOptions(format="rgb24"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"size": "axb", "rate": "1", "format": "rgb24"}',
        '{"size": "1x1", "rate": "1/0", "format": "rgb24"}',
    ],
)
def test_raw_info_that_is_something_else_is_an_input_error(text: str) -> None:
    with pytest.raises(InputError, match="not raw info"):
        RawInfo.from_json(text)


def test_bytes_behind_the_last_raw_frame_are_warned_about() -> None:
    warnings: list[str] = []
    reader = RawReader(io.BytesIO(b"\0" * 100), RawInfo(4, 4, Fraction(25), "rgb24"), warn=warnings.append)
    assert len(list(reader.frames())) == 2
    assert warnings == ["4 bytes behind frame 2 are not a whole frame; is the size right?"]


@pytest.mark.parametrize(
    "header",
    [
        b"YUV4MPEG2 W0 H4\n",
        b"YUV4MPEG2 H4\n",
        b"YUV4MPEG2 W4 H4 F1:0\n",
        b"YUV4MPEG2 W4",
        b"YUV4MPEGx W4 H4\n",
    ],
)
def test_a_damaged_y4m_header_is_an_input_error(header: bytes) -> None:
    with pytest.raises(InputError):
        Y4mReader(io.BytesIO(header))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_pixels_in_one_piece_are_pillows_own(mode: str) -> None:
    for size in ((1, 1), (300, 200), (1023, 77)):
        picture = Image.effect_noise(size, 90).convert(mode)
        assert pixel_bytes(picture) == picture.tobytes()


@pytest.mark.parametrize(
    "header",
    ["W4 H4 F1e9999999", "W4 H4 F1:99999999999999999999", "W4 H4 F1:0", "W4 H4 F0:1", "W4_0 H4 F1:1", "W0 H4 F1:1", f"W{'9' * 3000} H4 F1:1",
     "W4 H99999 F1:1", "W4 H4 F1:1 A1", "W4 H4 F1:1 A1:1e9", "W4 H4 F1:1 A", "W4 H4 F-1:1", "W4 F1:1"],
)  # fmt: skip
def test_absurd_numbers_of_a_y4m_header_are_refused_before_arithmetic(header: str) -> None:
    with pytest.raises(InputError, match="header of the y4m stream"):
        Y4mReader(io.BytesIO(f"YUV4MPEG2 {header} Ip C444\nFRAME\n".encode() + bytes(48)))


@pytest.mark.parametrize(
    "text",
    ['{"format": "rgb24", "size": "4x4", "rate": "1e99999999"}', '{"format": "rgb24", "size": "0x4", "rate": "5"}',
     '{"format": "rgb24", "size": "4x4", "rate": "0"}', '{"format": "rgb24", "size": "4x4", "rate": [5]}', '{"size": "4x4", "rate": "5"}',
     '{"format": "rgb24", "size": "4x4x4", "rate": "5"}', '{"format": "rgb24", "size": "99999x4", "rate": "5"}', "[" * 60_000],
)  # fmt: skip
def test_absurd_raw_info_is_an_input_error_with_its_file(text: str) -> None:
    with pytest.raises(InputError, match=r"info\.json: not raw info"):
        RawInfo.from_json(text, "info.json")


@pytest.mark.parametrize("option", ["--fps", "--rate", "--start", "--duration"])
@pytest.mark.parametrize("number", ["1e99999999", "9" * 5000, "1/0", "²", "nan", "inf"])
def test_numbers_without_end_on_the_command_line_are_usage_errors(option: str, number: str) -> None:
    done = vedit("convert", option, number, NASTY / "ok_plain.gif", "-o", "never.gif")
    assert done.code == 2
    assert "is not a" in done.err


@pytest.mark.parametrize("size", ["0x4", "²x4", f"{'9' * 5000}x4", "4x", "4x-4"])
def test_a_size_that_is_none_is_a_usage_error(size: str) -> None:
    done = vedit(
        "convert", "-f", "rgb24", "--size", size, "--rate", "5", NASTY / "ok_plain.gif", "-o", "never.gif"
    )
    assert done.code == 2
    assert "is not a size" in done.err
