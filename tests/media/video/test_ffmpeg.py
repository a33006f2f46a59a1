"""Video in and out: colours, times, geometry and sound are right, and no file leads anywhere else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from tests.conftest import ROOT, shared
from tests.media.clips import COLOURS, bars, clip_of, decoded, ffmpeg, noise, packets, sound_md5
from vedit.errors import InputError, ModelError, OutputError
from vedit.media.frames import Clip, Frame
from vedit.media.open import open_clip, write_clip
from vedit.media.options import ReadOptions, WriteOptions
from vedit.media.streams.planes import even
from vedit.media.video.decode import tempo_filters
from vedit.media.video.encode import write_video
from vedit.media.video.ffmpeg import find_ffmpeg, measure, parse_banner, probe

DELAYS = [7, 3, 50, 123]
EXACT = ("-vf", "scale=flags=accurate_rnd+full_chroma_int")


def read(path: Path, **options: object) -> tuple[Clip, list[Frame]]:
    """A clip and all its frames; fails on any warning."""
    complaints: list[str] = []
    clip, frames, _ = open_clip(str(path), ReadOptions(**options), warn=complaints.append)  # type: ignore[arg-type]
    kept = list(frames)
    assert complaints == []
    return clip, kept


def seconds(clip: Clip, frames: list[Frame]) -> list[Fraction]:
    return [frame.duration * clip.timebase for frame in frames]


def difference(a: Image.Image, b: Image.Image) -> int:
    """The largest difference of any channel of any pixel."""
    return max(high for _, high in ImageChops.difference(a, b).getextrema())  # type: ignore[misc,union-attr]


# --- writing


@pytest.mark.parametrize("format", ["mp4", "mov", "mkv", "webm"])
def test_colours_are_within_3_of_255_of_what_was_written(format: str, tmp_path: Path) -> None:
    clip, frames = clip_of([bars()] * 3, [10] * 3)
    path = tmp_path / f"out.{format}"
    write_video(clip, frames, str(path), format)
    for picture in decoded(path, (128, 32), "RGB", *EXACT):
        for place, colour in enumerate(COLOURS):
            found = picture.getpixel((place * 16 + 8, 16))
            assert all(abs(a - b) <= 3 for a, b in zip(found, colour, strict=True)), (colour, found)  # type: ignore[arg-type]


@pytest.mark.parametrize("format", ["mp4", "mov", "mkv", "webm"])
def test_every_delay_is_kept_and_the_last_one_too(format: str, tmp_path: Path) -> None:
    clip, frames = clip_of([bars(), bars().transpose(Image.Transpose.FLIP_LEFT_RIGHT)] * 2, DELAYS)
    path = tmp_path / f"out.{format}"
    assert write_video(clip, frames, str(path), format) == 4
    assert [pts for pts, _ in packets(path)] == [Fraction(pts, 100) for pts in (0, 7, 10, 60)]
    found, kept = read(path)
    assert seconds(found, kept) == [Fraction(delay, 100) for delay in DELAYS]


def test_video_is_tagged_as_bt709_of_video_range(tmp_path: Path) -> None:
    clip, frames = clip_of([bars()], [10])
    path = tmp_path / "out.mp4"
    write_video(clip, frames, str(path), "mp4")
    with path.open("rb") as file:
        video = probe(file).video
    assert video is not None
    assert (video.codec, video.pix_fmt, video.color) == ("h264", "yuv420p", "tv, bt709")


def test_odd_sizes_grow_by_repeating_the_last_row_and_column() -> None:
    grown = even(noise(5, 3), (6, 4), "pad")
    assert grown.crop((0, 0, 5, 3)).tobytes() == noise(5, 3).tobytes()
    assert grown.crop((5, 0, 6, 3)).tobytes() == noise(5, 3).crop((4, 0, 5, 3)).tobytes()
    assert grown.crop((0, 3, 6, 4)).tobytes() == grown.crop((0, 2, 6, 3)).tobytes()


@pytest.mark.parametrize(("how", "size"), [("pad", (66, 34)), ("crop", (64, 32)), ("scale", (66, 34))])
def test_odd_sizes_become_even_as_asked(how: str, size: tuple[int, int], tmp_path: Path) -> None:
    clip, frames = clip_of([noise(65, 33)], [10])
    path = tmp_path / "out.mp4"
    write_video(clip, frames, str(path), "mp4", WriteOptions(even=how))
    assert read(path)[1][0].pixels.size == size


def test_a_single_pixel_can_be_written(tmp_path: Path) -> None:
    for how in ("pad", "crop", "scale"):
        clip, frames = clip_of([Image.new("RGB", (1, 1), "red")], [10])
        write_video(clip, frames, str(tmp_path / "out.mp4"), "mp4", WriteOptions(even=how))
        assert read(tmp_path / "out.mp4")[1][0].pixels.size == (2, 2)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [(WriteOptions(), (255, 255, 255)), (WriteOptions(background="#004080"), (0, 64, 128))],
)
def test_transparency_shows_the_background(
    options: WriteOptions, wanted: tuple[int, int, int], tmp_path: Path
) -> None:
    clip, frames = clip_of([Image.new("RGBA", (32, 32), (200, 0, 0, 0))], [10])
    write_video(clip, frames, str(tmp_path / "out.mp4"), "mp4", options)
    found = decoded(tmp_path / "out.mp4", (32, 32), "RGB", *EXACT)[0].getpixel((16, 16))
    assert all(abs(a - b) <= 3 for a, b in zip(found, wanted, strict=True)), found  # type: ignore[arg-type]


def test_gif_delays_of_0_and_1_are_written_as_browsers_play_them(tmp_path: Path) -> None:
    warnings: list[str] = []
    clip, frames = clip_of([noise(16, 16, seed) for seed in range(4)], [0, 1, 2, 5], warn=warnings.append)
    write_video(clip, frames, str(tmp_path / "out.mkv"), "mkv")
    assert seconds(*read(tmp_path / "out.mkv")) == [
        Fraction(1, 10),
        Fraction(1, 10),
        Fraction(2, 100),
        Fraction(5, 100),
    ]
    assert warnings == ["2 delays of 0 or 1 cs are written as 10 cs, which is how browsers play them"]


def test_repeats_play_the_clip_again_with_its_last_delay(tmp_path: Path) -> None:
    clip, frames = clip_of([noise(16, 16), noise(16, 16, 1)], [10, 30])
    write_video(clip, frames, str(tmp_path / "out.mp4"), "mp4", WriteOptions(repeat=3))
    assert seconds(*read(tmp_path / "out.mp4")) == [Fraction(1, 10), Fraction(3, 10)] * 3


def test_an_mp4_file_has_its_index_in_front_and_leaves_no_part_behind(tmp_path: Path) -> None:
    clip, frames = clip_of([bars()] * 2, [10] * 2)
    write_clip(clip, frames, str(tmp_path / "out.mp4"))
    data = (tmp_path / "out.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert os.listdir(tmp_path) == ["out.mp4"]


def test_an_encoder_that_fails_is_an_output_error_with_its_words(tmp_path: Path) -> None:
    clip, frames = clip_of([bars()] * 2, [10] * 2)
    with pytest.raises(OutputError) as raised:
        write_clip(clip, frames, str(tmp_path / "out.mp4"), WriteOptions(preset="nonsense"))
    assert "out.mp4: the encoder failed: " in str(raised.value) and ".part" not in str(raised.value)
    assert raised.value.exit_code == 4
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_an_output_error() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    clip, frames = clip_of([noise(320, 240, seed) for seed in range(9)], [10] * 9)
    with pytest.raises(OutputError):
        write_clip(clip, frames, "/dev/full", WriteOptions(format="mkv"))


def test_frames_that_fail_half_way_leave_no_file_and_no_process(tmp_path: Path) -> None:
    clip, frames = clip_of([bars()] * 3, [10] * 3)

    def failing() -> object:
        yield next(frames)
        raise InputError("the source is damaged.")

    with pytest.raises(InputError, match="the source is damaged"):
        write_clip(clip, failing(), str(tmp_path / "out.mp4"))  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == []
    assert children() == []


@pytest.mark.parametrize(
    "name",
    [
        "-y.mp4",
        "a:b.mp4",
        "100%d.mp4",
        "a|b.mp4",
        "new\nline.mp4",
        "żółć 猫.mp4",
        "concat:x.mp4",
        "a'b\"c.mp4",
    ],
)
def test_names_are_never_options_patterns_or_protocols(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clip, frames = clip_of([bars()] * 2, [10] * 2)
    write_clip(clip, frames, name, WriteOptions(format="mp4"))
    assert os.listdir(tmp_path) == [name]
    assert len(read(Path(name))[1]) == 2


# --- reading


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    """30 frames of 64x48 at 30 per second, lossless."""
    path = tmp_path / "movie.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48:r=30:d=1", "-c:v", "ffv1", "-pix_fmt", "gbrp", path)
    return path


def test_lossless_video_is_read_bit_for_bit(movie: Path) -> None:
    _, frames = read(movie)
    assert [frame.pixels.tobytes() for frame in frames] == [
        picture.tobytes() for picture in decoded(movie, (64, 48))
    ]


def test_a_variable_rate_is_kept_exactly(tmp_path: Path) -> None:
    path = tmp_path / "vfr.mp4"
    ffmpeg(
        "-f",
        "lavfi",
        "-i",
        "testsrc=s=64x48:r=30:d=2,select='not(mod(n,3)*mod(n,7))'",
        "-fps_mode",
        "passthrough",
        "-c:v",
        "libx264",
        "-pix_fmt",
        "yuv420p",
        path,
    )
    clip, frames = read(path)
    assert [frame.pts * clip.timebase for frame in frames] == [pts for pts, _ in packets(path)]
    assert clip.rate is None


def test_a_named_part_is_read_at_its_own_times(movie: Path) -> None:
    clip, frames = read(movie, start_s=Fraction(1, 2), duration_s=Fraction(1, 5))
    assert [frame.pts * clip.timebase for frame in frames] == pytest.approx(
        [15 / 30, 16 / 30, 17 / 30, 18 / 30, 19 / 30, 20 / 30], abs=0.001
    )
    assert frames[0].pixels.tobytes() == decoded(movie, (64, 48))[15].tobytes()


def test_rotation_is_applied(movie: Path, tmp_path: Path) -> None:
    flat, turned = tmp_path / "flat.mp4", tmp_path / "turned.mp4"
    ffmpeg("-i", movie, "-c:v", "libx264", "-qp", "0", "-pix_fmt", "yuv444p", flat)
    ffmpeg("-display_rotation", "-90", "-i", flat, "-c", "copy", turned)
    with turned.open("rb") as file:
        facts = probe(file)
    assert facts.video is not None and (facts.video.rotation, facts.video.shown) == (90, (48, 64))
    clip, frames = read(turned)
    assert (clip.width, clip.height) == (48, 64)
    upright = read(flat)[1][0].pixels
    assert difference(frames[0].pixels, upright.transpose(Image.Transpose.ROTATE_270)) <= 2


@pytest.mark.parametrize("suffix", ["mpg", "vob"])
def test_packets_without_a_time_of_showing_have_the_length_that_frames_have(
    suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"film.{suffix}"
    ffmpeg(
        "-f",
        "lavfi",
        "-i",
        "testsrc=s=64x48:r=60000/1001",
        "-frames:v",
        "48",
        "-c:v",
        "mpeg2video",
        "-bf",
        "2",
        path,
    )
    with path.open("rb") as file:
        timeline = measure(file)
    assert timeline.images == 48
    assert float(timeline.duration_s) == pytest.approx(48 * 1001 / 60000, abs=0.002)  # ticks of 1/90000


def test_sample_aspect_is_applied(movie: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide.mp4"
    ffmpeg("-i", movie, "-vf", "setsar=2/3", "-c:v", "libx264", "-pix_fmt", "yuv420p", wide)
    clip, frames = read(wide)
    assert (clip.width, clip.height) == frames[0].pixels.size == (43, 48)


def test_a_real_clip_of_sample_aspect_2_to_3_is_427_wide() -> None:
    clip, frames = read(shared("data/gifs/real/autoeditor_SAR-2by3.mp4"))
    assert (clip.width, clip.height, len(frames)) == (427, 360, 60)


@pytest.mark.parametrize(
    "encoder", [("-c:v", "qtrle", "-pix_fmt", "argb"), ("-c:v", "png", "-pix_fmt", "rgba")]
)
def test_alpha_is_read_where_the_source_has_it(encoder: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "alpha.mov"
    ffmpeg("-f", "lavfi", "-i", "color=red@0.5:s=16x16:d=0.2:r=10,format=rgba", *encoder, path)
    _, frames = read(path)
    assert frames[0].kind == "rgba"
    assert frames[0].pixels.getpixel((8, 8)) in [
        (254, 0, 0, 127),
        (254, 0, 0, 128),
        (255, 0, 0, 127),
        (255, 0, 0, 128),
    ]


def test_alpha_of_webm_is_read(tmp_path: Path) -> None:
    path = tmp_path / "alpha.webm"
    ffmpeg(
        "-f",
        "lavfi",
        "-i",
        "color=red@0.5:s=16x16:d=0.2:r=10,format=rgba",
        "-c:v",
        "libvpx-vp9",
        "-pix_fmt",
        "yuva420p",
        path,
    )
    _, frames = read(path)
    assert abs(frames[0].pixels.getpixel((8, 8))[3] - 128) <= 2


def test_scaling_happens_on_the_way(movie: Path) -> None:
    assert read(movie, scale=(32, None))[1][0].pixels.size == (32, 24)
    assert read(movie, scale=(None, 12))[1][0].pixels.size == (16, 12)
    assert read(movie, scale=(20, 20))[1][0].pixels.size == (20, 20)


def test_a_pipe_gives_what_the_file_gives(movie: Path) -> None:
    mp4 = movie.with_suffix(".mp4")
    ffmpeg("-i", movie, "-c:v", "libx264", "-pix_fmt", "yuv420p", mp4)  # its index is at the end
    read_end, write_end = os.pipe()
    with (
        subprocess.Popen(["cat", str(mp4)], stdout=write_end),
        os.fdopen(read_end, "rb", buffering=0) as pipe,
    ):
        os.close(write_end)
        _, frames, _ = open_clip("-", stream=pipe)
        assert [frame.pixels.tobytes() for frame in frames] == [
            frame.pixels.tobytes() for frame in read(mp4)[1]
        ]


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXTINF:1,\nsecret.mp4\n",
        "ffconcat version 1.0\nfile secret.mp4\n",
        "\ufeff#EXTM3U\nfile:///etc/passwd\n",
    ],
)
def test_playlists_open_no_other_file(text: str, movie: Path, tmp_path: Path) -> None:
    ffmpeg("-i", movie, "-c:v", "libx264", "-pix_fmt", "yuv420p", tmp_path / "secret.mp4")
    for name in ("list.m3u8", "list.mp4", "list.txt"):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError):
            read(tmp_path / name)


def test_a_playlist_that_hides_from_us_opens_no_other_file_either(movie: Path, tmp_path: Path) -> None:
    ffmpeg("-i", movie, "-c:v", "libx264", "-pix_fmt", "yuv420p", tmp_path / "secret.mp4")
    for text in (
        "\n" * 20 + "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:secret.mp4\n",
        " " * 20 + "ffconcat version 1.0\nfile 'secret.mp4'\n",
    ):
        (tmp_path / "list.m3u8").write_text(text)
        with pytest.raises(InputError):
            read(tmp_path / "list.m3u8")


def test_a_name_that_looks_like_numbered_pictures_opens_only_itself(
    movie: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("a001.jpg")
    data = movie.read_bytes()
    Path("a%03d.jpg").write_bytes(data)
    assert read(Path("a%03d.jpg"))[1][0].pixels.size == (64, 48)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 500,
        b"RIFF\x10\0\0\0AVI LIST" + b"\0" * 30,
        b"\x1aE\xdf\xa3" + b"junk" * 50,
        b"\0\0\0\x18ftypisom" + b"\0" * 100,
    ],
)
def test_what_is_no_video_is_an_input_error(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(data)
    with pytest.raises(InputError) as raised:
        read(tmp_path / "bad.mp4")
    assert raised.value.exit_code == 3 and "0x" not in str(raised.value)


def test_a_cut_video_keeps_its_whole_frames_and_warns(movie: Path, tmp_path: Path) -> None:
    warnings: list[str] = []
    data = movie.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) * 2 // 3])
    _, frames, _ = open_clip(str(tmp_path / "cut.mkv"), warn=warnings.append)
    assert 5 < len(list(frames)) < 30
    assert len(warnings) <= 1


def children() -> list[int]:
    """Processes that we have started and not taken leave of."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,comm=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=False
    ).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if "ffmpeg" in line]


