"""Sound and picture of films stay in step, at any speed, from any container, through pipes."""

from __future__ import annotations

import re
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import vedit
from tests.media.clips import decoded, ffmpeg, packets
from vedit.media.frames import Chapter, Labels
from vedit.media.open import open_clip
from vedit.media.options import ReadOptions
from vedit.media.video.ffmpeg import find_ffmpeg, probe
from vedit.stages.speed import Speed

FLASH_S, RATE = 0.6, 20


@pytest.fixture(scope="module")
def flash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of 1.2 s, black and silent but for a flash and a beep at 0.6 s."""
    path = tmp_path_factory.mktemp("flash") / "flash.mp4"
    ffmpeg(
        "-f", "lavfi", "-i", f"color=black:s=32x32:r={RATE}:d=1.2", "-f", "lavfi", "-i", "sine=f=1000:r=48000:d=1.2",
        "-vf", "geq=lum='if(between(T,0.599,0.649),235,16)':cb=128:cr=128",
        "-af", "volume='if(between(t,0.6,0.7),1,0)':eval=frame",
        "-c:v", "libx264", "-g", "1", "-bf", "0", "-pix_fmt", "yuv420p", "-c:a", "aac", path,
    )  # fmt: skip
    return path


def late(flash: Path, what: str, path: Path) -> Path:
    """The film with its picture ("v") or its sound ("a") half a second later; a transport stream starts at
    5000 s.
    """
    other = "a" if what == "v" else "v"
    far = ("-output_ts_offset", "5000") if path.suffix == ".ts" else ()
    ffmpeg(
        "-itsoffset",
        "0.5",
        "-i",
        flash,
        "-i",
        flash,
        "-map",
        f"0:{what}",
        "-map",
        f"1:{other}",
        "-c",
        "copy",
        *far,
        path,
    )
    return path


def events(path: Path) -> tuple[float, float]:
    """When the flash is seen and when the beep is heard, in seconds from the begin of the file."""
    command = [
        find_ffmpeg(),
        "-hide_banner",
        "-i",
        str(path),
        "-map",
        "0:v:0",
        "-vf",
        "showinfo",
        "-fps_mode",
        "passthrough",
    ]
    done = subprocess.run(
        [*command, "-f", "rawvideo", "-pix_fmt", "gray", "-"], capture_output=True, check=True
    )
    times = [float(text) for text in re.findall(r"pts_time:\s*([\d.]+)", done.stderr.decode())]
    light = np.frombuffer(done.stdout, np.uint8).reshape(len(times), -1).mean(1)
    sound = np.frombuffer(
        ffmpeg(
            "-i",
            path,
            "-map",
            "0:a:0",
            "-af",
            "aresample=async=1:first_pts=0",
            "-ac",
            "1",
            "-ar",
            "48000",
            "-f",
            "s16le",
            "-",
        ),
        np.int16,
    )
    return times[int(np.argmax(light > 128))], float(np.argmax(np.abs(sound.astype(int)) > 2000) / 48000)


def ok(*args: str | Path, stdin: bytes | None = None) -> bytes:
    """Run vedit; fails unless it says nothing and exits 0."""
    result = vedit(*args, stdin=stdin)
    assert (result.code, result.err) == (0, "")
    return result.out


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize(("what", "seen", "heard"), [("v", 1.1, 0.6), ("a", 0.6, 1.1)])
def test_a_stream_that_begins_late_stays_late(
    what: str, seen: float, heard: float, suffix: str, flash: Path, tmp_path: Path
) -> None:
    source = late(flash, what, tmp_path / f"late{suffix}")
    ok("convert", source, "-o", tmp_path / "out.mkv")
    assert events(tmp_path / "out.mkv") == pytest.approx((seen, heard), abs=0.05)  # AAC alone may add 0.02
    ok("gif", "speed", "2", source, "-o", tmp_path / "fast.mp4")
    assert events(tmp_path / "fast.mp4") == pytest.approx((seen / 2, heard / 2), abs=0.03)


@pytest.mark.parametrize(("what", "seen", "heard"), [("v", 1.1, 0.6), ("a", 0.6, 1.1)])
def test_a_stream_that_begins_late_stays_late_through_pipes(
    what: str, seen: float, heard: float, flash: Path, tmp_path: Path
) -> None:
    source = late(flash, what, tmp_path / "late.mp4")
    stream = ok("convert", source, "--to", "nut", "-o", "-")
    fast = ok("gif", "speed", "2", "--to", "nut", "-", stdin=stream)
    (tmp_path / "out.mp4").write_bytes(ok("convert", "-", "--to", "mp4", "-o", "-", stdin=fast))
    assert events(tmp_path / "out.mp4") == pytest.approx((seen / 2, heard / 2), abs=0.03)


def test_a_part_of_a_film_has_its_part_of_the_sound(flash: Path, tmp_path: Path) -> None:
    source = late(flash, "a", tmp_path / "late.mp4")
    ok("convert", "--start", "0.3", source, "-o", tmp_path / "part.mkv")
    assert events(tmp_path / "part.mkv") == pytest.approx((0.3, 0.8), abs=0.03)


def test_four_times_as_fast_every_beep_is_heard(tmp_path: Path) -> None:
    beeps = "aevalsrc='0.8*sin(2*PI*1000*t)*lt(mod(t,0.5),0.03)':s=48000:d=6"
    ffmpeg(
        "-f",
        "lavfi",
        "-i",
        "color=s=32x32:r=5:d=6",
        "-f",
        "lavfi",
        "-i",
        beeps,
        "-pix_fmt",
        "yuv420p",
        "-c:a",
        "aac",
        tmp_path / "a.mp4",
    )
    ok("gif", "speed", "4", tmp_path / "a.mp4", "-o", tmp_path / "b.mp4")
    sound = np.frombuffer(
        ffmpeg("-i", tmp_path / "b.mp4", "-ac", "1", "-ar", "48000", "-f", "s16le", "-"), np.int16
    ).astype(int)
    loud = np.abs(sound[: len(sound) // 96 * 96]).reshape(-1, 96).max(1) > 3000
    assert int((loud[1:] & ~loud[:-1]).sum()) + int(loud[0]) == 12


@pytest.mark.parametrize("option", ["--reverse", "--boomerang"])
def test_sound_that_cannot_be_kept_is_told(option: str, flash: Path, tmp_path: Path) -> None:
    result = vedit("gif", "speed", option, flash, "-o", tmp_path / "out.mp4")
    assert result.code == 0 and "the sound is left out" in result.err
    assert vedit("gif", "speed", option, flash, "-o", tmp_path / "out.gif").err == ""


def test_a_new_rate_of_a_film_plays_its_sound_at_that_speed(flash: Path, tmp_path: Path) -> None:
    ok("gif", "speed", "--fps", "10", flash, "-o", tmp_path / "slow.mp4")
    assert events(tmp_path / "slow.mp4") == pytest.approx((1.2, 1.2), abs=0.05)


# --- tracks, tags, chapters


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of 2 s with a title, a date, a place, two named chapters, and two sounds of which the second is
    the default.
    """
    folder = tmp_path_factory.mktemp("labelled")
    chapters = "".join(
        f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={at}\nEND={at + 1000}\ntitle={name}\n"
        for at, name in (
            (0, "One; #1 = a\\\\b".replace(";", "\\;").replace("#", "\\#").replace("=", "\\=")),
            (1000, "Zwei"),
        )
    )
    (folder / "m").write_text(
        ";FFMETADATA1\ntitle=My Title\nlocation=+48.1000+011.5000/\ndate=2020\n" + chapters
    )
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=s=32x32:r=10:d=2", "-f", "lavfi", "-i", "sine=f=300:d=2", "-f", "lavfi", "-i", "sine=f=3000:d=2", "-i", folder / "m",
        "-map", "0", "-map", "1", "-map", "2", "-map_metadata", "3", "-map_chapters", "3", "-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=deu",
        "-disposition:a:0", "0", "-disposition:a:1", "default", "-pix_fmt", "yuv420p", "-c:a", "aac", folder / "a.mp4",
    )  # fmt: skip
    return folder / "a.mp4"


