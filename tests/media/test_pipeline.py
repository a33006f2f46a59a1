"""The plan of a chain: the cheapest exact kind of frame for each stage, and no conversion twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import gif, vedit
from vedit import stages
from vedit.media.frames import Clip, Frame, Frames, Rect
from vedit.media.pipeline import Step, connect, path_name, plan
from vedit.stages.options import read_options


class Fake:
    """A stage that accepts some kinds and notes what it was given."""

    prepass = None

    def __init__(self, name: str, *accepts: str) -> None:
        self.name = name
        self.accepts = accepts

    def open(self, clip: Clip) -> Clip:
        return clip

    def run(self, frames: Frames) -> Frames:
        return frames


COPY = Fake("copy", "packed", "index", "rgba")
INDEX = Fake("index", "index", "rgba")
FULL = Fake("full", "rgba")


def words(steps: list[Step]) -> str:
    return " ".join(step.name if step.stage is None else f"{step.name}@{step.kind}" for step in steps)


@pytest.mark.parametrize(
    ("chain", "expected", "path"),
    [
        ([], "", "copy"),
        ([COPY], "copy@packed", "copy"),
        ([COPY, COPY], "copy@packed copy@packed", "copy"),
        ([INDEX], "unpack index@index pack", "index"),
        ([INDEX, INDEX], "unpack index@index index@index pack", "index"),
        ([COPY, INDEX, COPY], "copy@packed unpack index@index pack copy@packed", "index"),
        ([FULL], "unpack compose full@rgba quantise pack", "full"),
        ([FULL, FULL], "unpack compose full@rgba full@rgba quantise pack", "full"),
        ([INDEX, FULL], "unpack index@index compose full@rgba quantise pack", "full"),
        ([FULL, INDEX, FULL], "unpack compose full@rgba index@rgba full@rgba quantise pack", "full"),
    ],
)
def test_a_chain_takes_the_cheapest_path_and_quantises_once(
    chain: list[Fake], expected: str, path: str
) -> None:
    steps = plan(chain, "packed", "packed")
    assert words(steps) == expected
    assert path_name(steps) == path


def test_full_colour_sources_and_sinks_are_not_converted() -> None:
    assert words(plan([INDEX, FULL], "rgba", "rgba")) == "index@rgba full@rgba"
    assert words(plan([], "rgba", "packed")) == "quantise pack"
    assert words(plan([], "packed", "rgba")) == "unpack compose"


@pytest.mark.parametrize(
    ("name", "options", "path"),
    [
        ("speed", {"factor": "2"}, "copy"),
        ("speed", {"duration": "2"}, "copy"),
        ("speed", {"reverse": "true"}, "full"),
        ("metadata", {"loop": "once"}, "copy"),
        ("adjust", {"brightness": "2"}, "copy"),
        ("adjust", {"contrast": "2", "pivot": "mean"}, "copy"),
        ("crop", {"left": "1"}, "index"),
        ("rotate", {"angle": "90"}, "index"),
        ("rotate", {"flip": "h"}, "index"),
        ("resize", {"width": "9", "filter": "nearest"}, "index"),
        ("resize", {"width": "9"}, "full"),
    ],
)
def test_each_stage_takes_its_documented_path(name: str, options: dict[str, str], path: str) -> None:
    module = stages.load(name)
    stage = module.make(**read_options(name, module.OPTIONS, options))
    assert path_name(plan([stage], "packed", "packed")) == path


def test_connecting_runs_nothing_until_frames_are_drawn() -> None:
    drawn: list[int] = []

    def source() -> Iterator[Frame]:
        for index in range(3):
            drawn.append(index)
            yield Frame(index, index, 1, "packed", Rect(0, 0, 1, 1), b"")

    def convert(clip: Clip, frames: Frames) -> Frames:
        return (frame.but(kind="index") for frame in frames)

    _, frames = connect(Clip(1, 1), source(), plan([INDEX], "packed", "index"), {"unpack": convert})
    assert drawn == []
    assert next(frames).kind == "index"
    assert drawn == [0]


@pytest.mark.parametrize(
    "command",
    [
        ["gif", "resize", "80x80"],
        ["gif", "resize", "--scale", "1.5", "--filter", "nearest"],
        ["gif", "resize", "--fill", "80x80"],
        ["gif", "pad", "80x80"],
        ["gif", "pad", "--aspect", "16:9", "--color", "transparent"],
        ["gif", "chain", "crop:rect=10x10+0+0; pad:90x90; resize:scale=0.1"],
        ["gif", "concat", "--size", "80x80"],
        ["convert", "--width", "80", "--height", "80"],
    ],
)
def test_a_stage_makes_no_canvas_larger_than_may_be_read(command: list[str], tmp_path: Path) -> None:
    """The GIF has 64x48 pixels, which are 3072."""
    source, out = gif("ok_plain.gif"), tmp_path / "out.gif"
    inputs = [source] * (1 + ("concat" in command))
    result = vedit(*command, "--limit", "canvas=4000", *inputs, "-o", out)
    assert result.code == 6 and not out.exists(), result.err
    assert "makes, is over the limit of 4k for canvas" in result.err
    more = re.search(r"--limit (canvas=\d+k)", result.err)
    assert more and vedit(*command, "--limit", more[1], *inputs, "-o", out).code == 0


def test_a_canvas_that_only_shrinks_may_be_as_large_as_it_was_read(tmp_path: Path) -> None:
    out = tmp_path / "out.gif"
    assert vedit("gif", "pad", "64x48", "--limit", "canvas=3072", gif("ok_plain.gif"), "-o", out).code == 0
