"""Folders of pictures, animated PNG and WebP, held against Pillow and ffmpeg."""

from __future__ import annotations

import io
import os
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image, ImageSequence

from tests.conftest import vedit
from tests.media.clips import clip_of, ffmpeg, noise
from vedit.errors import InputError, LimitError, MemoryBudgetError, OutputError, UsageError
from vedit.media.frames import Frame, Rect
from vedit.media.limits import Limits
from vedit.media.open import open_clip, write_clip
from vedit.media.options import ReadOptions
from vedit.media.sequence import natural_key

DELAYS = [7, 3, 50, 7]


def frames_of(path: Path, **options: object) -> list[Frame]:
    return list(open_clip(str(path), ReadOptions(**options))[1])  # type: ignore[arg-type]


def test_frames_come_in_natural_order() -> None:
    assert sorted(["f10.png", "f9.png", "F1.png", "f09b.png"], key=natural_key) == [
        "F1.png",
        "f9.png",
        "f09b.png",
        "f10.png",
    ]


def test_a_folder_goes_out_and_comes_back_bit_for_bit(tmp_path: Path) -> None:
    pictures = [noise(9, 5, seed) for seed in range(12)]
    assert write_clip(*clip_of(pictures, [4] * 12), str(tmp_path / "frames" / "%d.png")) == 12
    assert sorted(os.listdir(tmp_path / "frames")) == sorted(f"{number}.png" for number in range(1, 13))
    clip, frames, kind = open_clip(str(tmp_path / "frames"))
    assert (clip.rate, kind) == (25, "rgba")
    assert [frame.pixels.tobytes() for frame in frames] == [picture.tobytes() for picture in pictures]


def test_a_folder_named_as_output_gets_five_digits(tmp_path: Path) -> None:
    write_clip(*clip_of([noise(4, 4)], [4]), f"{tmp_path / 'new'}/")
    assert os.listdir(tmp_path / "new") == ["00001.png"]


def test_a_folder_takes_the_rate_that_is_named(tmp_path: Path) -> None:
    noise(4, 4).save(tmp_path / "a.png")
    clip, frames, _ = open_clip(str(tmp_path), ReadOptions(rate=Fraction(12)))
    assert [frame.duration * clip.timebase for frame in frames] == [Fraction(1, 12)]


def test_pictures_of_other_sizes_are_an_input_error_that_names_them(tmp_path: Path) -> None:
    noise(4, 4).save(tmp_path / "a.png")
    noise(5, 4).save(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"b\.png is 5x4, but a\.png is 4x4"):
        frames_of(tmp_path)


def test_a_folder_without_pictures_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="holds no pictures"):
        frames_of(tmp_path)


def test_a_picture_in_the_way_stops_everything_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "00002.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"00002\.png exists"):
        write_clip(*clip_of([noise(4, 4)] * 3, [4] * 3), f"{tmp_path}/")
    assert os.listdir(tmp_path) == ["00002.png"]