def told(path: Path) -> Labels:
    with path.open("rb") as file:
        return probe(file).labels


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm"])
def test_title_date_place_and_chapters_are_kept(suffix: str, labelled: Path, tmp_path: Path) -> None:
    ok("gif", "crop", "--rect", "16x16+0+0", labelled, "-o", tmp_path / f"out.{suffix}")
    labels = told(tmp_path / f"out.{suffix}")
    tags = {key.lower(): value for key, value in labels.tags}
    assert (tags["title"], tags["date"], tags["location"]) == ("My Title", "2020", "+48.1000+011.5000/")
    assert labels.chapters == (
        Chapter(Fraction(0), Fraction(1), "One; #1 = a\\b"),
        Chapter(Fraction(1), Fraction(2), "Zwei"),
    )


def test_chapters_are_cut_and_rescaled_with_the_film(labelled: Path, tmp_path: Path) -> None:
    ok("convert", "--start", "0.5", "--duration", "1", labelled, "-o", tmp_path / "part.mkv")
    assert [(float(a), float(b)) for a, b, _ in told(tmp_path / "part.mkv").chapters] == [(0, 0.5), (0.5, 1)]
    ok("gif", "speed", "4", labelled, "-o", tmp_path / "fast.mkv")
    assert [(float(a), float(b)) for a, b, _ in told(tmp_path / "fast.mkv").chapters] == [
        (0, 0.25),
        (0.25, 0.5),
    ]


