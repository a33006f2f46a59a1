"""Adjusting maps colours exactly, through the colour tables alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests import reference
from tests.conftest import WELL_FORMED, edited, gif, parsed, same_facts, same_frames, vedit


def contrast(factor: float, pivot: float = 128) -> Callable[[int], float]:
    return lambda v: pivot + (v - pivot) * factor


def rounded(value: float) -> int:
    return min(255, max(0, round(value)))


def saturated(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    """ITU-R 601 luma of each pixel, and the distance from it scaled."""

    def apply(frame: np.ndarray) -> np.ndarray:
        out = frame.copy()
        red, green, blue = (frame[..., i].astype(np.int64) for i in range(3))
        luma = (red * 19595 + green * 38470 + blue * 7471 + 32768) // 65536
        values = luma[..., None] + (frame[..., :3].astype(float) - luma[..., None]) * factor
        out[..., :3] = np.clip(np.rint(values), 0, 255)
        out[frame[..., 3] == 0] = 0
        return out

    return apply


@pytest.mark.parametrize("name", WELL_FORMED)
def test_brightness_and_contrast_equal_the_operation_on_every_pixel(name: str) -> None:
    source = parsed(gif(name))
    result = edited(name, "adjust", "--brightness", "1.2", "--contrast", "0.8")
    same_frames(result, source, reference.mapped(lambda v: contrast(0.8)(rounded(v * 1.2))))
    same_facts(result, source)


@pytest.mark.parametrize(
    "name", ["ok_local_palettes.gif", "ok_256_used.gif", "ok_no_palette.gif", "ok_transparent_first.gif"]
)
@pytest.mark.parametrize(
    ("options", "change"),
    [
        (("--brightness", "0.1"), reference.mapped(lambda v: v * 0.1)),
        (("--brightness", "3"), reference.mapped(lambda v: v * 3)),
        (("--contrast", "3"), reference.mapped(contrast(3))),
        (("--contrast", "0.1"), reference.mapped(contrast(0.1))),
        (("--gamma", "2.2"), reference.mapped(lambda v: 255 * (v / 255) ** (1 / 2.2))),
        (("--gamma", "0.1"), reference.mapped(lambda v: 255 * (v / 255) ** 10)),
        (("--saturation", "0"), saturated(0)),
        (("--saturation", "3"), saturated(3)),
        (("--saturation", "0.5"), saturated(0.5)),
    ],
)
def test_each_option_at_its_ends(
    name: str, options: tuple[str, ...], change: Callable[[np.ndarray], np.ndarray]
) -> None:
    same_frames(edited(name, "adjust", *options), parsed(gif(name)), change)


def test_the_order_is_brightness_contrast_saturation_gamma() -> None:
    def change(frame: np.ndarray) -> np.ndarray:
        for step in (
            reference.mapped(lambda v: v * 1.5),
            reference.mapped(contrast(1.4)),
            saturated(1.7),
            reference.mapped(lambda v: 255 * (v / 255) ** (1 / 1.3)),
        ):
            frame = step(frame)
        return frame

    result = edited(
        "ok_256_used.gif",
        "adjust",
        "--gamma",
        "1.3",
        "--saturation",
        "1.7",
        "--contrast",
        "1.4",
        "--brightness",
        "1.5",
    )
    same_frames(result, parsed(gif("ok_256_used.gif")), change)


def test_halves_are_rounded_to_even() -> None:
    """Grey 1 times 0.5 is 0.5 and becomes 0; grey 3 times 0.5 is 1.5 and becomes 2."""
    found = reference.read(edited("ok_no_palette.gif", "adjust", "--brightness", "0.5"))
    assert found.palette is not None
    assert list(found.palette[3:18:3]) == [0, 1, 2, 2, 2]


def test_compressed_pixels_are_not_touched() -> None:
    source = parsed(gif("ok_local_palettes.gif"))
    found = reference.read(edited("ok_local_palettes.gif", "adjust", "--brightness", "1.1"))
    assert [image.payload for image in found.images] == [image.payload for image in source.images]


def test_nothing_to_adjust_gives_the_input() -> None:
    assert edited("ok_metadata.gif", "adjust") == edited("ok_metadata.gif", "metadata")


def test_the_mean_pivot_is_the_luma_of_the_first_frame() -> None:
    source = parsed(gif("ok_256_used.gif"))
    first = next(source.frames()).astype(np.int64)
    luma = (first[..., 0] * 19595 + first[..., 1] * 38470 + first[..., 2] * 7471 + 32768) // 65536
    level = float(int(luma.mean() + 0.5))
    result = edited("ok_256_used.gif", "adjust", "--contrast", "1.5", "--pivot", "mean")
    same_frames(result, source, reference.mapped(contrast(1.5, level)))


def test_the_frame_mean_pivot_follows_each_frame() -> None:
    source = parsed(gif("ok_global_and_local.gif"))
    result = edited(
        "ok_global_and_local.gif",
        "adjust",
        "--contrast",
        "1.5",
        "--pivot",
        "frame-mean",
        "--palette",
        "frame",
    )
    levels = []
    for frame in source.frames():
        colours = frame[frame[..., 3] > 0].astype(np.int64)
        luma = (colours[:, 0] * 19595 + colours[:, 1] * 38470 + colours[:, 2] * 7471 + 32768) // 65536
        levels.append(float(int(luma.mean() + 0.5)))
    wanted = [
        reference.mapped(contrast(1.5, level))(frame)
        for level, frame in zip(levels, source.frames(), strict=True)
    ]
    assert all(np.array_equal(a, b) for a, b in zip(reference.read(result).frames(), wanted, strict=True))


@pytest.mark.parametrize(
    "options",
    [
        ("--brightness", "0.09"),
        ("--brightness", "3.01"),
        ("--contrast", "0"),
        ("--saturation", "-1"),
        ("--gamma", "10.1"),
        ("--gamma", "nan"),
        ("--brightness", "inf"),
        ("--pivot", "centre"),
    ],
)
def test_values_outside_their_range_are_refused(options: tuple[str, str]) -> None:
    done = vedit("gif", "adjust", *options, gif("ok_plain.gif"))
    assert (done.code, done.out) == (2, b"")
    assert options[0] in done.err
