"""A fade mixes by time, begins and ends with the colour, and leaves what is between."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from tests import reference
from tests.conftest import edited, gif, parsed, vedit


def shares(delays: list[int], in_s: str, out_s: str) -> list[Fraction]:
    """How much of each picture is to be seen, by the formula of the help text."""
    total, at, found = sum(delays), 0, []
    for delay in delays:
        share = Fraction(1)
        if in_s != "0":
            share = min(share, Fraction(at, 100) / Fraction(in_s))
        at += delay
        if out_s != "0":
            share = min(share, Fraction(total - at, 100) / Fraction(out_s))
        found.append(max(Fraction(0), share))
    return found


@pytest.mark.parametrize(("in_s", "out_s"), [("0.2", "0"), ("0", "0.25"), ("0.2", "0.3"), ("9", "9")])
@pytest.mark.parametrize("name", ["ok_plain.gif", "ok_disposal_mix.gif", "minrf_51.gif"])
def test_every_frame_is_the_mixture_of_its_moment(name: str, in_s: str, out_s: str) -> None:
    source = parsed(gif(name))
    result = edited(name, "fade", "--in", in_s, "--out", out_s, "--color", "#20c040")
    found = reference.read(result)
    assert found.delays == source.delays
    ground = np.array([0x20, 0xC0, 0x40])
    played = [10 if delay < 2 else delay for delay in source.delays]
    for shown, picture, share in zip(
        found.frames(), source.frames(), shares(played, in_s, out_s), strict=True
    ):
        mixed = np.floor(ground + (picture[..., :3].astype(float) - ground) * float(share) + 0.5 + 1e-9)
        is_clear = picture[..., 3] == 0
        assert np.array_equal(shown[..., 3], picture[..., 3])
        assert np.abs(shown[..., :3] - np.where(is_clear[..., None], 0, mixed)).max() <= (
            2 if share < 1 else 0
        )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--in", "0"],
        ["--in", "-1"],
        ["--in", "soon"],
        ["--out", "1e9"],
        ["--in", "1", "--color", "mauve"],
        ["--out", "nan"],
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str]) -> None:
    done = vedit("gif", "fade", *arguments, gif("ok_plain.gif"))
    assert (done.code, done.out) == (2, b""), done.err