def test_all_sound_tracks_are_kept_with_their_languages(labelled: Path, tmp_path: Path) -> None:
    for suffix in ("mp4", "webm"):
        ok("convert", labelled, "-o", tmp_path / f"out.{suffix}")
        with (tmp_path / f"out.{suffix}").open("rb") as file:
            assert [(sound.language, sound.is_default) for sound in probe(file).sounds] == [
                ("eng", False),
                ("deu", True),
            ]


def test_one_sound_through_a_pipe_is_the_default_one_and_the_others_are_told(
    labelled: Path, tmp_path: Path
) -> None:
    result = vedit("convert", labelled, "-o", tmp_path / "out.nut")
    assert "1 of 2 sound tracks is kept" in result.err
    sound = np.frombuffer(
        ffmpeg("-i", tmp_path / "out.nut", "-ac", "1", "-ar", "48000", "-f", "s16le", "-"), np.int16
    )[4800:52800]
    assert abs(int(np.abs(np.fft.rfft(sound)).argmax()) - 3000) < 10


def test_subtitles_that_are_left_out_are_told_once(labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "s.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    ffmpeg(
        "-i",
        labelled,
        "-i",
        tmp_path / "s.srt",
        "-map",
        "0:v",
        "-map",
        "0:a",
        "-map",
        "1",
        "-c",
        "copy",
        "-c:s",
        "srt",
        tmp_path / "s.mkv",
    )
    for suffix in ("mkv", "mp4"):
        assert (
            vedit("convert", tmp_path / "s.mkv", "-o", tmp_path / f"out.{suffix}").err.count(
                "the subtitles are left out"
            )
            == 1
        )
    assert "subtitles" not in vedit("convert", labelled, "-o", tmp_path / "plain.mkv").err


