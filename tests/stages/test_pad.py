"""Padding moves the picture and changes no pixel of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests import reference
from tests.conftest import WELL_FORMED, edited, gif, parsed, same_facts, same_frames, vedit


def padded(w: int, h: int, x: int, y: int, colour: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    def change(frame: np.ndarray) -> np.ndarray:
        canvas = np.empty((h, w, 4), np.uint8)
        canvas[:] = colour
        canvas[y : y + frame.shape[0], x : x + frame.shape[1]] = frame
        return canvas

    return change


@pytest.mark.parametrize("name", WELL_FORMED)
def test_a_transparent_border_leaves_every_pixel_and_palette(name: str) -> None:
    source = parsed(gif(name))
    width, height = source.size
    result = edited(name, "pad", f"{width + 7}x{height + 4}", "--color", "transparent")
    same_frames(result, source, padded(width + 7, height + 4, 3, 2, (0, 0, 0, 0)))
    same_facts(result, source)
    assert reference.read(result).palette == source.palette


@pytest.mark.parametrize("name", ["ok_plain.gif", "ok_disposal_mix.gif", "ok_first_smaller.gif"])
def test_a_coloured_border_leaves_the_picture(name: str) -> None:
    source = parsed(gif(name))
    width, height = source.size
    arguments = ("pad", f"{width + 5}x{height + 6}", "--position", "bottom-left", "--color", "#ff8800")
    same_frames(edited(name, *arguments), source, padded(width + 5, height + 6, 0, 6, (255, 136, 0, 255)))


@pytest.mark.parametrize(
    ("aspect", "size"), [("1:1", (64, 64)), ("16:9", (86, 48)), ("4:3", (64, 48)), ("9:16", (64, 114))]
)
def test_the_canvas_of_an_aspect_is_the_smallest_that_holds_the_clip(
    aspect: str, size: tuple[int, int]
) -> None:
    assert parsed(gif("ok_plain.gif")).size == (64, 48)
    assert reference.read(edited("ok_plain.gif", "pad", "--aspect", aspect)).size == size


def test_a_blurred_ground_is_opaque_and_like_the_clip_in_its_means() -> None:
    name = "imagegif_gifplayer-muybridge.gif"
    source, found = (
        parsed(gif(name)),
        reference.read(edited(name, "pad", "--aspect", "2:1", "--color", "blurred")),
    )
    picture, shown = next(source.frames()), next(found.frames())
    assert shown[..., 3].min() == 255
    side = (shown.shape[1] - picture.shape[1]) // 2
    assert abs(float(shown[:, : side - 2, :3].mean()) - float(picture[..., :3].mean())) < 40
    inside = shown[:, side : side + picture.shape[1], :3].astype(float) - picture[..., :3]
    assert float((inside**2).mean() ** 0.5) < 6


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["10x10"],
        ["100"],
        ["20000x20000"],
        ["100x100", "--aspect", "1:1"],
        ["--aspect", "0:1"],
        ["--aspect", "1:0"],
        ["--aspect", "1000:1"],
        ["--aspect", "wide"],
        ["100x100", "--color", "mauve"],
        ["100x100", "--position", "middle"],
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str]) -> None:
    done = vedit("gif", "pad", *arguments, gif("ok_plain.gif"))
    assert (done.code, done.out) == (2, b""), done.err
