"""Whole runs: exact on good files, honest on damaged ones, and in constant memory."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import reference
from tests.conftest import (
    NASTY,
    OK,
    ROOT,
    WARN,
    WELL_FORMED,
    edited,
    gif,
    measured,
    parsed,
    same_facts,
    same_frames,
    shared,
    vedit,
)
from tests.media.clips import clip_of, decoded, ffmpeg, noise, packets
from tests.random_gifs import nasty, random_gif
from vedit.media.open import write_clip
from vedit.media.video.ffmpeg import find_ffmpeg

MESSAGES = {  # the table of docs/gif.md 4: what each damaged file makes a command say, once
    "warn_corrupt_lzw.gif": "image 2: damaged data, 1230 of 3072 pixels kept",
    "warn_extra_pixels.gif": "image 1 has more pixels than fit in it",
    "warn_gce_size5.gif": "control block of 5 bytes before image 1: the first 4 are used",
    "warn_index_out_of_palette.gif": "image 1: colours outside its palette of 4 are black",
    "warn_junk_between.gif": "4 bytes of junk between blocks after image 2 are skipped",
    "warn_mcs_0.gif": "image 2: damaged data, 0 of 64 pixels kept",
    "warn_mcs_12.gif": "image 2: damaged data, 0 of 64 pixels kept",
    "warn_missing_pixels.gif": "image 1: damaged data, 1920 of 3072 pixels kept",
    "warn_no_eoi.gif": "image 1 has no end code",
    "warn_no_trailer.gif": "truncated after image 6: no trailer",
    "warn_trailing_garbage.gif": "65 bytes after the end of the GIF are ignored",
    "warn_truncated_in_descriptor.gif": "truncated after image 4: inside an image descriptor",
    "warn_truncated_in_gce.gif": "truncated after image 4: inside a control block",
    "warn_truncated_in_image.gif": "truncated inside image 5",
    "warn_two_gifs.gif": "787 bytes after the end of the GIF are ignored",
}
SHOWN_ONLY_BY_DECODING = {name for name, message in MESSAGES.items() if message.startswith("image ")}
COPY = (("speed", "0.5"), ("adjust", "--brightness", "1"), ("metadata",))


@pytest.mark.parametrize("share", [(1, 2), (1, 3), (5, 3)], ids=["half", "third", "larger"])
@pytest.mark.parametrize("name", WELL_FORMED)
def test_nearest_resize_equals_nearest_resize_of_every_composed_frame(
    name: str, share: tuple[int, int]
) -> None:
    source = parsed(gif(name))
    if share == (5, 3) and source.width * source.height > 60_000:
        pytest.skip("enlarging large files takes the reference decoder long")
    w, h = (max(1, side * share[0] // share[1] + 1) for side in source.size)
    result = edited(name, "resize", "--size", f"{w}x{h}", "--filter", "nearest")
    same_frames(result, source, reference.nearest(w, h))
    same_facts(result, source)


OPERATIONS = {
    "crop": (
        ("crop", "--left", "20%", "--bottom", "10%"),
        lambda w, h: reference.cropped(int(w / 5 + 0.5), 0, w - int(w / 5 + 0.5), h - int(h / 10 + 0.5)),
    ),
    "rotate": (("rotate", "90"), lambda w, h: reference.turned(1)),
    "flip": (("rotate", "180", "--flip", "h"), lambda w, h: lambda frame: frame[::-1]),
    "resize": (("resize", "--size", "17x29", "--filter", "nearest"), lambda w, h: reference.nearest(17, 29)),
    "adjust": (("adjust", "--brightness", "0.7"), lambda w, h: reference.mapped(lambda v: v * 0.7)),
    "speed": (("speed", "0.5"), lambda w, h: lambda frame: frame),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("tens", range(12))
def test_random_gifs_give_what_the_slow_compositor_gives(operation: str, tens: int) -> None:
    arguments, change = OPERATIONS[operation]
    for seed in range(10 * tens, 10 * tens + 10):
        data = random_gif(seed)
        source = reference.read(data)
        done = vedit("gif", *arguments, stdin=data)
        assert done.code == 0, f"seed {seed}: {done.err}"
        same_frames(done.out, source, change(*source.size))
        same_facts(done.out, source, delays=operation != "speed")


CHAIN = (
    "crop:left=10%,right=10%; rotate:90; resize:size=23x31,filter=nearest; adjust:brightness=1.2; speed:0.5"
)
SINGLE = (
    ("crop", "--left", "10%", "--right", "10%"),
    ("rotate", "90"),
    ("resize", "--size", "23x31", "--filter", "nearest"),
    ("adjust", "--brightness", "1.2"),
    ("speed", "0.5"),
)


@pytest.mark.parametrize(
    "name",
    [
        "ok_disposal_mix.gif",
        "ok_local_palettes.gif",
        "ok_outside_part.gif",
        "ok_transparent_first.gif",
        "ok_metadata.gif",
        "pillow_dispose_bgnd_transparency.gif",
    ],
)
def test_a_chain_shows_what_single_commands_show(name: str) -> None:
    data = gif(name).read_bytes()
    for arguments in SINGLE:
        data = vedit("gif", *arguments, stdin=data).out
    source = reference.read(data)
    result = edited(name, "chain", CHAIN)
    same_frames(result, source)
    same_facts(result, source)


def test_a_pipe_of_commands_shows_what_a_chain_shows() -> None:
    command = " | ".join(f'"{sys.executable}" -m vedit gif {" ".join(arguments)}' for arguments in SINGLE)
    done = subprocess.run(
        ["sh", "-c", command],
        input=gif("ok_disposal_mix.gif").read_bytes(),
        capture_output=True,
        check=True,
        cwd=ROOT,
        timeout=120,
    )
    assert done.stderr == b""
    same_frames(done.stdout, reference.read(edited("ok_disposal_mix.gif", "chain", CHAIN)))


@pytest.mark.parametrize(
    "arguments",
    [
        ("crop", "--left", "10%"),
        ("rotate", "90"),
        ("speed", "2"),
        ("adjust", "--brightness", "2"),
        ("resize", "--scale", "50%"),
        ("resize", "--scale", "70%", "--filter", "nearest"),
        ("speed", "--reverse"),
        ("chain", CHAIN),
        ("chain", "resize:scale=60%; rotate:90"),
    ],
    ids=lambda arguments: " ".join(arguments)[:24],
)
def test_any_number_of_jobs_gives_the_same_bytes(arguments: tuple[str, ...]) -> None:
    for name in ("ok_disposal_mix.gif", "ok_odd_delays_3cs.gif", "ok_local_palettes.gif"):
        one, four = (vedit("gif", *arguments, "-j", jobs, gif(name)) for jobs in ("1", "4"))
        assert (one.code, one.out, one.err) == (four.code, four.out, four.err)
        assert one.code == 0


@pytest.mark.parametrize("arguments", [("rotate", "90"), ("resize", "--width", "100")], ids=" ".join)
def test_any_number_of_jobs_gives_the_same_bytes_of_a_real_clip(arguments: tuple[str, ...]) -> None:
    source = gif("t2v_move_mnist.gif")
    assert vedit("gif", *arguments, "-j", "1", source).out == vedit("gif", *arguments, "-j", "4", source).out


@pytest.mark.parametrize("name", WARN)
def test_damage_keeps_what_is_whole_and_says_so_once(name: str) -> None:
    done = vedit("gif", "rotate", "180", gif(name))
    assert done.code == 0
    same_frames(done.out, parsed(gif(name)), reference.turned(2))
    said = [line for line in done.warnings if MESSAGES[name] in line]
    assert len(said) == 1 and said[0].startswith(f"vedit: {gif(name)}: ")
    assert len(done.warnings) == (
        2 if name == "warn_truncated_in_image.gif" else 1
    )  # that one also lacks pixels


@pytest.mark.parametrize("name", WARN)
def test_damage_is_the_same_through_a_pipe(name: str) -> None:
    done = vedit("gif", "rotate", "180", stdin=gif(name).read_bytes())
    assert (done.code, done.out) == (0, vedit("gif", "rotate", "180", gif(name)).out)
    assert any(MESSAGES[name] in line for line in done.warnings)


@pytest.mark.parametrize("name", WARN)
def test_strict_makes_damage_an_error_and_writes_nothing(name: str, tmp_path: Path) -> None:
    done = vedit("gif", "rotate", "180", "--strict", gif(name), "-o", tmp_path / "out.gif")
    assert done.code == 3
    assert MESSAGES[name] in done.err and "--strict" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", WARN)
def test_the_copy_path_keeps_damaged_pixels_as_they_are(name: str) -> None:
    source = parsed(gif(name))
    for arguments in COPY:
        done = vedit("gif", *arguments, gif(name))
        assert done.code == 0
        assert bool(done.warnings) == (name not in SHOWN_ONLY_BY_DECODING)
        found = reference.read(done.out)
        assert [image.code_size for image in found.images] == [image.code_size for image in source.images]
        same_frames(done.out, source)


@pytest.mark.parametrize("name", OK)
def test_good_files_pass_strict(name: str) -> None:
    done = vedit("gif", "rotate", "180", "--strict", gif(name))
    assert (done.code, done.err) == (0, "")


ERRORS = {
    "err_empty.gif": "empty file",
    "err_header_only.gif": "the GIF ends inside its header",
    "err_screen_only.gif": "GIF without images",
    "err_text.gif": 'not a GIF (starts with "<htm")',
    "err_truncated_palette.gif": "the GIF ends inside its global palette",
}


@pytest.mark.parametrize(
    "command",
    [("gif", "rotate", "90"), ("gif", "speed", "2"), ("gif", "resize", "--width", "9"), ("probe",)],
    ids=" ".join,
)
@pytest.mark.parametrize("name", ERRORS)
def test_what_is_no_gif_is_refused_in_one_line(name: str, command: tuple[str, ...], tmp_path: Path) -> None:
    output = () if command == ("probe",) else ("-o", str(tmp_path / "out.gif"))
    done = vedit(*command, gif(name), *output)
    assert (done.code, done.out) == (3, b"")
    assert done.err.startswith(f"vedit: {gif(name)}: {ERRORS[name]}")
    assert list(tmp_path.iterdir()) == []


def test_bytes_of_another_kind_are_refused_with_what_they_are(tmp_path: Path) -> None:
    done = vedit("gif", "rotate", "90", gif("err_png_bytes.gif"), "-o", tmp_path / "out.gif")
    assert done.code == 3 and done.err.startswith(f"vedit: {gif('err_png_bytes.gif')}: ")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The three bombs; the one of 1.6 MB is made here."""
    folder = tmp_path_factory.mktemp("bombs")
    for name, data in nasty.files():
        if name.startswith("err_bomb"):
            (folder / name).write_bytes(data)
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def start_up_s() -> float:
    """CPU seconds that a command takes which does nothing to a picture; best of three."""
    return min(measured("gif", "rotate", "90", NASTY / "ok_1x1.gif").cpu_s for _ in range(3))