def test_frames_closed_early_end_the_child(movie: Path) -> None:
    _, frames, _ = open_clip(str(movie))
    next(frames)
    assert len(children()) == 1
    frames.close()  # type: ignore[attr-defined]
    assert children() == []


def test_frames_never_begun_end_the_child(movie: Path) -> None:
    clip, frames, _ = open_clip(str(movie))
    assert len(children()) == 1
    del clip, frames
    assert children() == []


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_leaves_neither_file_nor_process(tmp_path: Path) -> None:
    code = f"""
import sys
from tests.media.clips import bars
from vedit.media.frames import Clip, Frame
from vedit.media.open import write_clip
clip = Clip(128, 32)
def endless():
    n = 0
    while True:
        if n == 20: print("going", flush=True)
        yield Frame(n, n * 10, 10, "rgb", clip.canvas, bars()); n += 1
try:
    write_clip(clip, endless(), {str(tmp_path / "out.mp4")!r})
except KeyboardInterrupt:
    import os; from tests.media.video.test_ffmpeg import children
    print("stopped", children(), flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "going\n"
        os.killpg(process.pid, 2)
        assert process.stdout.readline() == "stopped []\n"
    assert os.listdir(tmp_path) == []


# --- sound


def test_sound_is_copied_untouched_when_its_time_is() -> None:
    source = shared("data/clips/rabbit-watermelon.mp4")
    clip, frames, _ = open_clip(str(source), ReadOptions(scale=(64, 64)))
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write_clip(clip, frames, f"{folder}/out.mp4", WriteOptions(preset="ultrafast"))
        assert sound_md5(Path(folder, "out.mp4")) == sound_md5(source)


@pytest.fixture
def talkie(tmp_path: Path) -> Path:
    """Two seconds of picture and tone."""
    path = tmp_path / "talkie.mp4"
    both = ("-f", "lavfi", "-i", "testsrc=s=32x32:r=10:d=2", "-f", "lavfi", "-i", "sine=d=2:r=44100")
    ffmpeg(*both, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", path)
    return path


def sound_length(path: Path) -> float:
    return (
        len(ffmpeg("-i", path, "-map", "0:a:0", "-f", "s16le", "-ac", "1", "-ar", "8000", "pipe:1")) / 16000
    )


def test_sound_changes_its_tempo_with_the_frames(talkie: Path, tmp_path: Path) -> None:
    clip, frames, _ = open_clip(str(talkie))
    assert clip.audio is not None
    clip = clip.but(audio=clip.audio._replace(tempo=Fraction(2)), timebase=clip.timebase / 2)
    write_clip(clip, frames, str(tmp_path / "fast.mp4"))
    assert sound_length(tmp_path / "fast.mp4") == pytest.approx(1, abs=0.1)


def test_sound_is_left_out_when_asked(talkie: Path, tmp_path: Path) -> None:
    clip, frames, _ = open_clip(str(talkie))
    write_clip(clip, frames, str(tmp_path / "silent.mp4"), WriteOptions(keep_audio=False))
    with (tmp_path / "silent.mp4").open("rb") as file:
        assert probe(file).audio is None


def test_sound_is_encoded_again_for_a_container_that_cannot_take_it(talkie: Path, tmp_path: Path) -> None:
    clip, frames, _ = open_clip(str(talkie))
    write_clip(clip, frames, str(tmp_path / "out.webm"))
    with (tmp_path / "out.webm").open("rb") as file:
        audio = probe(file).audio
    assert audio is not None and audio.codec == "opus"


def test_sound_goes_through_nut_and_back(talkie: Path, tmp_path: Path) -> None:
    clip, frames, _ = open_clip(str(talkie))
    write_clip(clip, frames, str(tmp_path / "a.nut"))
    clip, frames, _ = open_clip(str(tmp_path / "a.nut"))
    write_clip(clip, frames, str(tmp_path / "b.mp4"))
    assert sound_length(tmp_path / "b.mp4") == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    ("tempo", "filters"),
    [
        (Fraction(1), ""),
        (Fraction(2), "atempo=2"),
        (Fraction(1, 2), "atempo=0.5"),
        (Fraction(1, 8), "atempo=0.5,atempo=0.5,atempo=0.5"),
        (Fraction(5), "atempo=2,atempo=2,atempo=1.25"),
    ],
)
def test_tempo_is_a_chain_of_what_one_filter_can_do(tempo: Fraction, filters: str) -> None:
    assert tempo_filters(tempo) == filters


# --- facts


BANNER = """Input #0, mov,mp4,m4a,3gp,3g2,mj2, from 'fd:':
  Metadata:
    Stream #0:9     : Video: h264, yuv420p, 9x9
    title           : x
                    :   Stream #0:8: Video: h264, yuv420p, 8x8
  Duration: 00:01:02.50, start: 0.000000, bitrate: 711 kb/s
  Stream #0:0[0x1](und): Video: mjpeg, yuvj420p(pc), 100x100, 90k tbr, 90k tbn (attached pic)
  Stream #0:1[0x1](und): Video: h264 (High) (avc1 / 0x31637661), yuv420p(tv, bt709, progressive), 640x360 [SAR 2:3 DAR 32:27], 64 kb/s, 29.97 fps, 29.97 tbr, 30k tbn (default)
    Metadata:
      handler_name    : Video, 1x1
    Side data:
      displaymatrix: rotation of -90.00 degrees
  Stream #0:2[0x2](eng): Audio: aac (LC) (mp4a / 0x6134706D), 44100 Hz, 5.1(side), fltp, 128 kb/s (default)
