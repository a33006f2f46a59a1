"""Pictures as the frames of one clip: patterns, lists, and a single one for a time."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image

from tests import reference
from tests.conftest import vedit
from tests.media.clips import decoded, noise, packets
from vedit.errors import InputError
from vedit.media.formats import names_pictures
from vedit.media.open import open_clip
from vedit.media.options import ReadOptions
from vedit.media.sequence import listed


@pytest.fixture
def shots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Image.Image]:
    """Four pictures, numbered 8 to 11, in the working folder."""
    monkeypatch.chdir(tmp_path)
    pictures = [noise(16, 12, seed) for seed in range(4)]
    for number, picture in enumerate(pictures, 8):
        picture.save(f"s-{number:03d}.png")
    return pictures


def pixels(pictures: list[Image.Image]) -> list[bytes]:
    return [picture.convert("RGB").tobytes() for picture in pictures]


@pytest.mark.parametrize("name", ["s-%03d.png", "s-*.png", "s-0[01]?.png", "./s-%03d.png"])
@pytest.mark.parametrize("command", [("convert",), ("gif", "metadata", "--loop", "0")])
def test_a_pattern_is_one_clip_at_the_rate_asked_for(
    command: tuple[str, ...], name: str, shots: list[Image.Image]
) -> None:
    done = vedit(*command, name, "--fps", "10", "-o", "o.nut")
    assert (done.code, done.err) == (0, "")
    assert pixels(decoded(Path("o.nut"), (16, 12))) == pixels(shots)
    assert [time for time, _ in packets(Path("o.nut"))] == [Fraction(n, 10) for n in range(4)]


@pytest.mark.parametrize("command", [("convert",), ("gif", "metadata", "--loop", "0")])
def test_joined_pictures_are_one_clip_in_the_order_named(
    command: tuple[str, ...], shots: list[Image.Image]
) -> None:
    names = ["s-010.png", "s-008.png", "s-010.png"]
    done = vedit(*command, "--join", *names, "--fps", "5", "-o", "o.nut")
    assert (done.code, done.err) == (0, "")
    assert pixels(decoded(Path("o.nut"), (16, 12))) == pixels([shots[2], shots[0], shots[2]])
    done = vedit(*command, "--join", *names, "--fps", "5", "-o", "o.gif")
    assert reference.read(Path("o.gif").read_bytes()).delays == [20, 20, 20]


def test_rate_shows_them_and_fps_is_the_result_s(shots: list[Image.Image]) -> None:
    vedit("convert", "s-%03d.png", "--rate", "5", "--fps", "10", "-o", "o.nut")
    twice = [picture for picture in shots for _ in range(2)]
    assert pixels(decoded(Path("o.nut"), (16, 12))) == pixels(twice)


def test_without_join_pictures_are_as_many_clips(shots: list[Image.Image]) -> None:
    done = vedit("convert", "s-008.png", "s-009.png", "s-010.png", "-o", "o.gif")
    assert done.code == 2 and "--join" in done.err and not os.path.exists("o.gif")
    assert vedit("convert", "s-008.png", "s-009.png", "--to", "gif", "-O", "out").code == 0
    assert sorted(os.listdir("out")) == ["s-008.gif", "s-009.gif"]


def test_numbers_that_a_pattern_leaves_out_are_told(shots: list[Image.Image]) -> None:
    os.remove("s-009.png")
    done = vedit("convert", "s-%03d.png", "-o", "o.nut")
    assert done.code == 0 and "1 number has no picture between 8 and 11, the first being 9" in done.err
    assert pixels(decoded(Path("o.nut"), (16, 12))) == pixels([shots[0], *shots[2:]])


def test_only_numbers_written_as_the_pattern_says_count(shots: list[Image.Image]) -> None:
    for name in ("s-8.png", "s-0012.png", "s-01x.png", "s-\u0661\u0661\u0661.png", "S-012.png"):
        noise(16, 12).save(name)
    assert listed("s-%03d.png") == [f"./s-{n:03d}.png" for n in range(8, 12)]
    assert listed("s-%d.png") == ["./s-8.png"]
    noise(16, 12).save("s-1000.png")
    assert listed("s-%03d.png")[-1] == "./s-1000.png"


def test_a_file_that_is_called_like_a_pattern_is_that_file(shots: list[Image.Image]) -> None:
    noise(16, 12, 9).save("s-%03d.png")
    noise(16, 12, 9).save("a[1].png")
    assert not names_pictures("s-%03d.png") and not names_pictures("a[1].png")
    assert vedit("convert", "s-%03d.png", "-o", "o.nut").code == 0
    assert pixels(decoded(Path("o.nut"), (16, 12))) == pixels([noise(16, 12, 9)])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("x-%03d.png", "-o", "o.gif"), "no picture is named x-%03d.png"),
        (("x*.png", "-o", "o.gif"), "no picture is named x*.png"),
        (("nowhere/s-%d.png", "-o", "o.gif"), "no such file"),
        (("--join", "s-008.png", "none.png", "-o", "o.gif"), "none.png: cannot read"),
        (("--join", "s-008.png", "odd.png", "-o", "o.gif"), "odd.png is 17x12, but s-008.png is 16x12"),
        (("--join", "s-008.png", "text.png", "-o", "o.gif"), "text.png: not a picture"),
        (("--join", "s-008.png", "-", "-o", "o.gif"), "standard input"),
        (("--join", "s-%03d.png", "s-008.png", "-o", "o.gif"), "stands for several"),
        (("--join", "s-008.png", "-O", "out", "--to", "gif"), "makes one clip"),
        (("--join", "s-008.png", "s-009.png", "-o", "s-009.png"), "both input and output"),
        (("s-%03d.png", "-o", "s-009.png"), "both input and output"),
        (("--join", "/dev/zero", "-o", "o.gif"), "not a file"),
        (("s-008.png", "--duration", "1e9", "-o", "o.gif"), "held"),
        (("s-008.png", "--duration", "1e9", "--fps", "25", "-o", "o.mp4"), "held"),
    ],
)
def test_lists_that_make_no_clip_are_refused(
    given: tuple[str, ...], words: str, shots: list[Image.Image]
) -> None:
    noise(17, 12).save("odd.png")
    Path("text.png").write_text("hello")
    before = Path("s-009.png").read_bytes()
    done = vedit("convert", *given)
    assert done.code in (2, 3, 6) and words in done.err, done.err
    assert not os.path.exists("o.gif") and not os.path.exists("o.mp4")
    assert Path("s-009.png").read_bytes() == before


def test_more_pictures_than_the_limit_are_refused(shots: list[Image.Image]) -> None:
    done = vedit("convert", "s-%03d.png", "--limit", "images=3", "-o", "o.gif")
    assert done.code == 6 and "4 images" in done.err


@pytest.mark.parametrize("start", ["0", "1.5"])
@pytest.mark.parametrize("command", [("convert",), ("gif", "rotate", "0")])
def test_a_single_picture_is_shown_for_the_time_asked_for(
    command: tuple[str, ...], start: str, shots: list[Image.Image]
) -> None:
    given = ("s-008.png", "--start", start, "--duration", "2.35")
    vedit(*command, *given, "-o", "o.gif", "-y")
    assert reference.read(Path("o.gif").read_bytes()).delays == [235]
    vedit(*command, *given, "-o", "o.mp4", "-y")
    assert packets(Path("o.mp4")) == [(Fraction(0), Fraction(235, 100))]
    vedit(*command, *given, "--fps", "20", "-o", "o.mkv", "-y")
    assert [time for time, _ in packets(Path("o.mkv"))] == [Fraction(n, 20) for n in range(47)]


def test_a_list_of_one_is_a_single_picture(shots: list[Image.Image]) -> None:
    clip, frames, _ = open_clip("x", ReadOptions(pictures=("s-008.png",), still_s=Fraction(1, 3)))
    assert [frame.duration * clip.timebase for frame in frames] == [Fraction(1, 3)]
    with pytest.raises(InputError):
        open_clip("x", ReadOptions(pictures=("none.png",)))


def test_a_pattern_in_a_folder_of_results_is_named_by_its_words(shots: list[Image.Image]) -> None:
    assert vedit("gif", "rotate", "90", "s-%03d.png", "--to", "gif", "-O", "out").code == 0
    assert os.listdir("out") == ["s.gif"]
    assert vedit("gif", "rotate", "90", "s-%03d.png", "--in-place").code == 2


def test_transparency_of_some_pictures_is_kept(shots: list[Image.Image]) -> None:
    Image.new("RGBA", (16, 12), (255, 0, 0, 90)).save("t.png")
    assert vedit("convert", "--join", "s-008.png", "t.png", "-o", "o.mov").err == ""
    told = vedit("probe", "--json", "o.mov").out
    assert b'"transparency": true' in told


def test_probe_tells_of_a_pattern_as_of_a_folder(shots: list[Image.Image]) -> None:
    told = vedit("probe", "--json", "s-%03d.png").out
    assert b'"images": 4' in told and b'"width": 16' in told