def test_a_film_with_hundreds_of_chapters_is_read(labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "m").write_text(
        ";FFMETADATA1\n"
        + "".join(f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={n}\nEND={n + 1}\ntitle=c{n}\n" for n in range(300))
    )
    ffmpeg(
        "-i",
        labelled,
        "-i",
        tmp_path / "m",
        "-map",
        "0:v",
        "-map_chapters",
        "1",
        "-c",
        "copy",
        tmp_path / "many.mkv",
    )
    assert len(told(tmp_path / "many.mkv").chapters) == 300


def test_speed_moves_a_late_begin_and_chapters_alike() -> None:
    from vedit.media.frames import Clip

    labels = Labels((), (Chapter(Fraction(1), Fraction(3), "x"),))
    clip = Speed(factor=Fraction(2)).open(
        Clip(2, 2, timebase=Fraction(1, 1000), rate=Fraction(10), labels=labels)
    )
    assert clip.labels.chapters == (Chapter(Fraction(1, 2), Fraction(3, 2), "x"),) and clip.rate == 20


# --- loops, edit lists, sizes


def plays(path: Path) -> int | None:
    from PIL import Image

    with Image.open(path) as image:
        return image.info.get("loop")


@pytest.mark.parametrize(
    ("loop", "gif", "others"),
    [((), 0, 0), (("--loop", "forever"), 0, 0), (("--loop", "once"), None, 1), (("--loop", "3"), 3, 4)],
)
def test_a_film_loops_as_a_picture_unless_told_otherwise(
    loop: tuple[str, ...], gif: int | None, others: int, flash: Path, tmp_path: Path
) -> None:
    for suffix, wanted in (("gif", gif), ("webp", others), ("apng", others)):
        ok("convert", *loop, "--start", "0.5", "--duration", "0.2", flash, "-o", tmp_path / f"a.{suffix}")
        assert plays(tmp_path / f"a.{suffix}") == wanted
    again = ok("convert", tmp_path / "a.gif", "--to", "nut", "-o", "-")
    ok("convert", "-", "-o", tmp_path / "b.gif", stdin=again)
    ok("convert", tmp_path / "a.apng", "-o", tmp_path / "c.gif")
    assert plays(tmp_path / "b.gif") == plays(tmp_path / "c.gif") == gif


def test_probe_counts_what_an_edit_list_shows(tmp_path: Path) -> None:
    ffmpeg(
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=64x48:r=20:d=2",
        "-c:v",
        "libx264",
        "-g",
        "250",
        "-pix_fmt",
        "yuv420p",
        tmp_path / "a.mp4",
    )
    ffmpeg("-ss", "1.3", "-i", tmp_path / "a.mp4", "-c", "copy", tmp_path / "cut.mp4")
    assert [
        ok("probe", "-e", key, tmp_path / "cut.mp4").decode().strip() for key in ("images", "duration_s")
    ] == ["14", "0.7"]


@pytest.mark.parametrize(
    ("size", "word", "fits"), [((16386, 2), "wide", "16384x2"), ((2, 20000), "high", "2x16384")]
)
def test_a_picture_beyond_the_encoder_is_told_before_any_work(
    size: tuple[int, int], word: str, fits: str, tmp_path: Path
) -> None:
    from PIL import Image

    Image.new("P", size).save(tmp_path / "a.gif")
    result = vedit("convert", tmp_path / "a.gif", "-o", tmp_path / "a.mp4")
    assert (
        result.code == 6
        and f"{size[0]}x{size[1]} is too {word} for H.264" in result.err
        and fits in result.err
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


def test_comments_of_a_film_are_set_and_stripped(labelled: Path, tmp_path: Path) -> None:
    ok("gif", "metadata", "--comment", "seen", labelled, "-o", tmp_path / "a.mkv")
    assert ("COMMENT", "seen") in told(tmp_path / "a.mkv").tags
    ok("gif", "metadata", "--strip", "all", tmp_path / "a.mkv", "-o", tmp_path / "b.mkv")
    assert told(tmp_path / "b.mkv") == Labels()


# --- what a film is that a clip cannot be ------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "rate"), [("mkv", "60000/1001"), ("mkv", "24000/1001"), ("webm", "30"), ("flv", "30000/1001")]
)
def test_a_rate_that_milliseconds_round_is_exact_again_in_mp4(suffix: str, rate: str, tmp_path: Path) -> None:
    film, made = tmp_path / f"a.{suffix}", tmp_path / "a.mp4"
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=s=64x48:r={rate}", "-frames:v", "50", "-pix_fmt", "yuv420p", film)
    ok("convert", film, "-o", made)
    assert packets(made) == [(index / Fraction(rate), 1 / Fraction(rate)) for index in range(50)]


def test_a_frame_that_is_not_where_the_rate_would_have_it_keeps_its_time(tmp_path: Path) -> None:
    film, made = tmp_path / "a.mkv", tmp_path / "b.mkv"
    late = "testsrc2=s=64x48:r=25:d=1,setpts='PTS+gte(N,10)*0.013/TB'"
    ffmpeg("-f", "lavfi", "-i", late, "-fps_mode", "passthrough", "-enc_time_base", "1/1000", film)
    ok("convert", film, "-o", made)
    assert [time for time, _ in packets(made)] == [time for time, _ in packets(film)]


def test_a_second_picture_track_is_told_and_a_cover_is_not_one(tmp_path: Path) -> None:
    film, cover, plain = tmp_path / "a.mkv", tmp_path / "cover.mp4", tmp_path / "plain.mp4"
    small = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.2")
    coded = (
        "-c:v:0",
        "libx264",
        "-filter:v:0",
        "interlace",
        "-flags:v:0",
        "+ildct+ilme",
        "-pix_fmt",
        "yuv420p",
    )
    ffmpeg(*small, *small, "-map", "0", "-map", "1", *coded, film)
    ffmpeg(*small, *small, "-map", "0", "-map", "1", "-c:v:1", "mjpeg", "-frames:v:1", "1",
           "-disposition:v:1", "attached_pic", cover)  # fmt: skip
    ffmpeg(*small, plain)
    words = [
        vedit("convert", str(path), "-o", str(tmp_path / "o.gif"), "-y").err for path in (film, cover, plain)
    ]
    assert "1 of 2 picture tracks is kept" in words[0]
    assert "picture tracks" not in words[1] + words[2]


@pytest.mark.parametrize(
    ("name", "scan", "order"),
    [("a.ts", "tff", "top first"), ("a.ts", "bff", "bottom first"), ("a.mkv", "tff", "top coded first")],
)
def test_a_film_of_fields_is_told(name: str, scan: str, order: str, tmp_path: Path) -> None:
    film = tmp_path / name
    codec = ("-c:v", "mpeg2video") if name == "a.ts" else ("-c:v", "libx264", "-pix_fmt", "yuv420p")
    fields = ("-vf", f"interlace=scan={scan}", *codec, "-flags", "+ildct+ilme")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=50:d=0.4", *fields, film)
    said = vedit("convert", str(film), "--deinterlace", "off", "-o", str(tmp_path / "o.mp4")).err
    assert f"interlaced ({order}" in said and "marked as progressive" in said


@pytest.mark.parametrize("mode", ["auto", "on", "off"])
@pytest.mark.parametrize("is_interlaced", [True, False])
def test_halves_become_whole_pictures_where_the_film_says_so_or_the_user(
    mode: str, is_interlaced: bool, tmp_path: Path
) -> None:
    film, made = tmp_path / "a.mkv", tmp_path / "o.nut"
    codec = ("-c:v", "libx264", "-qp", "0", "-pix_fmt", "yuv420p")
    fields = ("-vf", "interlace=scan=tff", "-flags", "+ildct+ilme") if is_interlaced else ()
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=50:d=0.4", *fields, *codec, film)
    done = vedit("convert", film, "--deinterlace", mode, "-o", made)
    assert (done.code, "interlaced" in done.err) == (0, mode == "off" and is_interlaced)
    is_made_whole = mode == "on" or (mode == "auto" and is_interlaced)
    bwdif = "bwdif=mode=send_frame:deint=all," if is_made_whole else ""
    scale = "scale=64:48:flags=bicubic+accurate_rnd+full_chroma_int:in_color_matrix=smpte170m"
    wanted = decoded(film, (64, 48), "RGB", "-vf", f"{bwdif}{scale}")
    found = decoded(made, (64, 48))
    assert [frame.tobytes() for frame in found] == [frame.tobytes() for frame in wanted]


REORDERED = [
    ("libx264", "-bf", "2"),
    ("libx264", "-bf", "3"),
    ("mpeg4", "-bf", "2"),
    ("mpeg4", "-bf", "0"),
    ("mjpeg", "-q:v", "2"),
]


def stamps_and_pixels(path: Path, **options: object) -> tuple[list[Fraction], list[bytes]]:
    clip, frames, _ = open_clip(str(path), ReadOptions(**options))  # type: ignore[arg-type]
    found = list(frames)
    return [frame.pts * clip.timebase for frame in found], [frame.pixels.tobytes() for frame in found]


@pytest.mark.parametrize("codec", REORDERED)
@pytest.mark.parametrize("rate", ["25", "24000/1001"])
def test_an_avi_with_reordered_pictures_begins_when_it_begins(
    codec: tuple[str, ...], rate: str, tmp_path: Path
) -> None:
    film, same = tmp_path / "a.avi", tmp_path / "a.mkv"
    colours = ("-pix_fmt", "yuvj420p" if codec[0] == "mjpeg" else "yuv420p")
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=s=64x48:r={rate}:d=1", *colours, "-c:v", *codec, film)
    ffmpeg("-i", film, "-c:v", "ffv1", "-fps_mode", "passthrough", same)
    whole = decoded(same, (64, 48))
    stamps, pixels = stamps_and_pixels(film)
    assert stamps == [n / Fraction(rate) for n in range(len(whole))]
    for start in (Fraction(1, 5), Fraction(1, 2)):
        part = {time: data for time, data in zip(*stamps_and_pixels(film, start_s=start), strict=True)}
        after = {n / Fraction(rate): data for n, data in enumerate(pixels) if n / Fraction(rate) >= start}
        near = {min(after, key=lambda t: abs(t - time)): data for time, data in part.items() if time >= start}
        assert near == after
        cut, _ = stamps_and_pixels(film, duration_s=start)
        assert len(cut) == -(-(start * Fraction(rate)).numerator // (start * Fraction(rate)).denominator)


def test_a_film_that_begins_before_zero_is_as_long_as_its_pictures(tmp_path: Path) -> None:
    film = tmp_path / "a.mkv"
    source = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.4", "-c:v", "mpeg4", "-bf", "0")
    ffmpeg(*source, "-output_ts_offset", "-0.2", "-avoid_negative_ts", "disabled", film)
    with film.open("rb") as file:
        facts = probe(file)
    assert (facts.start_s, facts.duration_s, facts.length_s) == (
        Fraction(-1, 5),
        Fraction(1, 5),
        Fraction(2, 5),
    )
    stamps, whole = stamps_and_pixels(film)
    assert stamps == [Fraction(n, 25) for n in range(10)]
    times, part = stamps_and_pixels(film, start_s=Fraction(3, 10))
    assert times[-1] == Fraction(9, 25) and part[-1] == whole[-1]
    done = vedit("convert", film, "--start", "0.3", "-o", tmp_path / "o.mp4")
    assert (done.code, done.err) == (0, "")
