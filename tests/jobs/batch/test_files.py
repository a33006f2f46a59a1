"""Many inputs: names of outputs, refusals before any work, and failures that do not stop the others."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests import reference
from tests.conftest import gif, vedit
from vedit.errors import InputError, OutputError, PartialFailure, UsageError
from vedit.jobs.batch.files import Item, expand, name_outputs, raise_failures, run_batch


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of three clips, one in a sub-folder, and things that are none."""
    folder = tmp_path / "clips"
    (folder / "sub").mkdir(parents=True)
    shutil.copy(gif("ok_plain.gif"), folder / "b.gif")
    shutil.copy(gif("ok_interlaced.gif"), folder / "a.GIF")
    shutil.copy(gif("ok_loop7.gif"), folder / "sub" / "c.gif")
    (folder / "notes.txt").write_text("no clip")
    (folder / ".hidden.gif").write_bytes(b"")
    (folder / ".git").mkdir()
    (folder / ".git" / "d.gif").write_bytes(b"")
    return folder


def test_a_folder_gives_its_clips_in_order_and_nothing_else(clips: Path) -> None:
    assert [relative for _, relative in expand([str(clips)])] == ["a.GIF", "b.gif", "sub/c.gif"]


def test_outputs_keep_names_and_sub_folders(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    items = name_outputs([str(clips), str(gif("ok_1x1.gif"))], None, str(out), False, suffix="_small")
    assert [item.output for item in items] == [
        str(out / name) for name in ("a_small.GIF", "b_small.gif", "sub/c_small.gif", "ok_1x1_small.gif")
    ]
    assert (out / "sub").is_dir()


def test_a_dry_run_makes_no_folder(clips: Path, tmp_path: Path) -> None:
    assert vedit("gif", "rotate", "90", clips, "-O", tmp_path / "out", "--dry-run").code == 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("inputs", "output", "output_dir", "in_place", "words"),
    [
        (["a.gif"], "b.gif", "d", False, "-o and -O"),
        (["a.gif"], "b.gif", None, True, "-o and --in-place"),
        (["a.gif", "b.gif"], None, None, False, "-O DIR or --in-place"),
        (["a.gif", "b.gif"], "c.gif", None, False, "-O DIR or --in-place"),
        (["a.gif"], None, None, False, "standard output is a terminal"),
        (["-"], None, None, True, "in place"),
    ],
)
def test_combinations_that_make_no_sense(
    inputs: list[str], output: str | None, output_dir: str | None, in_place: bool, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        name_outputs(inputs, output, output_dir, in_place)


def test_two_inputs_of_one_name_are_refused_before_any_work(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="both be written"):
        name_outputs([str(clips / "b.gif"), str(clips / "." / "b.gif")], None, str(tmp_path / "out"), False)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [((), 8, "1 of 3 inputs failed"), (("-n",), 0, "is left as it is"), (("-y",), 0, "")],
)
def test_an_output_in_the_way_does_not_stop_the_others(
    clips: Path, tmp_path: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    out = tmp_path / "out"
    (out / "sub").mkdir(parents=True)
    (out / "sub" / "c.gif").write_bytes(b"old")
    assert [item.refusal is not None for item in name_outputs([str(clips)], None, str(out), False)] == [
        False,
        False,
        True,
    ]
    done = vedit("gif", "rotate", "90", clips, "-O", out, *options)
    assert done.code == code and words in done.err
    assert sorted(path.name for path in out.rglob("*.*")) == ["a.GIF", "b.gif", "c.gif"]
    assert ((out / "sub" / "c.gif").read_bytes() == b"old") == ("-y" not in options)


def test_a_single_output_in_the_way_is_refused(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "b.gif").write_bytes(b"old")
    with pytest.raises(OutputError, match=r"b\.gif exists"):
        name_outputs([str(clips / "b.gif")], None, str(tmp_path), False)


def test_what_a_walk_passes_over_is_told(clips: Path, tmp_path: Path) -> None:
    (clips / "film.MTS").write_bytes(b"")
    (clips / "photo.mxf").write_bytes(b"")
    (clips / "link").symlink_to(tmp_path)
    os.mkfifo(clips / "pipe.gif")
    said: list[str] = []
    items = name_outputs([str(clips)], None, str(tmp_path / "out"), False, say=said.append)
    assert [Path(item.input).name for item in items] == ["a.GIF", "b.gif", "film.MTS", "c.gif"]
    assert said == [f"{clips}: passed over 4 files that are not taken (1 folders, 1 .txt, 1 .mxf, 1 .gif)"]
    said.clear()
    items = name_outputs([str(clips)], None, str(tmp_path / "out"), False, to="webm", say=said.append)
    assert Path(items[3].output).name == "photo.webm" and ".mxf" not in said[0]


def test_results_of_the_call_before_are_not_taken_again(clips: Path) -> None:
    assert vedit("gif", "rotate", "90", clips, "-O", clips / "turned").code == 0
    before = sorted(clips.rglob("*"))
    assert vedit("gif", "rotate", "90", clips, "-O", clips / "turned", "-y").code == 0
    assert sorted(clips.rglob("*")) == before


@pytest.mark.parametrize("linked", [False, True])
def test_a_result_never_takes_the_place_of_another_input(clips: Path, linked: bool) -> None:
    shutil.copy(clips / "b.gif", clips / "b_s.gif")
    folder = clips
    if linked:
        folder = clips.parent / "other"
        folder.symlink_to(clips)
    done = vedit(
        "gif", "rotate", "90", clips / "b.gif", clips / "b_s.gif", "-O", folder, "--suffix", "_s", "-y"
    )
    assert done.code == 2 and "which is an input too" in done.err


@pytest.mark.parametrize("options", [("-o", ""), ("-O", ""), ("--suffix", "_s", "-o", "x.gif")])
def test_an_empty_name_and_a_suffix_without_a_folder_are_usage_errors(
    options: tuple[str, ...], clips: Path, tmp_path: Path
) -> None:
    done = vedit("gif", "rotate", "90", clips / "b.gif", *options)
    assert done.code == 2 and done.out == b""


def test_a_folder_without_clips_is_told(tmp_path: Path) -> None:
    done = vedit("gif", "rotate", "90", tmp_path, "-O", tmp_path / "out")
    assert done.code == 2 and "no clips found" in done.err


def test_a_folder_needs_a_folder_for_its_results(clips: Path) -> None:
    done = vedit("gif", "rotate", "90", clips)
    assert done.code == 2 and "-O DIR" in done.err


def test_an_output_folder_that_is_a_file_is_an_output_error(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert vedit("gif", "rotate", "90", clips, "-O", tmp_path / "file").code == 4


@pytest.mark.parametrize("jobs", ["1", "4"])
def test_a_batch_turns_every_clip(clips: Path, tmp_path: Path, jobs: str) -> None:
    out = tmp_path / "out"
    done = vedit("gif", "rotate", "90", clips, "-O", out, "-j", jobs)
    assert (done.code, done.out, done.err) == (0, b"", f"vedit: {clips}: passed over notes.txt\n")
    for name, source in (
        ("a.GIF", "ok_interlaced.gif"),
        ("b.gif", "ok_plain.gif"),
        ("sub/c.gif", "ok_loop7.gif"),
    ):
        assert (out / name).read_bytes() == vedit("gif", "rotate", "90", gif(source)).out


def test_a_bad_clip_does_not_stop_the_others_and_the_call_exits_8(clips: Path, tmp_path: Path) -> None:
    shutil.copy(gif("err_text.gif"), clips / "ab.gif")
    out = tmp_path / "out"
    done = vedit("gif", "rotate", "90", clips, clips / "missing.gif", "-O", out)
    assert done.code == 8
    assert {path.name for path in out.rglob("*.*")} == {"a.GIF", "b.gif", "c.gif"}
    assert "ab.gif: not a GIF" in done.err and "missing.gif: cannot read" in done.err
    assert "2 of 5 inputs failed" in done.err
    assert sum("ab.gif: not a GIF" in line for line in done.err.splitlines()) == 1


def test_json_gives_one_object_per_input(clips: Path, tmp_path: Path) -> None:
    done = vedit("gif", "rotate", "90", clips, "-O", tmp_path / "out", "--json")
    found = [json.loads(line) for line in done.text.splitlines()]
    assert [Path(report["output"]).name for report in found] == ["a.GIF", "b.gif", "c.gif"]
    assert {report["path"] for report in found} == {"index"}


def test_in_place_rewrites_every_input(clips: Path) -> None:
    paths = [clips / "a.GIF", clips / "b.gif", clips / "sub" / "c.gif"]
    before = {path.name: reference.read(path.read_bytes()) for path in paths}
    assert vedit("gif", "rotate", "90", *paths, "--in-place").code == 0
    for path in paths:
        assert reference.read(path.read_bytes()).size == before[path.name].size[::-1]


def test_in_place_keeps_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    bad = tmp_path / "bad.gif"
    bad.write_bytes(b"<html>")
    assert vedit("gif", "rotate", "90", bad, "--in-place").code == 3
    assert bad.read_bytes() == b"<html>"


def test_outcomes_come_in_order_with_their_errors() -> None:
    items = [Item(str(n), "-") for n in range(9)]

    def work(item: Item) -> str:
        if item.input == "4":
            raise InputError("four is bad.")
        return item.input * 2

    outcomes = list(run_batch(items, work, 3))
    assert [outcome.result for outcome in outcomes] == ["00", "11", "22", "33", None, "55", "66", "77", "88"]
    with pytest.raises(PartialFailure, match="1 of 9 inputs failed: 4"):
        raise_failures(outcomes)
    with pytest.raises(InputError, match="four is bad"):
        raise_failures(outcomes[4:5])
    raise_failures(outcomes[:4])


def test_a_bug_is_not_taken_for_a_bad_input() -> None:
    with pytest.raises(ZeroDivisionError):
        list(run_batch([Item("a", "-")], lambda item: 1 / 0, 1))