@pytest.mark.parametrize("name", ["err_bomb_canvas.gif", "err_bomb_image.gif", "err_bomb_frames.gif"])
@pytest.mark.parametrize(
    "command", [("gif", "rotate", "90"), ("gif", "resize", "--width", "100")], ids=["rotate", "resize"]
)
def test_bombs_are_refused_at_once_and_the_message_names_the_option(
    name: str, command: tuple[str, ...], bombs: dict[str, Path], start_up_s: float, tmp_path: Path
) -> None:
    runs = [
        measured(*command, bombs[name], "-o", tmp_path / "out.gif", limits={"AS": 600 << 20, "CPU": 20})
        for _ in range(2)
    ]
    assert [run.code for run in runs] == [6, 6]
    assert "--limit" in runs[0].err and "over the limit" in runs[0].err
    assert min(run.cpu_s for run in runs) - start_up_s < 0.3
    assert min(run.peak_mb for run in runs) < 60
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["err_bomb_canvas.gif", "err_bomb_image.gif", "err_bomb_frames.gif"])
def test_a_bomb_through_a_pipe_is_refused_too(name: str, bombs: dict[str, Path]) -> None:
    done = measured(
        "gif",
        "rotate",
        "90",
        stdin=bombs[name].read_bytes(),
        output=subprocess.DEVNULL,
        limits={"AS": 1200 << 20, "CPU": 60},
    )
    assert done.code == 6
    assert "--limit" in done.err
    assert (
        done.peak_mb < 60 and done.cpu_s < 5
    )  # a pipe cannot be looked through first, so some images are decoded


