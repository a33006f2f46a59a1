"""Speed changes delays, exactly; it drops no image unless asked to."""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate
from math import floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import reference
from tests.conftest import WELL_FORMED, edited, gif, parsed, same_facts, same_frames, vedit
from vedit.media.frames import Clip, Frame, Rect
from vedit.stages import speed
from vedit.stages.options import read_options

FACTORS = ["0.1", "0.3", "0.5", "1", "1.5", "2", "3.7", "5"]
PATTERNS = [
    [10] * 7,
    [3] * 50,
    [7] * 33,
    [0, 1, 2, 3, 5, 7, 100, 65535, 10],
    [0] * 5,
    [1] * 9,
    [2] * 40,
    [4, 3, 3] * 20,
    [100],
    [1, 10000],
    [36, 4, 4, 39, 4] * 11,
]


def retimed(delays: list[int], **options: Any) -> tuple[list[int], list[str]]:
    """The delays that the stage gives to a GIF with these, and its warnings."""
    warnings: list[str] = []
    stage = speed.make(
        **read_options("speed", speed.OPTIONS, {name: str(value) for name, value in options.items()})
    )
    clip = Clip(1, 1, warn=warnings.append)
    frames = [
        Frame(i, sum(delays[:i]), delay, "packed", Rect(0, 0, 1, 1), b"") for i, delay in enumerate(delays)
    ]
    if stage.prepass:
        stage.observe(clip, iter(frames))
    stage.open(clip)
    out = list(stage.run(iter(frames)))
    assert [frame.pts for frame in out] == [0, *accumulate(frame.duration for frame in out)][:-1]
    return [frame.duration for frame in out], warnings


def wanted_ends(delays: list[int], factor: str, floor_cs: int = 2) -> list[int]:
    """When each image should end: the exact time rounded, but at least the floor after the one before.

    A delay of 0 or 1 counts as 10 unless nothing changes. Longer than 65535 cs cannot be said, and what is
    cut off is gone.
    """
    ends, due, end = [], Fraction(0), 0
    for delay in delays:
        due += (10 if delay < 2 else delay) / Fraction(factor)
        target = max(end + floor_cs, floor(due + Fraction(1, 2)))
        if target > end + 65535:
            due -= target - end - 65535
            target = end + 65535
        end = target
        ends.append(end)
    return ends


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("delays", PATTERNS, ids=lambda delays: f"{len(delays)}x{delays[0]}")
def test_speed_keeps_total_duration_of_variable_delays(delays: list[int], factor: str) -> None:
    found, warnings = retimed(delays, factor=factor)
    if factor == "1":
        assert (found, warnings) == (delays, [])
        return
    assert list(accumulate(found)) == wanted_ends(delays, factor)
    exact = sum(10 if delay < 2 else delay for delay in delays) / Fraction(factor)
    met_the_floor = wanted_ends(delays, factor) != wanted_ends(delays, factor, floor_cs=0)
    assert met_the_floor or abs(sum(found) - exact) <= 1 or 65535 in found
    assert any("--drop" in warning for warning in warnings) == (
        met_the_floor and sum(found) > exact * Fraction(102, 100)
    )
    assert any("longer than a GIF can say" in warning for warning in warnings) == (
        65535 in found and max(delays) / Fraction(factor) > 65535
    )


@pytest.mark.parametrize("factor", FACTORS)
def test_totals_are_right_to_a_centisecond_when_no_delay_meets_the_floor(factor: str) -> None:
    for delays in ([11, 13, 17, 19, 23] * 20, [12] * 51, [15] * 14, [25, 25, 50] * 9):
        found, warnings = retimed(delays, factor=factor)
        assert abs(sum(found) - sum(delays) / Fraction(factor)) <= 1
        assert not warnings and len(found) == len(delays)


@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=60),
    st.fractions(Fraction(1, 10), 5, max_denominator=50),
)
@settings(deadline=None, max_examples=150)
def test_any_delays_at_any_speed(delays: list[int], factor: Fraction) -> None:
    if factor != 1:
        found, _ = retimed(delays, factor=factor)
        assert list(accumulate(found)) == wanted_ends(delays, str(factor))


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=60),
    st.fractions(Fraction(1, 10), 5, max_denominator=50),
)
@settings(deadline=None, max_examples=150)
def test_dropping_images_keeps_the_total(delays: list[int], factor: Fraction) -> None:
    if factor != 1:
        found, warnings = retimed_merging(delays, factor)
        exact = sum(10 if delay < 2 else delay for delay in delays) / factor
        assert min(found) >= 2 and not warnings
        assert abs(sum(found) - exact) <= 2


