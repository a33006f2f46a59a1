"""The same edit of several clips, in this process."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import vedit
from vedit.errors import InputError, Interrupted, MemoryBudgetError, UsageError
from vedit.jobs import worker
from vedit.jobs.batch import clips as many
from vedit.jobs.batch.clips import plan_clips
from vedit.jobs.batch.plan import Plan
from vedit.jobs.batch.run import Outcome
from vedit.jobs.batch.state import State
from vedit.jobs.edit.request import EditRequest
from vedit.jobs.here import run_here
from vedit.media import stopping
from vedit.media.atomic import open_output

ASKED = EditRequest(input="", prompt="a blue circle", source_prompt="a red circle")


class Stub:
    """Writes its prompt and its mask; words in a clip say what goes wrong."""

    made = 0

    def __init__(self, device: str) -> None:
        Stub.made += 1
        self.tried = Stub.made

    def __call__(self, request: EditRequest, sink: worker.Told) -> None:
        content = Path(request.input).read_bytes() if os.path.isfile(request.input) else b"pictures"
        if b"memory" in content and self.tried == 1:
            raise MemoryBudgetError("too much.")
        if b"bad" in content:
            raise InputError("the clip is bad.")
        for step in sink.steps(range(4), 4, "edit"):
            sink.send({"step": step, "total": 4, "what": "edit"})
            for _ in range(content.count(b"stop") if step == 0 else 0):
                signal.raise_signal(signal.SIGINT)  # to this thread: it has arrived when this returns
        assert request.output is not None
        with open_output(request.output) as file:
            file.write(
                f"{request.prompt} {' '.join(map(os.path.basename, request.mask))} ".encode() + content
            )


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two clips, one in a folder, and a folder of pictures."""
    Stub.made = 0
    monkeypatch.setattr(worker, "Editor", Stub)
    monkeypatch.setattr(many, "check_values", lambda request: None)
    folder = tmp_path / "clips"
    (folder / "deep").mkdir(parents=True)
    (folder / "run").mkdir()
    (folder / "a.gif").write_bytes(b"A")
    (folder / "deep" / "b.mp4").write_bytes(b"B")
    for number in range(2):
        Image.new("RGB", (4, 4)).save(folder / "run" / f"{number}.png")
    return folder


def edited(clips: Path, out: Path, **given: Any) -> Outcome:
    request = given.pop("request", ASKED)
    return run_here(planned(clips, out, request, **given))


def planned(clips: Path, out: Path, request: EditRequest = ASKED, **given: Any) -> Plan:
    return plan_clips([str(clips)], str(out), request, **given)


def names(out: Path) -> set[str]:
    return {
        str(path.relative_to(out))
        for path in out.rglob("*")
        if path.suffix in (".gif", ".mp4") and path.is_file()
    }