def test_the_copy_path_allocates_no_pixels_and_may_go_on(bombs: dict[str, Path]) -> None:
    for path in bombs.values():
        done = measured("gif", "speed", "0.5", path, limits={"AS": 600 << 20, "CPU": 20})
        assert (done.code, done.err.strip()) == (0, "")
        assert [image.payload for image in reference.read(done.out).images[:3]] == [
            image.payload for image in parsed(path).images[:3]
        ]


def test_the_limit_of_the_message_lets_the_file_through() -> None:
    data = nasty.header(30, 20, nasty.FOUR) + nasty.image(30, 20, bytes(600)) + nasty.END
    refused = vedit("gif", "rotate", "90", "--limit", "canvas=500", stdin=data)
    assert refused.code == 6
    setting = refused.err.partition("If you trust it: --limit ")[2].split()[0]
    assert vedit("gif", "rotate", "90", "--limit", "canvas=500", "--limit", setting, stdin=data).code == 0


@pytest.mark.parametrize(
    "first", [0, *(pytest.param(first, marks=pytest.mark.slow) for first in (500, 1000, 1500))]
)
def test_two_thousand_corruptions_break_no_promise(first: int) -> None:
    """No traceback, at most 2 s of CPU and 200 MB each, exit code 0, 3 or 6.

    To see one: python -m tests.corruptions SEED 1
    """
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("measures memory through /proc")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.corruptions", str(first), "500"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=600,
        check=False,
    )
    *broken, codes = done.stdout.splitlines()
    assert (done.returncode, done.stderr, broken) == (0, "", [])
    counts = json.loads(codes)["codes"]
    assert counts["0"] > 100 and counts["3"] > 50 and sum(counts.values()) == 500


