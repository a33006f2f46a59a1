"""Edits and inversions as data: JSON, records, plans, and frames instead of files."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import click
import numpy as np
import pytest

pytest.importorskip("torch")

from tests.jobs.conftest import job
from vedit.cli.edit import command as edit_command
from vedit.cli.invert import command as invert_command
from vedit.errors import UsageError
from vedit.jobs.clips import Selection, read_pixels
from vedit.jobs.edit.plan import edit_frames, plan, plan_inversion
from vedit.jobs.edit.request import EditRequest, InvertRequest
from vedit.jobs.edit.video import edit_video
from vedit.jobs.record import read_record
from vedit.media.run import Settings
from vedit.models.sd.model import Model

ASKED = EditRequest(
    input="a.gif", output="b.gif", prompt="a blue dog", source_prompt="a red cat", method="ddim", preset="", set={"guidance": 1.0, "steps": 3},
    size=(32, 32), mask=("box:0,0,8,8",), output_size="worked", keep_outside=True,
)  # fmt: skip


def asked(clip: str, output: Path | None, **changes: object) -> EditRequest:
    return replace(ASKED, input=clip, output=output and str(output), mask=(), keep_outside=None, **changes)  # type: ignore[arg-type]


def test_an_edit_comes_back_from_json_as_it_was() -> None:
    assert EditRequest.from_json(json.loads(json.dumps(ASKED.json()))) == ASKED
    inversion = InvertRequest(
        input="a.gif", output="a.inv.safetensors", size="64", method="null-text", lr=0.02
    )
    assert InvertRequest.from_json(json.loads(json.dumps(inversion.json()))) == inversion


def test_an_edit_needs_no_more_than_its_input() -> None:
    assert EditRequest.from_json({"input": "a.gif"}) == EditRequest(input="a.gif")


def test_a_misspelt_key_of_an_edit_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"row 2: 1 mistake\.\n  no key 'strid'; did you mean stride\?"):
        EditRequest.from_json({"input": "a.gif", "strid": 2}, "row 2")


def test_every_option_of_edit_and_invert_is_a_field_with_the_same_default() -> None:
    spelt = {
        "source": "source_prompt",
        "target": "prompt",
        "settings": "set",
        "masks": "mask",
        "no_metadata": "metadata",
        "instruction": "prompt",
        "weights": "set",
        "method": "method",  # easyv2v with an instruction
    }
    for command, request in ((edit_command, EditRequest), (invert_command, InvertRequest)):
        defaults = {field.name: field.default for field in fields(request)}
        of_the_face = {"explain", "list_methods", "as_json", "quiet", "progress", "help"}
        of_several = {"inputs", "output_dir", "suffix", "keep"}  # one request is one clip
        for param in command.params:
            assert isinstance(param, click.Parameter)
            name = str(param.name)
            if name in of_the_face | of_several:
                continue
            assert spelt.get(name, name) in defaults
            if isinstance(param, click.Option) and name not in spelt:
                default = param.to_info_dict()["default"]
                assert (() if param.multiple and default is None else default) == defaults[name], name


def test_a_record_is_the_request_that_made_it(model: Model, clip: str, tmp_path: Path) -> None:
    made = job(
        clip, tmp_path / "a.gif", target="a blue dog", seed=3, mask=("box:0,0,16,16",), keep_outside=True
    )
    edit_video(made, model, Settings())
    again = EditRequest.from_record(read_record(str(tmp_path / "a.gif")), "x.gif")
    assert (again.prompt, again.source_prompt, again.method, again.seed, again.output) == (
        "a blue dog",
        made.source,
        made.method,
        3,
        "x.gif",
    )
    assert (again.size, again.crop, again.mask, again.keep_outside) == (
        32,
        "square",
        ("box:0,0,16,16",),
        True,
    )
    assert EditRequest.from_json(json.loads(json.dumps(again.json()))) == again


def test_frames_are_those_of_the_file_that_would_be_written(model: Model, clip: str, tmp_path: Path) -> None:
    plan(asked(clip, tmp_path / "a.nut", model=model.name)).run(model=model)
    written = read_pixels(str(tmp_path / "a.nut"), Selection(size=(32, 32))).frames_FYX3
    pictures = list(plan(asked(clip, None, model=model.name)).frames(model=model))
    assert pictures[0].size == (32, 32) and np.array_equal(
        np.stack([np.asarray(picture) for picture in pictures]), written
    )


def test_frames_in_memory_go_through_the_edit_of_files(model: Model, clip: str) -> None:
    pixels = read_pixels(clip, Selection(size=(32, 32)))
    known = np.stack(list(edit_frames(model, pixels, asked(clip, None))))
    parts = list(edit_frames(model, np.asarray(pixels.frames_FYX3), asked("x", None, window=1)))
    assert np.abs(np.stack(parts).astype(int) - known).max() <= 1  # sums of another shape round otherwise


def test_a_plan_tells_what_it_will_do_without_the_model(clip: str, tmp_path: Path) -> None:
    drawn = asked(clip, tmp_path / "a.gif", source_prompt="a red circle", prompt="a blue circle")
    told = str(plan(drawn)).splitlines()
    assert told[0].startswith(f"edit {clip} with ddim on shapes: ") and told[0].endswith("frames of 32x32")
    assert told[1:] == [
        '"a red circle" becomes "a blue circle"',
        "guidance 1.0, steps 3",
        f"written to {tmp_path / 'a.gif'}",
    ]


def test_a_plan_refuses_what_is_wrong_before_the_model_is_loaded(clip: str, tmp_path: Path) -> None:
    (tmp_path / "there.gif").write_bytes(b"mine")
    wrong = {
        "exists": asked(clip, tmp_path / "there.gif"),
        "is the clip itself": asked(clip, Path(clip)),
        "--truth is for the table of --ablate": asked(clip, None, truth="x.gif"),
        "ddim has no parts to switch off": asked(clip, None, ablate=True),
        "edit needs --prompt": asked(clip, None, prompt=None),
        "frames: ": asked(clip, None, frames="many"),
    }
    for message, request in wrong.items():
        with pytest.raises(Exception, match=message):
            plan(request)
    with pytest.raises(UsageError, match="does not name an inversion"):
        plan_inversion(InvertRequest(input=clip, output="a.gif"))