def retimed_merging(delays: list[int], factor: Fraction) -> tuple[list[int], list[str]]:
    warnings: list[str] = []
    stage = speed.make(**read_options("speed", speed.OPTIONS, {"factor": str(factor), "drop": "true"}))
    stage.open(Clip(1, 1, warn=warnings.append))
    frames = (Frame(i, 0, delay, "rgba", Rect(0, 0, 1, 1), i) for i, delay in enumerate(delays))
    out = list(stage.run(frames))
    assert [frame.index for frame in out] == list(range(len(out)))
    assert [frame.pixels for frame in out] == sorted({frame.pixels for frame in out})  # in order, each once
    assert out[-1].pixels == len(delays) - 1  # the clip ends on its last picture
    return [frame.duration for frame in out], warnings


@pytest.mark.parametrize("factor", ["0.5", "2"])
@pytest.mark.parametrize("name", WELL_FORMED)
def test_speed_leaves_every_pixel_alone(name: str, factor: str) -> None:
    source = parsed(gif(name))
    done = vedit("gif", "speed", factor, gif(name))
    assert done.code == 0
    found = reference.read(done.out)
    assert list(accumulate(found.delays)) == wanted_ends(source.delays, factor)
    same_facts(done.out, source, delays=False)
    assert [image.payload for image in found.images] == [image.payload for image in source.images]
    same_frames(done.out, source)


def test_speed_one_changes_no_delay() -> None:
    same_facts(edited("ok_delays.gif", "speed", "1"), parsed(gif("ok_delays.gif")))


def test_an_image_without_a_control_block_gets_one() -> None:
    assert parsed(gif("ok_no_gce.gif")).delays == [0, 0]
    assert reference.read(edited("ok_no_gce.gif", "speed", "0.5")).delays == [20, 20]


def test_gif87a_becomes_89a_when_it_gets_a_control_block() -> None:
    assert reference.read(edited("ok_gif87a.gif", "speed", "0.5")).version == b"GIF89a"
    assert reference.read(edited("ok_gif87a.gif", "adjust", "--brightness", "2")).version == b"GIF87a"


def test_delays_of_0_and_1_are_what_browsers_play_unless_taken_literally() -> None:
    assert retimed([0, 1, 20], factor=2)[0] == [5, 5, 10]
    assert retimed([0, 1, 20], **{"factor": "0.5", "raw-delays": "true"})[0] == [
        2,
        2,
        38,
    ]  # 0, 2 and 40, of which the first took 2
    assert retimed([0, 8], **{"factor": "0.5", "raw-delays": "true", "min-delay": 0})[0] == [0, 16]


def test_nothing_below_2_cs_is_written_silently() -> None:
    for factor in ("1.5", "2", "5"):
        done = vedit("gif", "speed", factor, gif("ok_odd_delays_3cs.gif"))
        found = reference.read(done.out)
        assert min(found.delays) >= 2
        if factor != "1.5":
            assert "--drop" in done.err and "not played as written" in done.err


def test_the_warning_names_the_speed_that_can_be_reached() -> None:
    _, warnings = retimed([3] * 100, factor=3)
    assert len(warnings) == 1
    assert "takes 2.00 s, not 1.00 s" in warnings[0] and "speed 1.5 instead of 3" in warnings[0]


def test_min_delay_1_writes_fast_delays_when_told_to() -> None:
    assert retimed([3] * 6, **{"factor": 3, "min-delay": 1}) == ([1] * 6, [])


def test_drop_shows_the_later_picture_for_the_time_of_both() -> None:
    source = parsed(gif("ok_odd_delays_3cs.gif"))
    result = edited("ok_odd_delays_3cs.gif", "speed", "3", "--drop")
    found = reference.read(result)
    assert sum(found.delays) in (49, 50, 51) and min(found.delays) >= 2
    assert len(found.images) < len(source.images)
    originals = [frame.tobytes() for frame in source.frames()]
    place = 0
    for frame in found.frames():  # a subsequence of the source's frames
        place = originals.index(frame.tobytes(), place) + 1
    assert place == len(originals)


