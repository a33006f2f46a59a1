"""What is hidden cannot be read, and beside it no pixel changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import reference
from tests.conftest import edited, gif, parsed, vedit
from tests.media.clips import clip_of, decoded, noise


def in_nut(tmp_path: Path, picture: Image.Image, *arguments: str) -> np.ndarray:
    """The picture as `vedit gif blur` leaves it, without any palette."""
    from vedit.media.open import write_clip

    write_clip(*clip_of([picture] * 2, [10, 10]), str(tmp_path / "in.nut"))
    assert vedit("gif", "blur", *arguments, tmp_path / "in.nut", "-o", tmp_path / "out.nut").code == 0
    return np.asarray(decoded(tmp_path / "out.nut", picture.size)[0])


def test_squares_have_the_mean_of_what_was_there(tmp_path: Path) -> None:
    picture = noise(32, 24)
    shown = in_nut(tmp_path, picture, "20x10+3+5", "--strength", "4")
    wanted = np.asarray(picture).copy()
    for top in range(5, 15, 4):
        for left in range(3, 23, 4):
            block = wanted[top : min(top + 4, 15), left : left + 4]
            block[:] = np.floor(block.reshape(-1, 3).mean(axis=0) + 0.5)
    assert np.abs(shown.astype(int) - wanted).max() <= 1  # Pillow's mean may round the other way
    outside = np.ones(shown.shape[:2], bool)
    outside[5:15, 3:23] = False
    assert np.array_equal(shown[outside], wanted[outside])


def test_a_blur_takes_nothing_from_beside_the_rectangle(tmp_path: Path) -> None:
    picture = Image.new("RGB", (30, 20), (255, 0, 0))
    picture.paste((0, 0, 255), (10, 5, 20, 15))
    shown = in_nut(tmp_path, picture, "10x10+10+5", "--how", "blur")
    assert np.array_equal(shown, np.asarray(picture))  # all inside is one colour


@pytest.mark.parametrize("how", ["pixelate", "blur"])
@pytest.mark.parametrize(
    "name", ["ok_plain.gif", "ok_disposal_mix.gif", "imagegif_gifplayer-muybridge.gif", "minrf_51.gif"]
)
def test_beside_the_rectangle_a_gif_stays_bit_for_bit(name: str, how: str) -> None:
    source = parsed(gif(name))
    width, height = source.size
    w, h = width // 2, height // 3
    found = reference.read(edited(name, "blur", f"{w}x{h}+5+4", "--how", how, "--strength", "5"))
    assert found.delays == source.delays and found.loop == source.loop
    for shown, original in zip(found.frames(), source.frames(), strict=True):
        outside = np.ones(shown.shape[:2], bool)
        outside[4 : 4 + h, 5 : 5 + w] = False
        assert np.array_equal(shown[outside], original[outside])


def test_a_stretch_of_time_hides_only_then() -> None:
    source = parsed(gif("minrf_51.gif"))  # images of 10 cs
    found = reference.read(edited("minrf_51.gif", "blur", "60x60+40+40@1-1.5"))
    same = [np.array_equal(a, b) for a, b in zip(found.frames(), source.frames(), strict=True)]
    assert [i for i, stays in enumerate(same) if not stays] == [10, 11, 12, 13, 14]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["10x10"],
        ["10x10+500+500"],
        ["0x5+1+1"],
        ["10x10+1+1@3-2"],
        ["10x10+1+1@x"],
        ["10x10+1+1", "--strength", "1"],
        ["10x10+1+1", "--strength", "big"],
        ["10x10+1+1", "--how", "smear"],
        ["10x10+1+1 nonsense"],
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str]) -> None:
    done = vedit("gif", "blur", *arguments, gif("ok_plain.gif"))
    assert (done.code, done.out) == (2, b""), done.err
