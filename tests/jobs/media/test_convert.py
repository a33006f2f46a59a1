"""`vedit convert` from any format to any other: frames, times and sound arrive."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import reference
from tests.conftest import gif, leftovers, measured, shared, vedit
from tests.media.clips import ffmpeg, packets, sound_md5
from vedit.media.open import open_clip


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    """One second at 30 frames per second, with sound."""
    path = tmp_path / "movie.mp4"
    both = ("-f", "lavfi", "-i", "testsrc=s=64x48:r=30:d=1", "-f", "lavfi", "-i", "sine=d=1:r=44100")
    ffmpeg(*both, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", path)
    return path


def convert(*args: str | Path) -> None:
    result = vedit("convert", *args)
    assert (result.code, result.err) == (0, "")


def delays(path: Path) -> list[int]:
    return reference.read(path.read_bytes()).delays


def test_a_video_becomes_a_gif_of_25_images_per_second(movie: Path, tmp_path: Path) -> None:
    convert(movie, tmp_path / "a.gif")
    assert delays(tmp_path / "a.gif") == [4] * 25
    assert reference.read((tmp_path / "a.gif").read_bytes()).loop == 0


def test_30_images_per_second_play_3_4_3(movie: Path, tmp_path: Path) -> None:
    convert("--fps", "30", movie, "-o", tmp_path / "a.gif")
    assert delays(tmp_path / "a.gif") == [3, 4, 3] * 10


def test_start_duration_and_width(movie: Path, tmp_path: Path) -> None:
    convert("--start", "0.5", "--duration", "0.2", "--width", "32", movie, "-o", tmp_path / "a.gif")
    result = reference.read((tmp_path / "a.gif").read_bytes())
    assert sum(result.delays) == 20
    assert next(iter(result.frames())).shape[:2] == (24, 32)


@pytest.mark.parametrize("suffix", ["mp4", "webm", "mkv", "nut", "png", "webp"])
def test_a_gif_keeps_its_delays_there_and_back(suffix: str, tmp_path: Path) -> None:
    source = gif("ok_odd_delays_3cs.gif")
    convert(source, tmp_path / f"a.{suffix}")
    convert("--fps", "50", tmp_path / f"a.{suffix}", tmp_path / "b.gif")
    assert delays(tmp_path / "b.gif") == delays(source)


@pytest.mark.parametrize("name", ["ok_disposal_mix.gif", "ok_delays.gif", "ok_loop7.gif", "ok_no_loop.gif"])
def test_a_gif_goes_through_nut_without_a_change_to_frames_delays_or_loop(name: str, tmp_path: Path) -> None:
    convert(gif(name), tmp_path / "a.nut")
    convert(tmp_path / "a.nut", tmp_path / "b.gif")
    before, after = reference.read(gif(name).read_bytes()), reference.read((tmp_path / "b.gif").read_bytes())
    assert after.delays == before.delays
    assert after.loop == before.loop
    for one, two in zip(before.frames(), after.frames(), strict=True):
        assert (one[..., 3] == two[..., 3]).all()
        shown = one[..., 3] > 0
        assert (one[shown] == two[shown]).all()


def test_nut_goes_through_a_pipe(movie: Path, tmp_path: Path) -> None:
    stream = vedit("convert", movie, "--to", "nut")
    assert stream.code == 0
    result = vedit("convert", "-", "-o", tmp_path / "a.mp4", stdin=stream.out)
    assert (result.code, result.err) == (0, "")
    assert [float(pts) for pts, _ in packets(tmp_path / "a.mp4")] == pytest.approx(
        [n / 30 for n in range(30)]
    )
    assert float(packets(tmp_path / "a.mp4", "a")[-1][0]) == pytest.approx(1, abs=0.1)


def test_video_to_a_pipe_is_fragmented_and_read_again(movie: Path, tmp_path: Path) -> None:
    stream = vedit("convert", movie, "--to", "mp4")
    assert stream.code == 0 and b"moof" in stream.out
    assert vedit("convert", "-", "-o", tmp_path / "a.gif", stdin=stream.out).code == 0
    assert delays(tmp_path / "a.gif") == [4] * 25


def test_frames_go_to_a_folder_and_back(movie: Path, tmp_path: Path) -> None:
    convert(movie, tmp_path / "frames" / "%03d.png")
    assert len(os.listdir(tmp_path / "frames")) == 30
    convert("--rate", "30", tmp_path / "frames", "-o", tmp_path / "a.mkv")
    assert len(packets(tmp_path / "a.mkv")) == 30


def test_raw_frames_go_out_and_back_with_their_facts(movie: Path, tmp_path: Path) -> None:
    convert(movie, "-o", tmp_path / "a.rgb24", "--raw-info", tmp_path / "info")
    assert (tmp_path / "a.rgb24").stat().st_size == 30 * 64 * 48 * 3
    convert("-f", "rgb24", "--raw-info", tmp_path / "info", tmp_path / "a.rgb24", "-o", tmp_path / "b.mp4")
    convert("-f", "rgb24", "--size", "64x48", "--rate", "30", tmp_path / "a.rgb24", "-o", tmp_path / "c.mp4")
    assert packets(tmp_path / "b.mp4") == packets(tmp_path / "c.mp4")


def test_a_rate_is_exact_in_video(movie: Path, tmp_path: Path) -> None:
    convert("--fps", "30000/1001", movie, "-o", tmp_path / "a.mp4")
    assert [pts for pts, _ in packets(tmp_path / "a.mp4")] == [Fraction(n * 1001, 30000) for n in range(30)]


def test_sound_is_kept_and_cut_with_the_picture(movie: Path, tmp_path: Path) -> None:
    convert(movie, tmp_path / "all.mp4")
    assert sound_md5(tmp_path / "all.mp4") == sound_md5(movie)
    convert("--start", "0.5", movie, "-o", tmp_path / "half.mp4")
    assert float(packets(tmp_path / "half.mp4", "a")[-1][0]) == pytest.approx(0.5, abs=0.1)


def test_gif_stages_take_video_and_give_video_with_its_sound(movie: Path, tmp_path: Path) -> None:
    result = vedit("gif", "crop", "--rect", "32x24+0+0", movie, "-o", tmp_path / "a.mp4")
    assert (result.code, result.err) == (0, "")
    clip, frames, _ = open_clip(str(tmp_path / "a.mp4"))
    assert (clip.width, clip.height, len(list(frames))) == (32, 24, 30)
    assert sound_md5(tmp_path / "a.mp4") == sound_md5(movie)


def test_gif_stages_give_a_gif_of_a_video(movie: Path, tmp_path: Path) -> None:
    result = vedit("gif", "rotate", "90", movie, "-o", tmp_path / "a.gif")
    assert (result.code, result.err) == (0, "")
    assert delays(tmp_path / "a.gif") == [4] * 25


def test_speed_changes_the_tempo_of_the_sound(movie: Path, tmp_path: Path) -> None:
    result = vedit("gif", "speed", "2", movie, "-o", tmp_path / "a.mp4")
    assert (result.code, result.err) == (0, "")
    assert [pts for pts, _ in packets(tmp_path / "a.mp4")] == [Fraction(n, 60) for n in range(30)]
    assert float(packets(tmp_path / "a.mp4", "a")[-1][0]) == pytest.approx(0.5, abs=0.1)


def test_many_inputs_are_converted_into_a_folder(movie: Path, tmp_path: Path) -> None:
    result = vedit("convert", movie, gif("ok_plain.gif"), "--to", "webp", "-O", tmp_path / "done")
    assert (result.code, result.err) == (0, "")
    assert sorted(os.listdir(tmp_path / "done")) == ["movie.webp", "ok_plain.webp"]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["in.mp4"], 2, "no output format"),
        (["in.mp4", "-o", "out.xyz"], 2, "no format is known"),
        (["in.mp4", "-o", "-"], 2, "Add --to FORMAT"),
        (["in.mp4", "-o", "out.gif", "--fps", "100"], 2, "too fast for a GIF"),
        (["in.mp4", "-o", "out.gif", "--duration", "0"], 2, "the part of the clip is empty"),
        (["in.mp4", "-o", "out.gif", "--start", "-1"], 2, "is not a time"),
        (["in.mp4", "-o", "out.mp4", "--background", "nocolour"], 2, "--background nocolour is not a colour"),
        (["in.mp4", "-o", "out.gif", "--start", "100"], 3, "in.mp4: "),
        (["absent.mp4", "-o", "out.gif"], 3, "absent.mp4: cannot read: no such file"),
    ],
)
def test_what_cannot_be_done_is_told(
    args: list[str], code: int, words: str, movie: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    movie.rename(tmp_path / "in.mp4")
    result = vedit("convert", *args)
    assert result.code == code, result.err
    assert words in result.err
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "out.gif").exists() and not (tmp_path / "out.mp4").exists()


def test_an_output_that_exists_is_kept(movie: Path, tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(b"mine")
    assert vedit("convert", movie, "-o", tmp_path / "a.gif").code == 4
    assert (tmp_path / "a.gif").read_bytes() == b"mine"


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    peaks = []
    for length in (1, 12):
        path = tmp_path / f"{length}.mp4"
        ffmpeg(
            "-f",
            "lavfi",
            "-i",
            f"testsrc=s=320x240:r=25:d={length}",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-pix_fmt",
            "yuv420p",
            path,
        )
        result = measured("convert", path, "-o", tmp_path / f"{length}.nut")
        assert result.code == 0, result.err
        peaks.append(result.peak_mb)
    assert peaks[1] < peaks[0] + 4


def test_neither_numpy_nor_torch_is_loaded(movie: Path, tmp_path: Path) -> None:
    result = measured("convert", movie, "-o", tmp_path / "a.gif")
    assert result.code == 0 and not {"numpy", "torch", "imageio_ffmpeg"} & result.modules


def test_probe_tells_about_a_video(movie: Path) -> None:
    facts = json.loads(vedit("probe", "--json", movie).text)
    assert (facts["width"], facts["height"], facts["images"], facts["duration_s"]) == (64, 48, 30, 1.0)
    assert facts["rate"] == {"avg": 30.0, "const": True}
    assert facts["video"]["codec"] == "h264" and facts["audio"]["codec"] == "aac"


def test_probe_tells_about_a_picture(tmp_path: Path) -> None:
    Image.new("RGB", (5, 3)).save(tmp_path / "a.png")
    assert json.loads(vedit("probe", "--json", tmp_path / "a.png").text)["width"] == 5


def test_a_real_clip_becomes_a_gif_that_is_close(tmp_path: Path) -> None:
    source = shared("data/clips/kitten.mp4")
    convert(source, tmp_path / "a.gif")
    _, frames, _ = open_clip(str(source))
    result = reference.read((tmp_path / "a.gif").read_bytes())
    for frame, found in zip(frames, result.frames(), strict=True):
        wanted = Image.frombytes("RGBA", frame.pixels.size, found.tobytes()).convert("RGB")
        from PIL import ImageChops, ImageStat

        assert max(ImageStat.Stat(ImageChops.difference(frame.pixels, wanted)).rms) < 8


@pytest.mark.parametrize("command", [["convert"], ["gif", "rotate", "180"]])
def test_a_part_of_a_film_begins_with_the_frame_that_is_shown_there(
    tmp_path: Path, command: list[str]
) -> None:
    """Ten frames of .1 s, each of its own grey: at .25 s the third is shown, and for another .05 s."""
    film, part = tmp_path / "film.mkv", tmp_path / "part.nut"
    greys = "geq=lum='20+20*N':cb=128:cr=128,format=gray"
    ffmpeg("-f", "lavfi", "-i", f"color=s=32x32:r=10:d=1,{greys}", "-c:v", "ffv1", film)
    assert vedit(*command, film, "--start", "0.25", "--duration", "0.2", "-o", part).code == 0
    clip, frames, _ = open_clip(str(part))
    shown = [(round(float(np.mean(f.pixels))), f.duration * clip.timebase) for f in frames]
    assert [length for _, length in shown] == [Fraction(1, 20), Fraction(1, 10), Fraction(1, 20)]
    assert [grey for grey, _ in shown] == sorted({grey for grey, _ in shown})
    assert shown[1][0] - shown[0][0] in range(18, 28)