def test_outputs_are_named_as_their_clips_and_a_second_call_makes_none(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert edited(clips, out, suffix="_blue").made == 3
    assert names(out) == {"a_blue.gif", "deep/b_blue.mp4", "run_blue.gif"}
    assert (out / "a_blue.gif").read_bytes() == b"a blue circle  A"
    assert Stub.made == 1  # the model of the first goes on with the rest
    again = edited(clips, out, suffix="_blue")
    assert (again.made, again.done, Stub.made) == (0, 3, 1)


def test_a_change_makes_what_it_concerns_and_replaces_results_when_that_is_allowed(
    clips: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    edited(clips, out)
    (clips / "a.gif").write_bytes(b"another")
    (clips / "new.gif").write_bytes(b"N")
    outcome = edited(clips, out)
    assert (outcome.made, outcome.failed, (out / "a.gif").read_bytes()) == (1, 1, b"a blue circle  A")
    assert edited(clips, out, overwrite=True).made == 1
    assert (out / "a.gif").read_bytes() == b"a blue circle  another"
    request = EditRequest(input="", prompt="a green circle", source_prompt="a red circle")
    assert edited(clips, out, request=request).failed == 4
    assert edited(clips, out, request=request).failed == 4  # the second call is no leave to replace
    assert edited(clips, out, request=request, overwrite=True).made == 4
    assert edited(clips, out, request=request).made == 0


def test_results_among_the_clips_are_not_taken_for_clips(clips: Path) -> None:
    assert edited(clips, clips, suffix="_blue").made == 3
    again = edited(clips, clips, suffix="_blue")
    assert (again.total, again.made) == (3, 0)


def test_a_folder_for_results_among_the_clips_is_not_looked_into(clips: Path) -> None:
    assert edited(clips, clips / "out").total == 3
    assert edited(clips, clips / "out").made == 0


def test_a_clip_that_fails_does_so_alone_and_is_tried_again_by_the_same_call(
    clips: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (clips / "a.gif").write_bytes(b"bad")
    outcome = edited(clips, out)
    assert (outcome.done, outcome.failed) == (2, 1)
    assert "the clip is bad" in (out / "failed.csv").read_text()
    state = State(str(out))
    (key,) = state.records("failed")
    assert "the clip is bad" in Path(state.log(key, 1)).read_text()
    (clips / "a.gif").write_bytes(b"good")
    assert edited(clips, out).made == 1
    assert not (out / "failed.csv").exists()


def test_memory_that_ran_out_is_tried_once_more_with_nothing_loaded(clips: Path, tmp_path: Path) -> None:
    (clips / "a.gif").write_bytes(b"memory")
    assert (edited(clips, tmp_path / "out").failed, Stub.made) == (0, 2)


def test_the_first_ctrl_c_lets_the_clip_finish(clips: Path, tmp_path: Path) -> None:
    out, told = tmp_path / "out", list[str]()
    (clips / "a.gif").write_bytes(b"stop")
    outcome = run_here(planned(clips, out), tell=lambda event: told.append(str(event["event"])))
    assert (outcome.is_stopped, outcome.made) == (True, 1)
    assert told.count("stopping") == 1
    assert names(out) == {"a.gif"}
    (clips / "a.gif").write_bytes(b"A")
    assert edited(clips, out, overwrite=True).done == 3


def test_the_second_ctrl_c_ends_the_clip(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stopping.finish()  # as a job that was whole before in this process leaves it
    (clips / "a.gif").write_bytes(b"stop stop")
    with pytest.raises(Interrupted, match="The same call goes on"):
        edited(clips, out)
    assert names(out) == set() and not list(out.rglob("*.part"))
    (clips / "a.gif").write_bytes(b"A")
    assert edited(clips, out).made == 3


def test_what_exists_is_left_alone_unless_that_is_allowed(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.gif").write_bytes(b"mine")
    outcome = edited(clips, out)
    assert (outcome.made, outcome.failed, (out / "a.gif").read_bytes()) == (2, 1, b"mine")
    said: list[str] = []
    outcome = edited(clips, out, overwrite=False, say=said.append)
    assert (outcome.total, outcome.failed) == (2, 0)
    assert said == [f"{out}/a.gif exists, and is left as it is (-n)"]
    assert edited(clips, out, overwrite=True).made == 1
    assert (out / "a.gif").read_bytes() == b"a blue circle  A"


def test_a_clip_is_not_replaced_by_its_edit(clips: Path) -> None:
    with pytest.raises(UsageError, match=r"would replace .*a\.gif, a clip to be edited"):
        planned(clips, clips, overwrite=True)


def test_masks_in_a_folder_go_by_the_names_of_clips(clips: Path, tmp_path: Path) -> None:
    masks = clips / "masks"
    (masks / "deep").mkdir(parents=True)
    for name in ("a.png", "deep/b.png", "run.png"):
        Image.new("L", (4, 4)).save(masks / name)
    request = EditRequest(**{**ASKED.__dict__, "mask": (str(masks), "box:0,0,2,2")})
    out = tmp_path / "out"
    assert edited(clips, out, request=request).made == 3  # and the masks are not clips
    assert (out / "a.gif").read_bytes() == b"a blue circle a.png box:0,0,2,2 A"
    assert (out / "deep" / "b.mp4").read_bytes() == b"a blue circle b.png box:0,0,2,2 B"
    (masks / "a.png").unlink()
    (masks / "run.gif").write_bytes(b"")
    with pytest.raises(UsageError) as told:
        planned(clips, out, request)
    assert (
        "2 mistakes" in str(told.value)
        and "no mask" in str(told.value)
        and "run.gif and run.png" in str(told.value)
    )


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("preview", "p.gif", "preview is for one clip"),
        ("method", "p2q", "p2p"),
        ("prompt", "a blue dog", "dog"),
        ("size", "0", "size"),
        ("mask", ("gone.png",), "gone.png"),
        ("source_prompt", "", "source"),
        ("set", {"no_such": 1}, "no_such"),
    ],
)
def test_what_is_wrong_with_all_is_said_once_before_any(
    clips: Path, tmp_path: Path, field: str, value: Any, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        planned(clips, tmp_path / "out", EditRequest(**{**ASKED.__dict__, field: value}))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("a.gif", "b.gif"), "2 inputs need a folder for the results"),
        ((".",), "Add -O DIR"),
        (("a.gif", "-O", "x", "-o", "y.gif"), "-o and -O were given together"),
        (("a.gif", "-o", "y.gif", "--suffix", "_x"), "--suffix is for the names that -O writes"),
        (("a.gif", "-O", "x", "--explain"), "--explain tells of one clip"),
        (("gone.gif", "-O", "x"), "gone.gif: there is no such file or folder"),
        (("-", "-O", "x"), "standard input is one clip"),
    ],
)
def test_a_call_that_does_not_say_where_to_write_is_told_what_to_type(
    clips: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(clips)
    result = vedit("edit", *words, "--source", "a red circle", "--prompt", "a blue circle")
    assert result.code in (2, 3)
    assert told in result.err


def test_the_command_says_what_came_of_all(clips: Path, tmp_path: Path) -> None:
    (clips / "a.gif").write_bytes(b"bad")
    out = tmp_path / "out"
    words = ("edit", clips, "-O", out, "--source", "a red circle", "--prompt", "a blue circle", "--json")
    result = vedit(*words)
    assert result.code == 8
    assert "1 of 3 clips failed." in result.err and "the same call tries these again" in result.err
    assert '"done": 2' in result.text and '"failed": 1' in result.text