@pytest.mark.slow
@pytest.mark.parametrize("first", range(10_000, 30_000, 2500))
def test_many_more_corruptions_break_no_promise(first: int) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.corruptions", str(first), "2500"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=1200,
        check=False,
    )
    assert done.stdout.count("\n") == 1, done.stdout


def long_clip(images: int) -> bytes:
    """A clip of 160x120 images, ten different ones in turn."""
    ten = [nasty.gce(3, 1) + nasty.image(160, 120, nasty.checks(160, 120, 6, 9, k), mcs=3) for k in range(10)]
    head = nasty.header(160, 120, nasty.SIX[:8], 3) + nasty.netscape(0)
    return bytes(head + b"".join(ten[i % 10] for i in range(images)) + nasty.END)


@pytest.mark.parametrize(
    ("arguments", "few", "many", "jobs", "limit_mb"),
    [
        (("rotate", "90"), 100, 3000, 1, 45),
        (("rotate", "90"), 100, 3000, 2, 45),
        (("speed", "0.5"), 100, 3000, 1, 45),
        (("crop", "--left", "25%"), 100, 3000, 1, 45),
        (("resize", "--scale", "50%"), 60, 600, 1, 60),
        (("resize", "--scale", "50%", "--filter", "nearest"), 60, 600, 1, 45),
        (("speed", "--reverse"), 60, 600, 1, 60),
        (("crop", "--auto"), 60, 600, 1, 60),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else str(value),
)
def test_memory_does_not_grow_with_the_number_of_images(
    arguments: tuple[str, ...], few: int, many: int, jobs: int, limit_mb: int, tmp_path: Path
) -> None:
    peaks = []
    for images in (few, many):
        (tmp_path / f"{images}.gif").write_bytes(long_clip(images))
        done = measured(
            "gif", *arguments, tmp_path / f"{images}.gif", "-o", tmp_path / "out.gif", "-y", jobs=jobs
        )
        if "--auto" not in arguments:  # its frames have no border in common
            assert (done.code, done.err.strip()) == (0, "")
        peaks.append(done.peak_mb)
    canvas_mb = 160 * 120 * 4 / 2**20
    assert peaks[1] - peaks[0] < 4 + 16 * canvas_mb
    assert peaks[1] < limit_mb + 6 * canvas_mb


def test_memory_does_not_grow_with_a_pipe_either(tmp_path: Path) -> None:
    peaks = [
        measured("gif", "rotate", "90", stdin=long_clip(images), output=subprocess.DEVNULL).peak_mb
        for images in (100, 2000)
    ]
    assert peaks[1] - peaks[0] < 4


def test_delays_of_every_ok_file_survive_a_round_trip_through_two_speeds() -> None:
    for name in OK:
        source = parsed(gif(name))
        if min(source.delays) < 2 or max(source.delays) > 30_000:
            continue
        slower = vedit("gif", "speed", "0.5", gif(name)).out
        back = reference.read(vedit("gif", "speed", "2", stdin=slower).out)
        assert [
            abs(a - b)
            for a, b in zip(accumulate(back.delays), accumulate(source.delays), strict=True)
            if abs(a - b) > 1
        ] == []


def test_full_colour_work_keeps_images_delays_loop_and_metadata() -> None:
    for name in OK:
        source = parsed(gif(name))
        done = vedit("gif", "resize", "--fit", "24x24", gif(name))
        assert done.code == 0
        found = reference.read(done.out)
        assert (found.delays, found.loop, found.comments, found.apps) == (
            source.delays,
            source.loop,
            source.comments,
            source.apps,
        )


def test_full_colour_work_that_changes_nothing_shows_the_same_frames() -> None:
    for name in (
        "ok_plain.gif",
        "ok_disposal_mix.gif",
        "ok_disposal2.gif",
        "ok_first_smaller.gif",
        "ok_static_dupes.gif",
    ):
        source = parsed(gif(name))
        found = reference.read(edited(name, "speed", "--reverse"))
        assert all(
            np.array_equal(a, b) for a, b in zip(found.frames(), list(source.frames())[::-1], strict=True)
        )


def test_real_files_that_are_damaged_are_recovered_or_refused() -> None:
    for name, code in (
        ("imagegif_moon_impact.gif", 0),
        ("imagegif_out-of-range.gif", 0),
        ("imagegif_infinite-empty-loop.gif", 6),
        ("pillow_decompression_bomb.gif", 0),
        ("pillow_zero_width.gif", 3),
    ):
        path = shared(f"data/gifs/real/{name}")
        done = vedit("gif", "rotate", "90", path)
        assert done.code == code, (name, done.err)
        if code == 0:
            same_frames(done.out, parsed(path), reference.turned(1))


@pytest.mark.parametrize(
    ("part", "kept"),
    [
        (("--start", "0.2", "--end", "0.5"), [2, 3, 4]),
        (("--start", "0.2", "--duration", "0.3"), [2, 3, 4]),
        (("--start", "0:00.3"), [3, 4, 5, 6, 7]),
        (("--end", "0.1"), [0]),
    ],
)
def test_a_part_of_a_film_goes_through_the_stages(
    part: tuple[str, ...], kept: list[int], tmp_path: Path
) -> None:
    pictures = [noise(20, 16, seed) for seed in range(8)]
    write_clip(*clip_of(pictures, [10] * 8), str(tmp_path / "in.nut"))
    out = tmp_path / "out.nut"
    assert vedit("gif", "crop", "--rect", "8x6+2+4", *part, tmp_path / "in.nut", "-o", out).code == 0
    wanted = [pictures[i].crop((2, 4, 10, 10)).tobytes() for i in kept]
    assert [frame.tobytes() for frame in decoded(out, (8, 6))] == wanted
    assert [float(at) for at, _ in packets(out)] == pytest.approx([i / 10 for i in range(len(kept))])


def test_the_rate_and_the_quality_of_the_result_are_asked_for(tmp_path: Path) -> None:
    pictures = [noise(32, 16, seed) for seed in range(20)]
    write_clip(*clip_of(pictures, [1] * 20, Fraction(1, 20), rate=Fraction(20)), str(tmp_path / "in.nut"))
    made = vedit("gif", "crop", "--left", "2", "--fps", "5", tmp_path / "in.nut").out
    assert reference.read(made).delays == [20] * 5
    sizes = []
    for crf in ("10", "45"):
        out = tmp_path / f"{crf}.mp4"
        assert (
            vedit("gif", "rotate", "180", "--fps", "10", "--crf", crf, tmp_path / "in.nut", "-o", out).code
            == 0
        )
        assert len(packets(out)) == 10
        sizes.append(out.stat().st_size)
    assert sizes[0] > 1.5 * sizes[1]


def test_the_sound_goes_with_the_part_or_is_left_out(tmp_path: Path) -> None:
    film = tmp_path / "in.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=2", "-f", "lavfi", "-i", "sine=d=2", film)
    for more, seconds in (((), 1.0), (("--no-audio",), 0.0)):
        out = tmp_path / f"{seconds}.mp4"
        assert (
            vedit("gif", "rotate", "180", "--start", "0.5", "--duration", "1", *more, film, "-o", out).code
            == 0
        )
        tracks = b"Audio" in subprocess.run([find_ffmpeg(), "-i", out], capture_output=True).stderr
        assert tracks == (seconds > 0)
        sound = ffmpeg("-i", out, "-ac", "1", "-ar", "44100", "-f", "s16le", "pipe:1") if tracks else b""
        assert len(sound) / 88200 == pytest.approx(seconds, abs=0.06)