def test_drop_keeps_the_comments_before_dropped_images() -> None:
    chatty = (
        gif("ok_odd_delays_3cs.gif").read_bytes().replace(b"\x21\xf9\x04", b"\x21\xfe\x01c\x00\x21\xf9\x04")
    )
    done = vedit("gif", "speed", "5", "--drop", stdin=chatty)
    assert len(reference.read(done.out).images) < 50
    assert len(reference.read(done.out).comments) == len(reference.read(chatty).comments) == 50


@pytest.mark.parametrize(
    "name",
    ["ok_plain.gif", "ok_disposal_mix.gif", "ok_first_smaller.gif", "ok_delays.gif", "ok_1x1_anim.gif"],
)
def test_reverse_plays_backwards(name: str) -> None:
    source = parsed(gif(name))
    found = reference.read(edited(name, "speed", "--reverse"))
    assert found.delays == source.delays[::-1]
    assert found.loop == source.loop
    assert all(np.array_equal(a, b) for a, b in zip(found.frames(), list(source.frames())[::-1], strict=True))


@pytest.mark.parametrize(
    "name", ["ok_plain.gif", "ok_disposal_mix.gif", "ok_first_smaller.gif", "ok_1x1.gif"]
)
def test_boomerang_plays_forth_and_back_without_repeating_the_ends(name: str) -> None:
    source = parsed(gif(name))
    order = [*range(len(source.images)), *range(len(source.images) - 2, 0, -1)]
    found = reference.read(edited(name, "speed", "--boomerang"))
    frames = list(source.frames())
    assert found.delays == [source.delays[i] for i in order]
    assert all(np.array_equal(frame, frames[i]) for frame, i in zip(found.frames(), order, strict=True))


def test_reverse_reads_a_pipe() -> None:
    done = vedit("gif", "speed", "2", "--reverse", stdin=gif("ok_plain.gif").read_bytes())
    assert (done.code, done.out) == (0, edited("ok_plain.gif", "speed", "2", "--reverse"))


@pytest.mark.parametrize("seconds", ["0.6", "1", "2.5", "33.33"])
def test_duration_gives_the_whole_clip_that_length(seconds: str) -> None:
    found = reference.read(edited("ok_plain.gif", "speed", "--duration", seconds))
    assert abs(sum(found.delays) - Fraction(seconds) * 100) <= 1


@pytest.mark.parametrize(
    ("rate", "delays"), [("25", [4] * 6), ("30", [3, 4, 3, 3, 4, 3]), ("12.5", [8] * 6), ("50", [2] * 6)]
)
def test_fps_by_error_diffusion(rate: str, delays: list[int]) -> None:
    assert reference.read(edited("ok_plain.gif", "speed", "--fps", rate)).delays == delays


def test_delay_sets_every_delay() -> None:
    assert reference.read(edited("ok_delays.gif", "speed", "--delay", "7")).delays == [7] * 9


def test_a_delay_under_the_floor_is_raised_with_a_warning() -> None:
    done = vedit("gif", "speed", "--delay", "1", gif("ok_plain.gif"))
    assert reference.read(done.out).delays == [2] * 6
    assert "--min-delay 1" in done.err


def test_what_is_cut_off_at_the_ceiling_is_not_owed_to_the_next_image() -> None:
    found, warnings = retimed([65535, 10, 20], factor="0.5")
    assert found == [65535, 20, 40]
    assert len(warnings) == 1 and "65535" in warnings[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["0.09"],
        ["5.01"],
        ["0"],
        ["-2"],
        ["--any", "101"],
        ["--any", "0.001"],
        ["2", "--delay", "5"],
        ["--fps", "0"],
        ["--reverse", "--boomerang"],
        [],
        ["--delay", "65536"],
        ["--delay", "2.5"],
        ["1e999999999"],
        ["nan"],
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str]) -> None:
    done = vedit("gif", "speed", *arguments, gif("ok_plain.gif"))
    assert (done.code, done.out) == (2, b"")


@pytest.mark.parametrize("factor", ["0.01", "100", "20"])
def test_any_lifts_the_range(factor: str) -> None:
    found, _ = retimed([100, 300], factor=factor, any="true")
    assert list(accumulate(found)) == wanted_ends([100, 300], factor)
