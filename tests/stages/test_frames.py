"""Images that stay look as they did; the time of those that go is kept or goes with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import reference
from tests.conftest import NASTY, SHARED, WELL_FORMED, edited, gif, parsed, same_facts, vedit
from tests.media.clips import clip_of, decoded, noise, packets
from vedit.media.frames import Clip, Frame, Rect
from vedit.stages import frames
from vedit.stages.options import read_options


def is_short(name: object) -> bool:
    """Whether a file that is here has fewer than three images."""
    places = (NASTY / str(name), SHARED / "data/gifs/real" / str(name))
    return any(path.exists() and len(parsed(path).images) < 3 for path in places)


def shows(result: bytes, source: reference.Gif, numbers: list[int]) -> reference.Gif:
    """The result, which is to show these images of the source, counted from 1, bit for bit."""
    found = reference.read(result)
    pictures = list(source.frames())
    assert len(found.images) == len(numbers)
    for frame, number in zip(found.frames(), numbers, strict=True):
        assert np.array_equal(frame, pictures[number - 1]), number
    return found


@pytest.mark.parametrize("name", WELL_FORMED)
def test_every_second_image_looks_as_it_did_and_has_the_time_of_two(name: str) -> None:
    source = parsed(gif(name))
    result = vedit("gif", "frames", "--every", "2", gif(name)).out
    found = shows(result, source, list(range(1, len(source.images) + 1, 2)))
    played = [10 if delay < 2 else delay for delay in source.delays]
    pairs = [(played[i : i + 2], source.delays[i]) for i in range(0, len(played), 2)]
    assert found.delays == [min(65535, sum(pair)) if len(pair) > 1 else own for pair, own in pairs]
    same_facts(result, source, delays=False)


@pytest.mark.parametrize("name", [name for name in WELL_FORMED if not is_short(name)])
def test_images_left_out_at_the_front_leave_the_others_as_they_were(name: str) -> None:
    source = parsed(gif(name))
    found = shows(edited(name, "frames", "--drop", "1-2"), source, list(range(3, len(source.images) + 1)))
    assert found.delays == source.delays[2:]


@pytest.mark.parametrize("name", WELL_FORMED)
def test_an_order_that_turns_back_looks_as_it_did(name: str) -> None:
    source = parsed(gif(name))
    count = len(source.images)
    found = shows(
        edited(name, "frames", "--order", f"1-{count},{count}-1"),
        source,
        [*range(1, count + 1), *range(count, 0, -1)],
    )
    assert found.delays == source.delays + source.delays[::-1]


@pytest.mark.parametrize("name", ["ok_plain.gif", "ok_disposal_mix.gif", "minrf_51.gif", "pillow_chi.gif"])
@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("2-3,1",), lambda n: [1, 2, 3]),
        (("3-",), lambda n: [*range(3, n + 1)]),
        (("last",), lambda n: [n]),
        (("--drop", "last"), lambda n: [*range(1, n)]),
        (("--every", "1.5"), lambda n: [k for k in range(1, n + 1) if k % 3]),
        (("--every", "4/3"), lambda n: [k for k in range(1, n + 1) if k % 4]),
        (("--every", "3", "--of", "2-"), lambda n: [1, *range(2, n + 1, 3)]),
        (("--keep", "2-4", "--order", "3,1"), lambda n: [4, 2]),
    ],
)
def test_the_images_asked_for_stay(name: str, arguments: tuple[str, ...], wanted) -> None:  # type: ignore[no-untyped-def]
    source = parsed(gif(name))
    shows(edited(name, "frames", *arguments), source, wanted(len(source.images)))


def test_a_stretch_of_time_takes_just_that_long() -> None:
    source = parsed(gif("minrf_51.gif"))  # 51 images of 10 cs
    found = shows(edited("minrf_51.gif", "frames", "--time", "1.05-2.52"), source, list(range(11, 27)))
    assert found.delays == [5, *[10] * 14, 2]
    assert sum(found.delays) == 147
    whole = reference.read(edited("minrf_51.gif", "frames", "--time", "1.05-2.52", "--hold"))
    assert sum(whole.delays) == sum(source.delays)


def test_dropped_time_goes_with_the_images_or_stays_with_the_one_before() -> None:
    delays = parsed(gif("ok_plain.gif")).delays
    gone = reference.read(edited("ok_plain.gif", "frames", "--drop", "2-3")).delays
    assert gone == [delays[0], *delays[3:]]
    held = reference.read(edited("ok_plain.gif", "frames", "--drop", "2-3", "--hold")).delays
    assert held == [sum(delays[:3]), *delays[3:]]
    front = reference.read(edited("ok_plain.gif", "frames", "--drop", "1-2", "--hold")).delays
    assert front == [sum(delays[:3]), *delays[3:]]
    closed = reference.read(edited("ok_plain.gif", "frames", "--every", "2", "--close")).delays
    assert closed == delays[::2]


def test_equal_images_in_a_row_become_one(tmp_path: Path) -> None:
    doubled = tmp_path / "doubled.gif"
    doubled.write_bytes(edited("ok_plain.gif", "frames", "--order", "1,1,2,2,2,3,1,1"))
    source = parsed(gif("ok_plain.gif"))
    done = vedit("gif", "frames", "--drop-equal", "--info", doubled)
    found = shows(done.out, source, [1, 2, 3, 1])
    one, two, three = source.delays[:3]
    assert found.delays == [2 * one, 3 * two, three, 2 * one]
    assert done.err == "copy\n"  # what changed nothing was left out without decoding for the result


def test_stored_images_are_left_out_as_they_are_where_none_needs_them() -> None:
    assert vedit("gif", "frames", "1-3", "--info", gif("ok_plain.gif")).err == "copy\n"
    whole = gif("ok_256_used.gif")
    payloads = [image.payload for image in parsed(whole).images]
    found = reference.read(vedit("gif", "frames", "1", whole).out)
    assert [image.payload for image in found.images] == payloads[:1]


def observed(shapes: list[tuple[Rect, int, int | None]], **given: str) -> tuple[str, ...]:
    """The kinds of frame that a selection takes after a look at these stored images of a 4x4 canvas."""
    stage = frames.make(**read_options("frames", frames.OPTIONS, given))
    clip = Clip(4, 4)
    stored = [
        Frame(i, 10 * i, 10, "packed", rect, b"", disposal=disposal, transparent=hidden)
        for i, (rect, disposal, hidden) in enumerate(shapes)
    ]
    stage.observe(clip, iter(stored))
    return stage.accepts


WHOLE, CORNER = Rect(0, 0, 4, 4), Rect(0, 0, 2, 2)


@pytest.mark.parametrize(
    ("third", "can_copy"),
    [
        ((WHOLE, 1, None), True),
        ((WHOLE, 2, None), True),
        ((CORNER, 1, None), True),  # it covers all that the second has drawn
        ((Rect(1, 1, 3, 3), 1, None), False),
        ((WHOLE, 1, 0), False),  # what is under it may show
        ((WHOLE, 3, None), False),  # what is under it comes back
    ],
)
def test_an_image_goes_undecoded_only_where_the_next_covers_it(
    third: tuple[Rect, int, int | None], can_copy: bool
) -> None:
    shapes = [(WHOLE, 1, None), (CORNER, 1, 0), third]
    assert ("packed" in observed(shapes, drop="2")) == can_copy


def test_film_keeps_the_times_and_pictures_of_what_stays(tmp_path: Path) -> None:
    from vedit.media.open import write_clip

    pictures = [noise(16, 16, seed) for seed in range(6)]
    write_clip(*clip_of(pictures, [4] * 6), str(tmp_path / "in.nut"))
    assert vedit("gif", "frames", "2-3,6", tmp_path / "in.nut", "-o", tmp_path / "out.nut").code == 0
    assert [frame.tobytes() for frame in decoded(tmp_path / "out.nut", (16, 16))] == [
        pictures[i].tobytes() for i in (1, 2, 5)
    ]
    assert vedit("gif", "frames", "--every", "2", tmp_path / "in.nut", "-o", tmp_path / "two.nut").code == 0
    assert [float(at) for at, _ in packets(tmp_path / "two.nut")] == [0, 0.08, 0.16]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--keep", "0"],
        ["--keep", "5-2"],
        ["--keep", "1;2"],
        ["--keep", "1-2", "--drop", "3"],
        ["--every", "0"],
        ["--of", "1-3", "--drop", "1"],
        ["--time", "4-1.5"],
        ["--time", "3"],
        ["--every", "2", "--hold", "--close"],
        ["99"],
        ["--drop", "1-"],
        ["--order", "a"],
    ],
)
def test_what_keeps_nothing_or_makes_no_sense_is_refused(arguments: list[str]) -> None:
    done = vedit("gif", "frames", *arguments, gif("ok_plain.gif"))
    assert (done.code, done.out) == (2, b""), done.err


def test_a_number_behind_the_end_is_told() -> None:
    done = vedit("gif", "frames", "1-2,40", gif("ok_plain.gif"))
    assert done.code == 0 and "there is no image 40: the clip has 6" in done.err


def test_a_pipe_is_read_too() -> None:
    data = gif("ok_disposal_mix.gif").read_bytes()
    assert vedit("gif", "frames", "2-", stdin=data).out == edited("ok_disposal_mix.gif", "frames", "2-")
