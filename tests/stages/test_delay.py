"""Delays are set one by one, in ranges and from the end, and no picture is touched."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import reference
from tests.conftest import WELL_FORMED, edited, gif, parsed, same_facts, same_frames, vedit
from vedit.media.frames import Clip, Frame, Rect
from vedit.stages import delay
from vedit.stages.options import read_options


def retimed(delays: list[int], **options: str) -> tuple[list[int], list[str]]:
    """The delays that the stage gives to a GIF with these, and its warnings."""
    warnings: list[str] = []
    stage = delay.make(**read_options("delay", delay.OPTIONS, options))
    stage.open(Clip(1, 1, warn=warnings.append))
    frames = (Frame(i, 0, cs, "packed", Rect(0, 0, 1, 1), b"") for i, cs in enumerate(delays))
    return [frame.duration for frame in stage.run(frames)], warnings


@pytest.mark.parametrize("name", WELL_FORMED)
def test_delays_change_and_nothing_else(name: str) -> None:
    source = parsed(gif(name))
    result = vedit("gif", "delay", "1=7 all=+3", gif(name)).out
    found = reference.read(result)
    played = [7, *(10 if cs < 2 else cs for cs in source.delays[1:])]
    assert found.delays == [min(65535, cs + 3) for cs in played]
    assert [image.payload for image in found.images] == [image.payload for image in source.images]
    same_facts(result, source, delays=False)
    same_frames(result, source)


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ("7", [7] * 6),
        ("1-2=10 4=50 last=2s 5-=*0.5", [10, 10, 8, 50, 4, 100]),
        ("1,3,5=200ms", [20, 8, 20, 8, 20, 8]),
        ("all=+2", [10] * 6),
        ("2-3=-4;last=1/2s", [8, 4, 4, 8, 8, 50]),
        ("x3", [24] * 6),
        ("all=*0.5 all=*2", [8] * 6),
    ],
)
def test_rules_apply_one_after_another(rules: str, wanted: list[int]) -> None:
    assert retimed([8] * 6, rules=rules) == (wanted, [])


@given(
    st.lists(st.integers(10, 90), min_size=1, max_size=40),
    st.fractions(Fraction(1, 2), 3, max_denominator=40),
)
def test_a_factor_keeps_the_total_to_a_centisecond(delays: list[int], factor: Fraction) -> None:
    found, _ = retimed(delays, rules=f"all=*{factor}")
    assert abs(sum(found) - sum(delays) * factor) <= Fraction(1, 2)


def test_hold_is_for_the_last_image_and_goes_with_rules() -> None:
    assert retimed([8] * 4, hold="3s")[0] == [8, 8, 8, 300]
    assert retimed([8] * 4, rules="2=9", hold="250ms")[0] == [8, 9, 8, 25]
    assert retimed([8], hold="70")[0] == [70]


def test_the_floor_is_for_delays_that_are_set_and_is_told() -> None:
    found, warnings = retimed([1, 1, 8], rules="2=1")
    assert found == [1, 2, 8] and len(warnings) == 1 and "--min-delay 0" in warnings[0]
    assert retimed([1, 1, 8], **{"rules": "2=1", "min-delay": "0"}) == ([1, 1, 8], [])


def test_what_a_gif_cannot_say_is_cut_and_told() -> None:
    found, warnings = retimed([8, 8], hold="1000s")
    assert found == [8, 65535] and "65535" in warnings[0]


def test_a_number_behind_the_end_is_told() -> None:
    assert "there is no image 9: the clip has 2" in retimed([8, 8], rules="9-=5")[1][0]


def test_a_chain_takes_rules_with_and_without_quotes() -> None:
    plain = edited("ok_plain.gif", "chain", "delay:1-2=10")
    assert plain == edited("ok_plain.gif", "delay", "1-2=10")
    several = edited("ok_plain.gif", "chain", "delay:'1-2=10 3=5',hold=9")
    assert several == edited("ok_plain.gif", "delay", "1-2=10 3=5", "--hold", "9")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["1-="],
        ["0=5"],
        ["5-2=3"],
        ["last=abc"],
        ["1=*0"],
        ["1=5x"],
        ["1=1e5"],
        ["1=1/0"],
        ["--hold", "+3"],
        ["--hold", "-3"],
        ["--rules", ""],
        ["3", "--min-delay", "-1"],
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str]) -> None:
    done = vedit("gif", "delay", *arguments, gif("ok_plain.gif"))
    assert (done.code, done.out) == (2, b""), done.err
