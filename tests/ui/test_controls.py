"""What the page draws: every option once, of our stages and of others."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Any

import click
import pytest

from vedit import stages
from vedit.cli.gif import clip_options, metadata_options, palette_options
from vedit.errors import UsageError
from vedit.jobs.media.gif import GifRequest
from vedit.stages.options import Choice, Flag, Integer, Option
from vedit.ui.controls import (
    FORMAT,
    checked,
    checked_output,
    control,
    controls,
    default_text,
    output_options,
    request_fields,
)

KINDS = [
    "range",
    "log-range",
    "choice",
    "words",
    "switch",
    "text",
    "lines",
    "colour",
    "ground",
    "length",
    "size",
    "aspect",
    "rectangle",
    "regions",
    "point",
    "spans",
    "moments",
    "rules",
    "delay",
    "loop",
    "file",
]


def test_every_option_of_every_stage_is_a_control_once() -> None:
    drawn = json.loads(json.dumps(controls()))
    assert [stage["name"] for stage in drawn["stages"]] == stages.names()
    for stage in drawn["stages"]:
        names = [option["name"] for option in stage["options"]]
        assert names == [option.name for option in stages.load(stage["name"]).OPTIONS]
        assert len(set(names)) == len(names)
        assert {option["kind"] for option in stage["options"]} <= set(KINDS)
        for ways in stage["ways"]:
            assert {name for way in ways["ways"] for name in way["options"]} <= set(names)


def test_every_option_of_a_gif_command_is_a_control_of_the_result() -> None:
    """But for those that say what goes in and where it goes, and what is printed."""
    holder: Any = palette_options(metadata_options(clip_options(lambda: None)))
    shared = {
        name.removeprefix("--")
        for param in holder.__click_params__
        if isinstance(param, click.Option)
        for name in param.opts
        if name.startswith("--")
    }
    drawn = {option.name for option in output_options()}
    assert shared - {"limit", "info", "to", "join"} == drawn - {FORMAT}


def test_a_default_is_the_text_that_means_the_same() -> None:
    for name in stages.names():
        for option in stages.load(name).OPTIONS:
            text, usual = default_text(option), option.default
            if text is None:
                assert usual is None
                continue
            assert control(option)["default"] == text
            meant = option.parse(usual) if isinstance(usual, str) else usual
            assert (option.parse(text) or None) == (meant or None), f"{name} {option.name}"


@pytest.mark.parametrize(
    ("stage", "option", "usual"),
    [  # the spans that the seed of the editor names
        ("resize", "width", [50, 1000, 1]),
        ("resize", "height", [50, 1000, 1]),
        ("crop", "left", [0, 100, 1]),
        ("speed", "factor", [0.1, 5, 0.01]),
        ("adjust", "brightness", [0.1, 3, 0.01]),
        ("adjust", "contrast", [0.1, 3, 0.01]),
    ],
)
def test_sliders_have_the_spans_of_the_seed(stage: str, option: str, usual: list[float]) -> None:
    found = next(entry for entry in stages.load(stage).OPTIONS if entry.name == option)
    assert found.control()["usual"] == usual


@pytest.mark.parametrize(("stage", "option"), [("speed", "factor"), ("adjust", "gamma"), ("resize", "scale")])
def test_factors_have_a_logarithmic_slider(stage: str, option: str) -> None:
    found = next(entry for entry in stages.load(stage).OPTIONS if entry.name == option)
    assert found.control()["kind"] == "log-range"


def test_a_stage_of_another_distribution_is_drawn_without_a_change_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs: Any = ModuleType("theirs")
    theirs.SUMMARY, theirs.POSITIONAL = "Do what they do.", None
    theirs.OPTIONS = (
        Option("level", int, "how much", "N", 4),
        Option("how", Choice("a", "b"), "which way", "a|b", "a"),
        Option("deep", Flag(), "more"),
    )
    monkeypatch.setitem(sys.modules, "theirs", theirs)
    load, names = stages.load, stages.names
    monkeypatch.setattr(stages, "names", lambda: [*names(), "theirs"])
    monkeypatch.setattr(stages, "load", lambda name: theirs if name == "theirs" else load(name))
    drawn = controls()["stages"][-1]
    assert (drawn["name"], drawn["summary"], drawn["ways"]) == ("theirs", "Do what they do.", [])
    assert [option["kind"] for option in drawn["options"]] == ["text", "choice", "switch"]
    assert [option.get("default") for option in drawn["options"]] == ["4", "a", "false"]


def test_a_checked_chain_has_the_order_of_the_table_and_no_defaults() -> None:
    chain = [
        ("adjust", {"contrast": "2", "brightness": "1", "gamma": "1.0"}),
        ("crop", {"bottom": "3", "left": "1"}),
    ]
    assert checked(chain) == [
        ("adjust", {"contrast": "2", "gamma": "1.0"}),
        ("crop", {"left": "1", "bottom": "3"}),
    ]


@pytest.mark.parametrize(
    ("chain", "stage", "option"),
    [
        ([("rotate", {}), ("crop", {"left": "abc"})], 1, "left"),
        ([("crop", {})], 0, None),
        ([("rotate", {}), ("rotate", {}), ("nothing", {})], 2, None),
        ([("rotate", {"angel": "90"})], 0, None),
        ([("resize", {"width": "0.5"})], 0, "width"),
    ],
)
def test_an_error_says_which_stage_and_which_option(chain: Any, stage: int, option: str | None) -> None:
    with pytest.raises(UsageError) as raised:
        checked(chain)
    assert (raised.value.stage, raised.value.option) == (stage, option)


def test_the_result_has_a_format_and_what_is_asked_of_it() -> None:
    assert checked_output({}) == {"format": "gif"}
    assert checked_output({"format": "mp4", "colors": "256", "no-audio": "false"}) == {"format": "mp4"}
    assert checked_output({"format": "mp4"}, "webm") == {"format": "webm"}
    fields = request_fields(checked_output({"colors": "64", "no-audio": "true", "loop": "3", "start": "1"}))
    assert fields == {"colors": 64, "no_audio": True, "loop": "3", "start": "1"}
    assert set(fields) <= set(GifRequest._fields)
    with pytest.raises(UsageError) as raised:
        checked_output({"colors": "1"})
    assert (raised.value.stage, raised.value.option) == (None, "colors")


def test_every_field_of_the_result_is_one_of_the_request() -> None:
    texts = {"loop": "3", "crf": "20", "start": "1", "fps": "5", "strip": "all", "comment": "x", "end": "3"}
    for option in output_options():
        text = texts.get(option.name) or ("true" if option.is_flag else None)
        if text is None and isinstance(option.parse, (Choice, Integer)):
            text = option.parse.names[-1] if isinstance(option.parse, Choice) else str(option.parse.low)
        if option.name == FORMAT or text is None:
            continue
        assert set(request_fields({option.name: text})) <= set(GifRequest._fields), option.name