@pytest.mark.parametrize(
    "part",
    [
        ("--start", "2", "--end", "1"),
        ("--end", "1", "--duration", "1"),
        ("--start", "soon"),
        ("--start", "-1"),
        ("--duration", "0"),
        ("--fps", "0"),
        ("--fps", "fast"),
        ("--fps", "60"),
        ("--crf", "64"),
        ("--start", "9"),
    ],
)
def test_a_part_that_makes_no_sense_is_refused(part: tuple[str, ...]) -> None:
    done = vedit("gif", "rotate", "90", *part, gif("ok_plain.gif"))
    assert (done.code, done.out) == (2, b""), done.err


def test_subtitles_are_drawn_into_the_picture_for_their_time(tmp_path: Path) -> None:
    (tmp_path / "words.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nHello\n", encoding="utf-8")
    words = ("--subtitles", str(tmp_path / "words.srt"))
    source = parsed(gif("minrf_51.gif"))  # images of 10 cs
    found = reference.read(vedit("gif", "metadata", "--loop", "forever", *words, gif("minrf_51.gif")).out)
    pictures = zip(found.frames(), source.frames(), strict=True)
    changed = [np.nonzero((now != then).any(axis=(1, 2)))[0] for now, then in pictures]
    assert [i for i, rows in enumerate(changed) if len(rows)] == [*range(10, 20)]
    assert min(changed[12]) > 80  # of 138 rows, the lower ones
    done = vedit("gif", "rotate", "90", "--subtitles", "nothing.srt", gif("minrf_51.gif"))
    assert done.code == 3 and "nothing.srt" in done.err


