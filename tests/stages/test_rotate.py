"""Quarter turns and mirrors move pixels and change none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests import reference
from tests.conftest import WELL_FORMED, edited, gif, parsed, same_facts, same_frames, vedit
from vedit.stages.rotate import reciprocal_aspect

Change = Callable[[np.ndarray], np.ndarray]
OPERATIONS: dict[str, tuple[tuple[str, ...], Change]] = {
    "90": (("90",), reference.turned(1)),
    "180": (("180",), reference.turned(2)),
    "270": (("270",), reference.turned(3)),
    "flip h": (("--flip", "h"), lambda frame: frame[:, ::-1]),
    "flip v": (("--flip", "v"), lambda frame: frame[::-1]),
}
COMBINED: dict[str, tuple[tuple[str, ...], Change]] = {
    "0": (("0",), lambda frame: frame),
    "-90": (("-90",), reference.turned(3)),
    "90 h": (("90", "--flip", "h"), lambda frame: np.rot90(frame, -1)[:, ::-1]),
    "90 v": (("90", "--flip", "v"), lambda frame: np.rot90(frame, -1)[::-1]),
    "180 h": (("180", "--flip", "h"), lambda frame: frame[::-1]),
    "180 v": (("180", "--flip", "v"), lambda frame: frame[:, ::-1]),
    "270 h": (("270", "--flip", "h"), lambda frame: np.rot90(frame, 1)[:, ::-1]),
    "270 v": (("270", "--flip", "v"), lambda frame: np.rot90(frame, 1)[::-1]),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", WELL_FORMED)
def test_rotate_moves_every_pixel_and_changes_none(name: str, operation: str) -> None:
    arguments, change = OPERATIONS[operation]
    source = parsed(gif(name))
    result = edited(name, "rotate", *arguments)
    same_frames(result, source, change)
    same_facts(result, source)


@pytest.mark.parametrize("operation", COMBINED)
@pytest.mark.parametrize(
    "name", ["ok_disposal_mix.gif", "ok_interlaced.gif", "ok_outside_part.gif", "ok_zero_size_image.gif"]
)
def test_turn_then_mirror_in_one_command(name: str, operation: str) -> None:
    arguments, change = COMBINED[operation]
    same_frames(edited(name, "rotate", *arguments), parsed(gif(name)), change)


@pytest.mark.parametrize(
    "name", ["ok_disposal_mix.gif", "ok_outside_part.gif", "ok_interlaced_odd.gif", "ok_aspect.gif"]
)
def test_four_quarter_turns_give_the_input(name: str) -> None:
    data = gif(name).read_bytes()
    for _ in range(4):
        data = vedit("gif", "rotate", "90", stdin=data).out
    same_frames(data, parsed(gif(name)))


def test_an_image_outside_the_screen_does_not_grow_the_canvas() -> None:
    assert reference.read(edited("ok_outside_all.gif", "rotate", "90")).size == (48, 64)


@pytest.mark.parametrize("angle", ["45", "91", "1", "-45", "450", "9o", "90.5"])
def test_another_angle_is_refused_with_the_allowed_ones(angle: str) -> None:
    done = vedit("gif", "rotate", angle, gif("ok_plain.gif"))
    assert (done.code, done.out) == (2, b"")
    if angle != "9o":  # not a number at all: could be the name of an input
        assert "0, 90, 180, 270" in done.err


def test_the_interlace_flag_is_dropped_unless_it_is_to_be_kept() -> None:
    assert not any(
        image.interlaced for image in reference.read(edited("ok_interlaced.gif", "rotate", "90")).images
    )
    kept = edited("ok_interlaced.gif", "rotate", "90", "--keep-interlace")
    assert all(image.interlaced for image in reference.read(kept).images)
    same_frames(kept, parsed(gif("ok_interlaced.gif")), reference.turned(1))


def test_the_pixel_aspect_turns_with_the_picture() -> None:
    assert (
        parsed(gif("ok_aspect.gif")).aspect == 100
    )  # (100 + 15) / 64 = 1.797; its inverse is (21 + 15) / 64 = 0.5625
    assert reference.read(edited("ok_aspect.gif", "rotate", "90")).aspect == 21
    assert reference.read(edited("ok_aspect.gif", "rotate", "180")).aspect == 100


@pytest.mark.parametrize(("aspect", "turned"), [(0, 0), (49, 49), (100, 21), (21, 99), (1, 241), (255, 1)])
def test_the_reciprocal_of_a_pixel_aspect(aspect: int, turned: int) -> None:
    assert reciprocal_aspect(aspect) == turned
