"""Composed frames are what a reader shows, and stay as they were handed out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from tests.conftest import WELL_FORMED, gif, parsed
from vedit.media.frames import Clip, Frame, Palette, Rect
from vedit.media.gif.compose import compose
from vedit.media.gif.container import GifReader
from vedit.media.gif.lzw import unpack

BLACK_WHITE_RED = Palette(b"\0\0\0\xff\xff\xff\xff\0\0")


def frames_of(name: str) -> tuple[Clip, list[Frame]]:
    """All composed frames of a file, still alive together."""
    with gif(name).open("rb") as file:
        reader = GifReader(file.read, name)
        return reader.clip, list(compose(reader.clip, unpack(reader.clip, reader.frames())))


def seen(frame: Frame) -> np.ndarray:
    return np.asarray(frame.pixels.convert("RGBA"))


def image(index: int, rect: Rect, colour: int, disposal: int = 0, transparent: int | None = None) -> Frame:
    """An image of one palette index."""
    return Frame(
        index, index, 1, "index", rect, Image.new("L", (rect.w, rect.h), colour), disposal, transparent
    )


def shown(*images: Frame, width: int = 3, height: int = 1) -> list[list[tuple[int, ...]]]:
    """The pixels of the first row of each composed frame."""
    clip = Clip(width, height, palette=BLACK_WHITE_RED)
    return [[tuple(pixel) for pixel in seen(frame)[0].tolist()] for frame in compose(clip, iter(images))]


NONE, WHITE, RED = (0, 0, 0, 0), (255, 255, 255, 255), (255, 0, 0, 255)


@pytest.mark.parametrize("name", WELL_FORMED)
def test_every_composed_frame_equals_the_reference_compositor(name: str) -> None:
    _, frames = frames_of(name)
    expected = list(parsed(gif(name)).frames())
    assert len(frames) == len(expected)
    for number, (frame, wanted) in enumerate(zip(frames, expected), 1):
        assert np.array_equal(seen(frame), wanted), f"image {number}"
        assert frame.kind == {"RGB": "rgb", "RGBA": "rgba"}[frame.pixels.mode]


@pytest.mark.parametrize(
    "name",
    [
        "ok_disposal_mix.gif",
        "ok_disposal2.gif",
        "ok_disposal3.gif",
        "ok_outside_part.gif",
        "httpx_rich-progress.gif",
    ],
)
def test_nothing_changes_outside_the_rectangle_that_a_frame_names(name: str) -> None:
    clip, frames = frames_of(name)
    assert frames[0].rect == clip.canvas
    for before, frame in pairwise(frames):
        changed = np.argwhere((seen(before) != seen(frame)).any(axis=2))
        for y, x in changed:
            assert frame.rect.x <= x < frame.rect.right and frame.rect.y <= y < frame.rect.bottom


def test_disposal_2_clears_and_disposal_3_brings_back() -> None:
    whole = Rect(0, 0, 3, 1)
    assert shown(
        image(0, whole, 1),
        image(1, Rect(0, 0, 1, 1), 2, 3),
        image(2, Rect(1, 0, 1, 1), 2, 2),
        image(3, Rect(2, 0, 1, 1), 2),
    ) == [
        [WHITE, WHITE, WHITE],
        [RED, WHITE, WHITE],
        [WHITE, RED, WHITE],
        [WHITE, NONE, RED],
    ]


def test_disposal_3_on_the_first_image_leaves_the_canvas_transparent() -> None:
    assert shown(image(0, Rect(0, 0, 3, 1), 1, 3), image(1, Rect(1, 0, 1, 1), 2)) == [
        [WHITE] * 3,
        [NONE, RED, NONE],
    ]


def test_undefined_disposals_keep_the_image() -> None:
    assert shown(image(0, Rect(0, 0, 3, 1), 1, 5), image(1, Rect(0, 0, 1, 1), 2))[1] == [RED, WHITE, WHITE]


def test_a_transparent_index_beyond_the_palette_hides_nothing_and_a_pixel_beyond_it_is_black() -> None:
    assert shown(image(0, Rect(0, 0, 3, 1), 7, 0, 7)) == [[(0, 0, 0, 255)] * 3]


def test_an_image_outside_the_canvas_is_clipped_and_an_empty_one_keeps_its_place() -> None:
    assert (
        shown(image(0, Rect(-1, 0, 2, 4), 2), image(1, Rect(9, 9, 2, 2), 1), image(2, Rect(1, 0, 0, 0), 1))
        == [[RED, NONE, NONE]] * 3
    )


def test_without_any_palette_indices_are_greys() -> None:
    clip = Clip(1, 1)
    (frame,) = compose(clip, iter([image(0, Rect(0, 0, 1, 1), 77)]))
    assert seen(frame)[0, 0].tolist() == [77, 77, 77, 255]


def test_a_palette_set_on_the_clip_later_does_not_recolour_frames() -> None:
    clip = Clip(1, 1, palette=BLACK_WHITE_RED)
    frames = compose(clip, iter([image(0, Rect(0, 0, 1, 1), 2), image(1, Rect(0, 0, 1, 1), 2)]))
    next(frames)
    clip.palette = Palette(b"\x01\x02\x03" * 3)
    assert seen(next(frames))[0, 0].tolist() == list(RED)


def test_a_canvas_that_becomes_opaque_is_rgb_again() -> None:
    clip = Clip(2, 1, palette=BLACK_WHITE_RED)
    frames = list(compose(clip, iter([image(0, Rect(0, 0, 1, 1), 1), image(1, Rect(1, 0, 1, 1), 2)])))
    assert [frame.kind for frame in frames] == ["rgba", "rgb"]
