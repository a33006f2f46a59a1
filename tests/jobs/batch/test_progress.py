from __future__ import annotations

import random

import pytest

from vedit.jobs.batch.plan import Item
from vedit.jobs.batch.progress import Pace, clock, line
from vedit.jobs.batch.rows import Row
from vedit.jobs.edit.request import EditRequest


def item(clip: str, method: str = "p2p", steps: int = 5) -> Item:
    request = EditRequest(input=clip, method=method, steps=steps, prompt="a fox")
    return Item(
        Row(1, "", request, method, None, {}, "", None, None, {}, {}), f"{clip}{method}", f"{clip}.gif"
    )


def done(pace: Pace, made: Item, seconds: float) -> None:
    pace.add(pace.begin(made), seconds)


def test_nothing_is_said_before_each_kind_has_an_item() -> None:
    pace = Pace()
    assert pace.left([item("a")], [], 1) is None
    done(pace, item("a"), 4.0)
    assert pace.left([item("b")], [], 1) == (4, 4, 4)
    assert pace.left([item("b"), item("b", steps=9)], [], 1) is None


def test_first_edits_of_clips_count_apart_from_those_that_find_an_inversion() -> None:
    pace = Pace()
    for clip in "ab":
        done(pace, item(clip), 10.0)
        done(pace, item(clip), 2.0)
    left = pace.left([item("c"), item("c"), item("c"), item("d")], [], 2)
    assert left is not None and left.seconds == (10 + 2 + 2 + 10) / 2


def test_what_is_at_work_counts_for_what_it_has_left() -> None:
    pace = Pace()
    done(pace, item("a"), 10.0)
    group = pace.begin(item("b"))
    assert pace.left([], [(group, 4.0)], 1) == (6, 6, 6)
    assert pace.left([], [(group, 40.0)], 1) == (0, 0, 0)


def test_a_machine_that_became_twice_as_slow_takes_twice_as_long() -> None:
    pace = Pace()
    for clip in range(20):
        done(pace, item(str(clip)), 2.0)
    for clip in range(20, 24):
        done(pace, item(str(clip)), 4.0)
    left = pace.left([item("x"), item("y")], [], 1)
    assert left is not None and left.seconds == pytest.approx(8.0)


@pytest.mark.parametrize("seed", range(5))
def test_the_time_left_is_right_within_a_quarter_at_half_time_of_a_mixed_run(seed: int) -> None:
    draw = random.Random(seed)
    items = [item(str(clip), method) for clip in range(12) for method in ("p2p", "p2p", "glp", "pnp")]
    base, inverting = {"p2p": 5.0, "pnp": 6.0, "glp": 14.0}, 10.0
    clips = set[object]()
    seconds = []
    for made in items:
        fresh = inverting * (made.clip not in clips)
        clips.add(made.clip)
        seconds.append((base[made.request.method] + fresh) * draw.uniform(0.8, 1.25))
    pace, spent, at = Pace(), 0.0, 0
    while spent < sum(seconds) / 2:
        done(pace, items[at], seconds[at])
        spent, at = spent + seconds[at], at + 1
    left = pace.left(items[at:], [], 1)
    assert left is not None and left.seconds == pytest.approx(sum(seconds[at:]), rel=0.25)
    assert left.low <= left.seconds <= left.high


def test_the_line_says_how_far_it_is() -> None:
    assert (clock(41), clock(3723)) == ("00:41", "1:02:03")
    assert line(37, 240, 2, ["wolf.gif 31/50"], None) == "37/240 done, 2 failed, 1 running (wolf.gif 31/50)"
