"""An option that is given acts, or the command says why it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from tests.conftest import gif, vedit
from tests.media.clips import ffmpeg


@pytest.fixture(scope="module")
def colourful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GIF of 140 colours in one image."""
    path = tmp_path_factory.mktemp("colours") / "a.gif"
    image = Image.fromarray((np.add.outer(np.arange(60), np.arange(80)) % 140).astype(np.uint8))
    image.putpalette([level for i in range(256) for level in (i, 255 - i, i * 7 % 256)])
    image.save(path)
    return path


def _colours(path: Path) -> int:
    with Image.open(path) as image:
        return max(
            len(set(frame.convert("RGB").get_flattened_data())) for frame in ImageSequence.Iterator(image)
        )


@pytest.mark.parametrize(
    "command",
    [
        "convert",
        "gif crop --left 1",
        "gif rotate 90",
        "gif adjust --brightness 1.1",
        "gif speed 2",
        "gif metadata --strip comments",
        "gif chain rotate:90",
    ],
)
def test_colors_act_on_every_path(command: str, colourful: Path, tmp_path: Path) -> None:
    assert _colours(colourful) > 100
    done = vedit(*command.split(), colourful, "--colors", "16", "-o", tmp_path / "o.gif")
    assert (done.code, done.err) == (0, "") and _colours(tmp_path / "o.gif") <= 16


def test_colours_that_need_no_change_stay_on_the_exact_path(colourful: Path, tmp_path: Path) -> None:
    plain = vedit("gif", "rotate", "90", colourful)
    for options in (("--colors", "256"), ("--palette", "auto"), ("--palette", "keep"), ("--dither", "none")):
        assert vedit("gif", "rotate", "90", colourful, *options).out == plain.out


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("gif rotate 90 --dither fs IN -o o.gif", "--dither changes nothing"),
        ("gif rotate 90 --colors 4 --palette global IN -o o.mp4", "--palette and --colors change nothing"),
        ("convert IN --crf 20 -o o.gif", "--crf changes nothing in gif"),
        ("convert IN --repeat 2 -o o.webp", "--repeat changes nothing in webp"),
        ("convert IN --quality 50 -o o.mp4", "--quality changes nothing in mp4"),
        ("convert IN --encoder-preset fast -o o.webm", "--encoder-preset changes nothing in webm"),
        ("convert IN --loop 3 -o o.mkv", "--loop changes nothing in mkv"),
        ("convert IN --rate 3 -o o.gif", "--rate changes nothing"),
        ("convert IN --size 64x48 -o o.gif", "--size changes nothing"),
        ("gif preview IN --frame 1 --tile 99 -o o.png", "--tile changes nothing"),
    ],
)
def test_an_option_that_cannot_act_is_told(command: str, words: str, tmp_path: Path) -> None:
    arguments = [
        str(gif("ok_plain.gif")) if part == "IN" else str(tmp_path / part) if part.startswith("o.") else part
        for part in command.split()
    ]
    done = vedit(*arguments)
    assert done.code == 0 and words in done.err and len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("limit", "code"),
    [("images=10", 6), ("images=25", 0), ("total=50k", 6), ("total=1M", 0), ("canvas=1000", 6)],
)
@pytest.mark.parametrize("suffix", ["mp4", "nut", "y4m"])
def test_limits_hold_for_films_and_streams(limit: str, code: int, suffix: str, tmp_path: Path) -> None:
    film = tmp_path / f"film.{suffix}"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=1", "-pix_fmt", "yuv420p", film)
    done = vedit("convert", film, "--limit", limit, "-o", tmp_path / "o.gif")
    assert done.code == code and (tmp_path / "o.gif").exists() == (code == 0)
