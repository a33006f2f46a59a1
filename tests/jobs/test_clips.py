from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vedit.errors import InputError
from vedit.jobs.clips import Selection, count_in, frames_in, frames_of, read_pixels
from vedit.jobs.edit.conditions import taken
from vedit.jobs.masks import EditMask
from vedit.media.frames import Chapter, Labels
from vedit.media.video.ffmpeg import find_ffmpeg


@pytest.fixture
def clip(tmp_path: Path) -> str:
    """Seven images 40x20, each one grey, with delays 1 to 7 (times 10 ms)."""
    images = [Image.new("L", (40, 20), 30 * number) for number in range(1, 8)]
    path = tmp_path / "clip.gif"
    images[0].save(
        path, save_all=True, append_images=images[1:], duration=[10 * n for n in range(1, 8)], loop=3
    )
    return str(path)


def test_a_frame_lasts_as_long_as_those_the_stride_skips(clip: str) -> None:
    pixels = read_pixels(clip, Selection(start=1, stride=2, frames=None, size=(8, 8)))
    assert pixels.durations == [2 + 3, 4 + 5, 6 + 7]
    assert pixels.skipped == 1
    assert [int(frame[0, 0, 0]) for frame in pixels.frames_FYX3] == [60, 120, 180]
    assert pixels.facts()["frames"] == [1, 2, 3]


def test_the_last_frame_of_a_count_also_stands_for_those_skipped(clip: str) -> None:
    assert read_pixels(clip, Selection(stride=3, frames=2, size=(8, 8))).durations == [1 + 2 + 3, 4 + 5 + 6]


def with_long_sound(clip: Path, output: Path) -> str:
    """The same frames as a film whose sound goes on for five seconds: its length tells nothing of its frames."""
    subprocess.run(
        [find_ffmpeg(), "-v", "error", "-i", clip, "-f", "lavfi", "-i", "sine=d=5", "-fps_mode", "vfr", "-c:v",
         "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", output],
        check=True,
    )  # fmt: skip
    return str(output)


def test_frames_of_a_whole_film_are_counted_where_its_length_would_mislead(clip: str, tmp_path: Path) -> None:
    film = with_long_sound(Path(clip), tmp_path / "film.mp4")
    part = read_pixels(film, Selection(start=1, stride=2, frames=2, size=8))
    assert part.clip.frames_hint != 7 and part.total is None
    assert frames_in(part) == count_in(film) == 7 == read_pixels(film, Selection(size=8)).total
    assert taken("condition", 7, part) == [1, 3]
    with pytest.raises(InputError, match="It needs 2, as are edited, or 7, as the clip has"):
        taken("condition", 5, part)
    with pytest.raises(InputError, match="The clip has 7 frames"):
        read_pixels(film, Selection(start=7, size=8))


def test_a_mask_as_long_as_a_film_is_taken_as_its_frames_are(clip: str, tmp_path: Path) -> None:
    film, said = with_long_sound(Path(clip), tmp_path / "film.mp4"), list[str]()
    masks = [Image.new("L", (40, 20)) for _ in range(7)]
    for row, mask in enumerate(masks):
        mask.paste(255, (0, row, 40, row + 1))
    masks[0].save(tmp_path / "m.gif", save_all=True, append_images=masks[1:], duration=100)
    part = read_pixels(film, Selection(start=1, stride=2, frames=2, size=(40, 20)))
    found = EditMask([str(tmp_path / "m.gif")], part, said.append).pixels(slice(None))
    assert found[:, :, 0].argmax(1).tolist() == [1, 3] and not said


def test_a_side_cuts_the_centre_square_and_a_size_keeps_all(tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 20), "red")
    picture.paste((0, 0, 255), (10, 0, 30, 20))
    picture.save(tmp_path / "x.gif")
    square = read_pixels(str(tmp_path / "x.gif"), Selection(size=20)).frames_FYX3[0]
    assert square.shape == (20, 20, 3) and (square == (0, 0, 255)).all()
    whole = read_pixels(str(tmp_path / "x.gif"), Selection(size=(40, 20))).frames_FYX3[0]
    assert (whole[:, 0] == (255, 0, 0)).all() and (whole[:, 20] == (0, 0, 255)).all()


def test_the_same_pixels_have_the_same_hash_and_others_do_not(clip: str) -> None:
    one = read_pixels(clip, Selection(size=(8, 8)))
    assert one.pixels_sha256 == read_pixels(clip, Selection(size=(8, 8))).pixels_sha256
    assert one.pixels_sha256 != read_pixels(clip, Selection(start=1, size=(8, 8))).pixels_sha256


def test_the_result_keeps_times_and_loop(clip: str) -> None:
    pixels = read_pixels(clip, Selection(stride=2, size=(8, 8)))
    made, frames = frames_of(pixels, np.zeros((4, 8, 8, 3), np.uint8))
    assert made.loop == 3
    listed = list(frames)
    assert [frame.duration for frame in listed] == pixels.durations
    assert [frame.pts for frame in listed] == [0, 3, 10, 21]


def test_the_result_has_the_chapters_of_the_frames_taken(clip: str) -> None:
    pixels = read_pixels(
        clip, Selection(start=2, stride=2, frames=2, size=(8, 8))
    )  # those shown from 0.03 s to 0.21 s
    chapters = (
        Chapter(Fraction(0), Fraction(1, 10), "one"),
        Chapter(Fraction(1, 10), Fraction(28, 100), "two"),
        Chapter(Fraction(1, 4), Fraction(1), "three"),
    )
    pixels = pixels._replace(clip=pixels.clip.but(labels=Labels((("title", "t"),), chapters)))
    made, _ = frames_of(pixels, np.zeros((2, 8, 8, 3), np.uint8))
    assert made.labels == Labels(
        (("title", "t"),),
        (Chapter(Fraction(0), Fraction(7, 100), "one"), Chapter(Fraction(7, 100), Fraction(18, 100), "two")),
    )


def test_a_start_behind_the_end_is_an_input_error(clip: str) -> None:
    with pytest.raises(InputError, match="no frames from frame 9 on"):
        read_pixels(clip, Selection(start=9, size=(8, 8)))