@pytest.mark.parametrize("name", ["%d%d.png", "%05d.xyz", "%5x%d.png"])
def test_a_pattern_that_cannot_work_is_a_usage_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_clip(*clip_of([noise(4, 4)], [4]), str(tmp_path / name))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_animated_png_is_exact_in_pixels_delays_and_loop(mode: str, tmp_path: Path) -> None:
    pictures = [noise(9, 5, seed // 2, mode) for seed in range(4)]  # equal ones are not merged
    path = tmp_path / "a.png"
    write_clip(*clip_of(pictures, DELAYS, loop=2), str(path))
    with Image.open(path) as image:
        assert (image.n_frames, image.info["loop"]) == (4, 3)  # type: ignore[attr-defined]
        seen = [
            (frame.convert(mode).tobytes(), frame.info["duration"]) for frame in ImageSequence.Iterator(image)
        ]
    assert seen == [
        (picture.tobytes(), 10.0 * delay) for picture, delay in zip(pictures, DELAYS, strict=True)
    ]
    clip, frames, _ = open_clip(str(path))
    kept = list(frames)
    assert clip.loop == 2
    assert [frame.pixels.tobytes() for frame in kept] == [picture.tobytes() for picture in pictures]
    assert [frame.duration for frame in kept] == [10 * delay for delay in DELAYS]


def test_ffmpeg_reads_our_animated_png(tmp_path: Path) -> None:
    pictures = [noise(9, 5, seed) for seed in range(3)]
    path = tmp_path / "a.apng"
    write_clip(*clip_of(pictures, [4] * 3), str(path))
    assert ffmpeg(
        "-i", path, "-fps_mode", "passthrough", "-pix_fmt", "rgb24", "-f", "rawvideo", "pipe:1"
    ) == b"".join(picture.tobytes() for picture in pictures)


def test_only_the_part_that_changed_is_written(tmp_path: Path) -> None:
    first = Image.new("RGB", (200, 200))
    second = first.copy()
    second.putpixel((150, 20), (255, 0, 0))
    clip, frames = clip_of([first, second], [10, 10])
    one, two = frames
    path = tmp_path / "a.png"
    write_clip(clip, iter([one, two.but(rect=Rect(150, 20, 1, 1))]), str(path))
    assert path.stat().st_size < 1000
    assert frames_of(path)[1].pixels.tobytes() == second.tobytes()


@pytest.mark.parametrize("loop", [None, 0, 3])
def test_webp_keeps_delays_loop_and_alpha(loop: int | None, tmp_path: Path) -> None:
    pictures = [noise(9, 5, seed, "RGBA") for seed in range(4)]
    path = tmp_path / "a.webp"
    write_clip(*clip_of(pictures, DELAYS, loop=loop), str(path))
    clip, frames, _ = open_clip(str(path))
    kept = list(frames)
    assert clip.loop == loop
    assert [frame.duration for frame in kept] == [10 * delay for delay in DELAYS]
    assert {frame.kind for frame in kept} == {"rgba"}


def test_a_still_picture_is_a_clip_of_one_frame(tmp_path: Path) -> None:
    noise(7, 3).save(tmp_path / "a.bmp")
    [frame] = frames_of(tmp_path / "a.bmp")
    assert frame.pixels.tobytes() == noise(7, 3).tobytes() and frame.duration == 100


def test_a_picture_beyond_the_limit_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Image.new("1", (3000, 3000)).save(tmp_path / "a.png")
    with pytest.raises(LimitError):
        open_clip(str(tmp_path / "a.png"), ReadOptions(limits=Limits(canvas=10**6)))


def test_a_webp_that_would_take_more_memory_than_there_is_is_refused_before_its_first_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vedit.media.memory.free_memory", lambda: 10**6)
    clip, frames = clip_of([noise(400, 300)], [4])
    with pytest.raises(MemoryBudgetError, match="writing a WebP of 400x300 takes about"):
        write_clip(clip, frames, str(tmp_path / "a.webp"))
    assert not os.listdir(tmp_path) and next(frames).index == 0


SIDES = {"gif": 65535, "webp": 16383, "jpg": 65500, "tga": 65535}


@pytest.mark.parametrize("kind", sorted(SIDES))
def test_a_side_beyond_what_a_format_holds_is_told_before_any_work(kind: str, tmp_path: Path) -> None:
    output = str(tmp_path / (f"out.{kind}" if kind in ("gif", "webp") else f"frames/%d.{kind}"))
    Image.new("1", (SIDES[kind] + 1, 1)).save(tmp_path / "in.png")
    result = vedit("convert", tmp_path / "in.png", "-o", output)
    assert result.code == 4 and f"ends at {SIDES[kind]} a side" in result.err
    assert os.listdir(tmp_path) == ["in.png"]


@pytest.mark.parametrize("kind", ["gif", "webp", "jpg"])
def test_the_longest_side_that_a_format_holds_is_written(kind: str, tmp_path: Path) -> None:
    Image.new("1", (SIDES[kind], 1)).save(tmp_path / "in.png")
    output = tmp_path / (f"out.{kind}" if kind != "jpg" else "frames/%d.jpg")
    assert vedit("convert", tmp_path / "in.png", "-o", output).code == 0
    with Image.open(output if kind != "jpg" else tmp_path / "frames" / "1.jpg") as picture:
        assert picture.size == (SIDES[kind], 1)


def test_alpha_that_comes_late_and_is_lost_is_said(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    noise(4, 4).save(tmp_path / "in" / "1.png")
    Image.new("RGBA", (4, 4)).save(tmp_path / "in" / "2.png")
    assert (
        "image 2 is transparent in part" in vedit("convert", tmp_path / "in", "-o", tmp_path / "o.apng").err
    )


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_damaged_pictures_are_input_errors_or_warnings(kind: str, tmp_path: Path) -> None:
    stream = io.BytesIO()
    pictures = [noise(40, 40, seed) for seed in range(3)]
    pictures[0].save(stream, kind, save_all=True, append_images=pictures[1:], duration=100)
    good = stream.getvalue()
    path = tmp_path / f"bad.{kind}"
    for place in range(12, len(good), 97):
        path.write_bytes(good[:place] if place % 2 else good[:place] + b"\xff\x00" + good[place + 2 :])
        try:
            frames_of(path)
        except (InputError, LimitError):
            pass