At least one output file must be specified"""


def test_facts_are_read_from_what_ffmpeg_prints_and_not_from_metadata() -> None:
    facts = parse_banner(BANNER.splitlines())
    assert facts is not None and facts.video is not None and facts.audio is not None
    assert facts.duration_s == Fraction(125, 2)
    assert (facts.video.codec, facts.video.width, facts.video.height) == ("h264", 640, 360)
    assert (facts.video.sar, facts.video.rotation, facts.video.shown) == (Fraction(2, 3), 90, (360, 427))
    assert facts.video.fps == Fraction(30000, 1001) and facts.video.is_constant
    assert facts.video.color == "tv, bt709"
    assert (facts.audio.codec, facts.audio.rate, facts.audio.channels) == ("aac", 44100, "5.1(side)")


def test_a_walk_over_the_packets_counts_and_times_them(movie: Path) -> None:
    with movie.open("rb") as file:
        timeline = measure(file)
    assert (timeline.images, timeline.rate) == (30, 30)
    assert float(timeline.duration_s) == pytest.approx(1, abs=0.002)


def test_an_ffmpeg_named_wrongly_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEDIT_FFMPEG", "/nowhere/ffmpeg")
    with pytest.raises(ModelError, match="VEDIT_FFMPEG is /nowhere/ffmpeg"):
        find_ffmpeg()


def test_an_ffmpeg_that_cannot_run_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, movie: Path
) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_bytes(b"\x7fELF nothing")
    broken.chmod(0o755)
    monkeypatch.setenv("VEDIT_FFMPEG", str(broken))
    with pytest.raises(ModelError, match="cannot be started"):
        read(movie)


def test_a_reader_that_stops_reading_does_not_hang(movie: Path) -> None:
    begun = time.monotonic()
    _, frames, _ = open_clip(str(movie), ReadOptions(scale=(1280, 960)))
    next(frames)
    del frames
    assert time.monotonic() - begun < 10