def rows_of(words: str, size: tuple[int, int], tmp_path: Path) -> np.ndarray:
    """The rows and columns that subtitles change on a grey film of a size, as a box."""
    captions, film, made = tmp_path / "w.srt", tmp_path / "g.mp4", tmp_path / "o.png"
    captions.write_text(f"1\n00:00:00,000 --> 00:00:09,000\n{words}\n", encoding="utf-8")
    ffmpeg("-f", "lavfi", "-i", f"color=gray:s={size[0]}x{size[1]}:d=0.04", "-pix_fmt", "yuv420p", film)
    done = vedit("convert", film, "--subtitles", captions, "-o", made, "-y")
    assert (done.code, done.err) == (0, "")
    with Image.open(made) as picture:
        shown = np.asarray(picture.convert("L")).astype(int)
    changed = np.abs(shown - shown[0, 0]) > 3
    rows, columns = np.nonzero(changed.any(1))[0], np.nonzero(changed.any(0))[0]
    return np.array([rows[0], rows[-1], columns[0], columns[-1]])


@pytest.mark.parametrize("height", [180, 720])
def test_subtitles_are_as_large_as_the_picture_allows_and_keep_off_its_edges(
    height: int, tmp_path: Path
) -> None:
    width = height * 16 // 9
    top, bottom, left, right = rows_of("Hxg", (width, height), tmp_path)
    assert 0.045 * height <= bottom - top + 1 <= 0.085 * height
    assert abs(height - 1 - bottom - 0.05 * height) <= 2
    assert abs(left - (width - 1 - right)) <= 2


