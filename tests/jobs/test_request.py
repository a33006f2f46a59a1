"""Jobs as plain data: JSON and back, and the faces' options are their fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import click
import pytest

from vedit.cli import main
from vedit.errors import UsageError
from vedit.jobs.batch.request import BatchRequest
from vedit.jobs.data.request import (
    BenchmarkRequest,
    ClipRequest,
    FolderRequest,
    ListedRequest,
    MovingMnistRequest,
    MsrVttRequest,
)
from vedit.jobs.generate.request import GenerateRequest
from vedit.jobs.media.convert import ConvertRequest
from vedit.jobs.media.gif import GifRequest
from vedit.jobs.media.preview import PreviewRequest
from vedit.jobs.media.probe import ProbeRequest
from vedit.jobs.request import Request
from vedit.jobs.score.request import CompareRequest, MergeRequest, ScoreRequest, TableRequest
from vedit.jobs.train.request import TrainRequest

OF_THE_FACE = {
    "explain",
    "describe",
    "quiet",
    "progress",
    "as_json",
    "entry",
}  # how a call is shown is no part of what is asked for
OF_MANY_FILES = {"no_overwrite", "verbose", "in_place"}  # -n says overwrite=False; convert refuses the last
REQUESTS: dict[str, type[Request]] = {
    "convert": ConvertRequest,
    "probe": ProbeRequest,
    "gif preview": PreviewRequest,
    "batch run": BatchRequest,
    "score": ScoreRequest,
    "score compare": CompareRequest,
    "score merge": MergeRequest,
    "score table": TableRequest,
    "train": TrainRequest,
    "generate": GenerateRequest,
    "data folder": FolderRequest,
    "data table": ListedRequest,
    "data msrvtt": MsrVttRequest,
    "data v2vbench": BenchmarkRequest,
    "data moving-mnist": MovingMnistRequest,
    "data clip": ClipRequest,
}


@dataclass(frozen=True)
class Walk(Request):
    steps: int = 1
    size: tuple[int, int] | None = None
    frames: int | str | None = None
    names: tuple[str, ...] = ()
    rest: Mapping[str, Any] = field(default_factory=dict)


def test_a_request_comes_back_from_json_as_it_was() -> None:
    asked = Walk(steps=3, size=(64, 48), frames="8", names=("a", "b"), rest={"k": [1, 2.5], "t": None})
    told = json.loads(json.dumps(asked.json()))
    assert told == {
        "steps": 3,
        "size": [64, 48],
        "frames": "8",
        "names": ["a", "b"],
        "rest": {"k": [1, 2.5], "t": None},
    }
    assert Walk.from_json(told) == asked


def test_what_a_table_lacks_has_its_default() -> None:
    assert Walk.from_json({"names": ["a"]}) == Walk(names=("a",))


def test_an_unknown_key_is_refused_with_the_nearest_spelling() -> None:
    with pytest.raises(
        UsageError, match=r"row 3: 2 mistakes\.\n  no key 'step'; did you mean steps\?\n  no key 'zz'\."
    ):
        Walk.from_json({"step": 3, "zz": 1}, "row 3")


def test_a_value_of_another_kind_is_refused_by_its_key() -> None:
    with pytest.raises(UsageError, match=r"row 3: not a Walk: steps: "):
        Walk.from_json({"steps": "many"}, "row 3")


def test_a_request_of_named_fields_comes_back_from_json_too() -> None:
    asked = GifRequest(inputs=("a.gif",), stages=(("rotate", {"angle": "90"}),), colors=16, overwrite=False)
    told = json.loads(json.dumps(asked.json()))
    assert told["stages"] == [["rotate", {"angle": "90"}]] and told["inputs"] == ["a.gif"]
    assert GifRequest.from_json(told) == asked
    assert GifRequest.from_json({"stages": "rotate:90"}).specs == [("rotate", {"angle": "90"})]
    film = ConvertRequest(("a.mp4",), "a.gif", start="1:02.5", fps="30000/1001", overwrite=True)
    assert ConvertRequest.from_json(json.loads(json.dumps(film.json()))) == film
    with pytest.raises(UsageError, match=r"the request: not a GifRequest: colors: "):
        GifRequest.from_json({"colors": "many"})
    with pytest.raises(UsageError, match=r"no key 'color'; did you mean colors\?"):
        GifRequest.from_json({"color": 4})


@pytest.mark.parametrize("name", REQUESTS)
def test_every_option_of_a_command_is_a_field_with_the_same_default(name: str) -> None:
    request, command = REQUESTS[name], _command(name)
    options = {
        param.name: param
        for param in command.params
        if isinstance(param, click.Option) and param.name not in (*OF_THE_FACE, "help")
    }
    arguments = {param.name for param in command.params if isinstance(param, click.Argument)}
    known = _defaults(request)
    of_records = {"clips", "like"} if name == "generate" else set()
    if name in ("convert", "gif preview"):
        options = {key: param for key, param in options.items() if key not in OF_MANY_FILES}
    if name == "batch run":
        options["set"] = options.pop("settings")
    assert options.keys() | arguments == known.keys() - of_records
    plain = options.keys() - {
        "settings",
        "set",
        "pipe",
        "model",
    }  # KEY=VALUE texts on the command line, a table in a request
    assert {key: known[key] for key in plain} == {key: _default(options[key]) for key in plain}


def _defaults(request: type[Request]) -> dict[str, Any]:
    if issubclass(request, tuple):
        return dict(request._field_defaults)  # type: ignore[attr-defined]
    given = {item.name: item.default for item in fields(request)}  # type: ignore[arg-type]
    return {name: None if default is MISSING else default for name, default in given.items()}


def _command(path: str) -> click.Command:
    found: click.Command = main
    for name in path.split():
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), name) or found
    return found


def _default(param: click.Option) -> Any:
    value = param.to_info_dict()["default"]
    return () if param.multiple and value is None else value
