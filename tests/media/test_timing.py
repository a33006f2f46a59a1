"""Times between formats are right to half a tick, and no time is lost or made."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedit.media.frames import Clip, Frame, Rect
from vedit.media.timing import ConstantRate, GifTiming, Trim, constant_rate, evenly, playable

WHOLE = Rect(0, 0, 4, 4)


def of_rate(count: int, rate: Fraction) -> tuple[Clip, list[Frame]]:
    clip = Clip(4, 4, timebase=1 / rate, rate=rate)
    return clip, [Frame(n, n, 1, "rgb", WHOLE, n) for n in range(count)]


def of_durations(durations: list[int], timebase: Fraction) -> tuple[Clip, list[Frame]]:
    clip = Clip(4, 4, timebase=timebase)
    frames, pts = [], 0
    for n, duration in enumerate(durations):
        frames.append(Frame(n, pts, duration, "rgb", WHOLE, n))
        pts += duration
    return clip, frames


def gif_delays(clip: Clip, frames: list[Frame], fps: Fraction | None = None) -> list[int]:
    stage = GifTiming(fps)
    stage.open(clip)
    return [frame.duration for frame in stage.run(iter(frames))]


@pytest.mark.parametrize(
    ("rate", "fps", "start", "count"),
    [
        (30, None, [4, 4, 4, 4], 25),
        (30, 30, [3, 4, 3, 3, 4, 3], 30),
        (60, None, [4, 4, 4, 4], 12),
        (25, None, [4, 4, 4, 4], 30),
        (24, None, [4, 4, 5, 4, 4, 4, 4, 4, 5], 30),
        (10, None, [10, 10, 10], 30),
        (60, 20, [5, 5, 5], 10),
    ],
)
def test_a_gif_of_a_constant_rate(rate: int, fps: int | None, start: list[int], count: int) -> None:
    delays = gif_delays(*of_rate(30, Fraction(rate)), Fraction(fps) if fps else None)
    assert delays[: len(start)] == start
    assert abs(len(delays) - count) <= 1
    assert sum(delays) == pytest.approx(3000 / rate, abs=1)


def test_a_gif_keeps_its_own_delays() -> None:
    clip, frames = of_durations([0, 1, 3, 700], Fraction(1, 100))
    assert gif_delays(clip, frames) == [0, 1, 3, 700]


def test_a_delay_that_a_gif_cannot_say_is_split() -> None:
    delays = gif_delays(*of_durations([700_000, 10], Fraction(1, 1000)))
    assert delays == [65535, 4465, 2] and sum(delays) == 70002


def test_a_frame_that_replaces_another_carries_what_that_one_changed() -> None:
    clip, frames = of_rate(3, Fraction(50))
    frames = [frame.but(rect=Rect(n, 0, 1, 1)) for n, frame in enumerate(frames)]
    stage = GifTiming()
    stage.open(clip)
    assert [(frame.pixels, frame.rect) for frame in stage.run(iter(frames))] == [
        (0, Rect(0, 0, 1, 1)),
        (2, Rect(1, 0, 2, 1)),
    ]


def test_timing_for_a_gif_leaves_the_loop_count_alone() -> None:
    clip, _ = of_rate(3, Fraction(10))
    assert [GifTiming().open(clip.but(loop=loop)).loop for loop in (0, None, 3)] == [0, None, 3]


@given(
    st.lists(st.integers(1, 500), min_size=1, max_size=60),
    st.sampled_from([Fraction(1, 1000), Fraction(1, 15360), Fraction(1001, 30000)]),
)
def test_a_gif_of_any_times_lasts_as_long_and_has_no_delay_below_2(
    durations: list[int], timebase: Fraction
) -> None:
    delays = gif_delays(*of_durations(durations, timebase))
    assert min(delays) >= 2
    assert abs(sum(delays) - 100 * sum(durations) * timebase) < 4


@given(st.lists(st.integers(0, 300), min_size=1, max_size=40), st.sampled_from([10, 24, 25, 30, 60]))
def test_a_constant_rate_lasts_as_long_to_half_a_frame(durations: list[int], rate: int) -> None:
    clip, frames = of_durations(durations, Fraction(1, 100))
    made = list(constant_rate(clip, iter(frames), Fraction(rate)))
    assert [frame.pts for frame, _ in made] == list(range(len(made)))
    assert abs(len(made) - Fraction(sum(durations) * rate, 100)) <= 1


def test_a_rate_change_repeats_and_leaves_out() -> None:
    clip, frames = of_rate(6, Fraction(10))
    for rate, wanted in ((5, [0, 2, 4]), (20, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5])):
        stage = ConstantRate(Fraction(rate))
        assert stage.open(clip).rate == rate
        assert [frame.pixels for frame in stage.run(iter(frames))] == wanted


def test_a_part_starts_with_what_was_shown_then() -> None:
    clip, frames = of_durations([10, 10, 10, 10], Fraction(1, 100))
    stage = Trim(Fraction(15, 100), Fraction(20, 100))
    stage.open(clip)
    assert [(frame.pixels, frame.pts, frame.duration) for frame in stage.run(iter(frames))] == [
        (1, 0, 5),
        (2, 5, 10),
        (3, 15, 5),
    ]


def test_times_that_browsers_do_not_play_are_slowed_down_in_gifs_only() -> None:
    clip, frames = of_durations([0, 1, 2], Fraction(1, 100))
    assert [(frame.pts, frame.duration) for frame in playable(clip, iter(frames))] == [
        (0, 10),
        (10, 10),
        (20, 2),
    ]
    clip, frames = of_durations([0, 1, 2], Fraction(1, 1000))
    assert [(frame.pts, frame.duration) for frame in playable(clip, iter(frames))] == [(0, 1), (1, 2)]


@pytest.mark.parametrize(
    ("count", "most", "places"),
    [
        (12, 12, list(range(12))),
        (100, 4, [0, 33, 66, 99]),
        (5, 12, [0, 1, 2, 3, 4]),
        (7, 5, [0, 2, 3, 5, 6]),
        (11, 3, [0, 5, 10]),
        (9, 1, [0]),
        (1, 4, [0]),
        (0, 4, []),
    ],
)
def test_places_are_spread_evenly_from_the_first_to_the_last(
    count: int, most: int, places: list[int]
) -> None:
    assert evenly(count, most) == places
