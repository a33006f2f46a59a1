"""An output appears under its name when complete, or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.conftest import ROOT, leftovers
from vedit import errors
from vedit.errors import OutputError, UsageError
from vedit.media import atomic
from vedit.media.atomic import (
    atomic_path,
    check_output,
    is_special,
    open_output,
    refuse_twice,
    together,
    whereabouts,
)


def test_a_new_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "new.gif"
    with open_output(str(target)) as stream:
        stream.write(b"half")
        assert not target.exists()
        assert len(leftovers(tmp_path)) == 1 and leftovers(tmp_path)[0].startswith(".new.gif.")
        stream.write(b" and half")
    assert target.read_bytes() == b"half and half"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, BrokenPipeError])
def test_any_failure_keeps_the_old_file_and_leaves_no_part(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "old.gif"
    target.write_bytes(b"old")
    with pytest.raises(error), open_output(str(target)) as stream:
        stream.write(b"new" * 1_000_000)
        raise error
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["old.gif"]


def test_the_mode_of_a_replaced_file_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "private.gif"
    target.write_bytes(b"old")
    target.chmod(0o640)
    with open_output(str(target)) as stream:
        stream.write(b"new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_new_file_has_the_usual_mode(tmp_path: Path) -> None:
    with open_output(str(tmp_path / "new.gif")) as stream:
        stream.write(b"x")
    (tmp_path / "usual").touch()
    assert stat.S_IMODE((tmp_path / "new.gif").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "usual").stat().st_mode
    )


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "real.gif", tmp_path / "link.gif"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with open_output(str(link)) as stream:
        stream.write(b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"


def test_a_device_is_written_directly() -> None:
    assert is_special("/dev/null") and not is_special(__file__) and not is_special("/no/such/file")
    with open_output("/dev/null") as stream:
        stream.write(b"x")


def test_a_full_disk_is_an_output_error() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with pytest.raises(OutputError, match="no space left"), open_output("/dev/full") as stream:
        stream.write(b"x")


def test_a_fifo_is_written_directly(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with open_output(str(fifo)) as stream:
        stream.write(b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_folder_that_is_a_file_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="no folder"):
        check_output(str(tmp_path / "file" / "x.gif"), (), None)
    with (
        pytest.raises(OutputError, match="cannot write"),
        atomic_path(str(tmp_path / "file" / "x.gif")) as part,
        open(part, "wb"),
    ):
        pass


@pytest.mark.parametrize(
    "name",
    [
        "caf\u00e9 \u52a8\u753b.gif",
        "-dash.gif",
        "two\nlines.gif",
        "n" * 251 + ".gif",
        "\u52a8" * 83 + ".gif",
        "%d.gif",
        "\U0001f4a1.gif",
    ],
)
def test_any_name_that_the_system_allows(tmp_path: Path, name: str) -> None:
    with open_output(str(tmp_path / name)) as stream:
        stream.write(b"x")
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(
    ("exists", "overwrite", "is_input", "in_place", "error"),
    [
        (False, None, False, False, None),
        (False, True, False, False, None),
        (False, False, False, False, None),
        (True, None, False, False, OutputError),
        (True, True, False, False, None),
        (True, False, False, False, OutputError),
        (True, None, True, False, UsageError),
        (True, True, True, False, None),
        (True, False, True, False, UsageError),
        (True, None, True, True, None),
        (True, True, True, True, None),
    ],
)
def test_the_overwrite_matrix(
    tmp_path: Path,
    exists: bool,
    overwrite: bool | None,
    is_input: bool,
    in_place: bool,
    error: type[Exception] | None,
) -> None:
    target = tmp_path / "x.gif"
    if exists:
        target.write_bytes(b"old")
    inputs = (str(tmp_path / "." / "x.gif"),) if is_input else ()
    if error is None:
        check_output(str(target), inputs, overwrite, in_place)
    else:
        with pytest.raises(error):
            check_output(str(target), inputs, overwrite, in_place)


def test_a_link_to_the_input_is_the_input(tmp_path: Path) -> None:
    (tmp_path / "in.gif").write_bytes(b"x")
    (tmp_path / "out.gif").symlink_to(tmp_path / "in.gif")
    with pytest.raises(UsageError, match="both input and output"):
        check_output(str(tmp_path / "out.gif"), (str(tmp_path / "in.gif"),), None)


def test_two_outputs_of_one_name_are_refused_however_they_are_spelt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    (tmp_path / "old.gif").write_bytes(b"old")
    (tmp_path / "to-old.gif").symlink_to("old.gif")
    for one, other in (
        ("x.gif", "x.gif"),
        ("x.gif", "./folder/../x.gif"),
        ("folder/x.gif", "link/x.gif"),
        ("old.gif", "to-old.gif"),
        ("x", str(tmp_path / "x")),
        ("-", "-"),
    ):
        with pytest.raises(UsageError, match=r"one file|both go"):
            refuse_twice((("-o", one), ("--preview", other)))
    refuse_twice(
        (
            ("-o", "x.gif"),
            ("--preview", "X.gif"),
            ("--save-masks", None),
            ("-t", "y.gif"),
            ("a", "/dev/null"),
            ("b", "/dev/null"),
        )
    )


def test_an_empty_name_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="empty"):
        check_output("", (), True)


def test_a_folder_as_output_says_which_option_it_needs(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="-O"):
        check_output(str(tmp_path), (), True)


def test_a_file_that_appears_meanwhile_is_not_replaced_without_leave(tmp_path: Path) -> None:
    target = tmp_path / "new.gif"
    for overwrite, kept in ((None, b"precious"), (False, b"precious"), (True, b"ours")):
        target.unlink(missing_ok=True)
        check_output(str(target), (), overwrite)
        with (
            pytest.raises(OutputError, match="appeared") if not overwrite else nullcontext(),
            open_output(str(target)) as stream,
        ):
            stream.write(b"ours")
            target.write_bytes(b"precious")
        assert target.read_bytes() == kept and leftovers(tmp_path) == []


def test_a_disk_without_hard_links_keeps_what_appears_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*paths: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    target = tmp_path / "new.gif"
    check_output(str(target), (), None)
    with pytest.raises(OutputError, match="appeared"), open_output(str(target)) as stream:
        stream.write(b"ours")
        target.write_bytes(b"precious")
    target.unlink()
    check_output(str(target), (), None)
    with open_output(str(target)) as stream:
        stream.write(b"ours")
    assert target.read_bytes() == b"ours" and os.listdir(tmp_path) == ["new.gif"]


def test_parts_of_killed_runs_go_and_those_in_work_stay(tmp_path: Path) -> None:
    abandoned = tmp_path / ".a.gif.vedit-0123abcd.part"
    abandoned.write_bytes(b"half")
    (tmp_path / ".frames.vedit-0123abce.part").mkdir()
    (tmp_path / ".frames.vedit-0123abce.part" / "00001.png").write_bytes(b"half")
    mine = tmp_path / ".somebody-elses.part"
    mine.write_bytes(b"not ours")
    with open_output(str(tmp_path / "a.gif")) as stream:
        stream.write(b"whole")
        (in_work,) = (name for name in leftovers(tmp_path) if name != mine.name)
        abandoned.write_bytes(b"half")
        script = (
            "import sys; from vedit.media.atomic import open_output\nwith open_output(sys.argv[1]) as stream:"
            " stream.write(b'x')"
        )
        subprocess.run([sys.executable, "-c", script, str(tmp_path / "b.gif")], check=True, cwd=ROOT)
        assert sorted(leftovers(tmp_path)) == sorted([in_work, mine.name])
    assert sorted(os.listdir(tmp_path)) == [mine.name, "a.gif", "b.gif"]


def test_outputs_written_together_appear_together_or_not_at_all(tmp_path: Path) -> None:
    one, other = tmp_path / "one.gif", tmp_path / "other.json"
    one.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), together():
        for path in (one, other):
            with open_output(str(path)) as stream:
                stream.write(b"new")
        raise KeyboardInterrupt
    assert one.read_bytes() == b"old" and os.listdir(tmp_path) == ["one.gif"]
    with together():
        for path in (one, other):
            with open_output(str(path)) as stream:
                stream.write(b"new")
        assert one.read_bytes() == b"old" and Path(whereabouts(str(one))).read_bytes() == b"new"
    assert one.read_bytes() == other.read_bytes() == b"new" and leftovers(tmp_path) == []


def test_an_output_that_appears_keeps_all_that_were_written_together_away(tmp_path: Path) -> None:
    one, other = tmp_path / "one.gif", tmp_path / "other.gif"
    for path in (one, other):
        check_output(str(path), (), None)
    with pytest.raises(OutputError, match="appeared"), together():
        for path in (one, other):
            with open_output(str(path)) as stream:
                stream.write(b"ours")
        other.write_bytes(b"precious")
    assert os.listdir(tmp_path) == ["other.gif"] and other.read_bytes() == b"precious"


def test_the_record_of_what_was_replaced_goes_with_it(tmp_path: Path) -> None:
    target, record = tmp_path / "a.gif", tmp_path / "a.gif.vedit.json"
    for path in (target, record):
        path.write_bytes(b"old")
    with pytest.raises(RuntimeError), open_output(str(target)):
        raise RuntimeError
    assert record.exists()
    with open_output(str(target)) as stream:
        stream.write(b"new")
    assert os.listdir(tmp_path) == ["a.gif"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    with pytest.raises(RuntimeError), atomic_path(str(folder), is_folder=True) as part:
        (Path(part) / "1.png").write_bytes(b"new")
        raise RuntimeError
    assert os.listdir(tmp_path) == []
    with atomic_path(str(folder), is_folder=True) as part:
        (Path(part) / "1.png").write_bytes(b"new")
        assert not folder.exists()
    with atomic_path(f"{folder}/", is_folder=True) as part:
        for name in ("1.png", "2.png"):
            (Path(part) / name).write_bytes(b"newer")
    assert sorted(os.listdir(folder)) == ["1.png", "2.png"] and (folder / "1.png").read_bytes() == b"newer"


def test_a_folder_that_cannot_take_all_files_keeps_those_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for name in ("1.png", "2.png"):
        (folder / name).write_bytes(b"old")
    rename, count = os.rename, 0

    def full_in_the_end(source: str, target: str) -> None:
        nonlocal count
        count += 1
        if count == 5:
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", full_in_the_end)
    with pytest.raises(OutputError, match="no space left"), atomic_path(str(folder), is_folder=True) as part:
        for name in ("0.png", "1.png", "2.png"):
            (Path(part) / name).write_bytes(b"new")
    assert sorted(os.listdir(folder)) == ["1.png", "2.png"] and leftovers(tmp_path) == []
    assert {(folder / name).read_bytes() for name in os.listdir(folder)} == {b"old"}


def test_what_a_cache_writes_within_a_job_is_there_at_once(tmp_path: Path) -> None:
    with atomic.together():
        with atomic.apart(), atomic.open_output(str(tmp_path / "kept")) as stream:
            stream.write(b"x")
        with atomic.open_output(str(tmp_path / "output")) as stream:
            stream.write(b"y")
        assert (tmp_path / "kept").read_bytes() == b"x"
        assert not (tmp_path / "output").exists()
    assert (tmp_path / "output").read_bytes() == b"y"


def test_the_face_decides_whether_an_output_is_replaced_and_without_one_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.gif"
    out.write_bytes(b"old")
    asked: list[str] = []
    monkeypatch.setattr(errors, "_decision", errors._keeps)
    with pytest.raises(OutputError, match="exists"):
        check_output(str(out), (), None)
    errors.answer(lambda path: asked.append(path) or True)  # type: ignore[func-returns-value]
    check_output(str(out), (), None)
    assert asked == [str(out)]
    with pytest.raises(OutputError, match="exists"):
        check_output(str(out), (), False)
    assert asked == [str(out)]