def test_long_subtitles_are_broken_to_the_width(tmp_path: Path) -> None:
    one = rows_of("word", (320, 180), tmp_path)
    box = rows_of("word " * 20, (320, 180), tmp_path)
    assert box[1] - box[0] > 2 * (one[1] - one[0])
    assert box[2] >= 320 * 0.05 - 1 and box[3] <= 320 * 0.95
    letters = rows_of("W" * 60, (320, 180), tmp_path)  # no place to break it
    assert letters[2] >= 320 * 0.05 - 1 and letters[3] <= 320 * 0.95


def test_times_of_subtitles_are_those_of_the_result(tmp_path: Path) -> None:
    (tmp_path / "w.srt").write_text("1\n00:00:00,200 --> 00:00:00,400\nHello\n", encoding="utf-8")
    film = tmp_path / "g.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=gray:s=64x48:d=2:r=10", "-pix_fmt", "yuv420p", film)
    for command in (("convert",), ("gif", "speed", "1")):
        vedit(*command, film, "--start", "1", "--duration", "0.8", "--subtitles", tmp_path / "w.srt",
              "-o", tmp_path / "o.nut", "-y")  # fmt: skip
        shown = [np.asarray(frame).astype(int) for frame in decoded(tmp_path / "o.nut", (64, 48))]
        assert [np.abs(frame - shown[0]).max() > 9 for frame in shown] == [
            number in (2, 3) for number in range(8)
        ]


def test_many_subtitles_on_a_gif_are_drawn_as_few_are(tmp_path: Path) -> None:
    line = "{n}\n00:00:0{a},{b}00 --> 00:00:0{c},{d}00\nA{n}\n\n"
    words = [line.format(n=n, a=n // 10, b=n % 10, c=(n + 1) // 10, d=(n + 1) % 10) for n in range(51)]
    (tmp_path / "many.srt").write_text("".join(words), encoding="utf-8")
    (tmp_path / "few.srt").write_text("".join(words[40:45]), encoding="utf-8")
    many, few = (
        list(
            reference.read(vedit("gif", "metadata", "--loop", "0", *words, gif("minrf_51.gif")).out).frames()
        )
        for words in (("--subtitles", tmp_path / "many.srt"), ("--subtitles", tmp_path / "few.srt"))
    )
    assert len(many) == len(few) == 51
    for number in range(41, 44):  # letters alike to the colours that a palette has room for
        assert np.abs(many[number].astype(int) - few[number])[..., :3].mean() < 3


@pytest.mark.parametrize(
    "given", [("--subtitles", "none.srt"), ("--subtitles-font", "x.ttf"), ("--subtitles", "w.srt")]
)
def test_subtitles_that_cannot_be_drawn_are_refused(
    given: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("w.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\n\u4f60\n", encoding="utf-8")
    for command in (("convert",), ("gif", "rotate", "90")):
        done = vedit(*command, *given, gif("ok_plain.gif"), "-o", "o.gif")
        assert done.code in (2, 3) and not Path("o.gif").exists(), done.err
    assert given[1] in done.err or "--subtitles-font FILE" in done.err
