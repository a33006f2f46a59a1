"""An output appears under its name when complete, or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.conftest import leftovers
from vedit.errors import OutputError, UsageError
from vedit.media.atomic import atomic_path, check_output, is_special, open_output, refuse_twice


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
def test_any_failure_keeps_the_old_file_and_leaves_no_part(tmp_path: Path, error: type[BaseException]) -> None:
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
    assert stat.S_IMODE((tmp_path / "new.gif").stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)


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
    with pytest.raises(OutputError, match="cannot write"), atomic_path(str(tmp_path / "file" / "x.gif")) as part, open(part, "wb"):
        pass


@pytest.mark.parametrize(
    "name", ["caf\u00e9 \u52a8\u753b.gif", "-dash.gif", "two\nlines.gif", "n" * 251 + ".gif", "\u52a8" * 83 + ".gif", "%d.gif", "\U0001f4a1.gif"]
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
def test_the_overwrite_matrix(tmp_path: Path, exists: bool, overwrite: bool | None, is_input: bool, in_place: bool, error: type[Exception] | None) -> None:
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


def test_two_outputs_of_one_name_are_refused_however_they_are_spelt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    refuse_twice((("-o", "x.gif"), ("--preview", "X.gif"), ("--save-masks", None), ("-t", "y.gif"), ("a", "/dev/null"), ("b", "/dev/null")))


def test_an_empty_name_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="empty"):
        check_output("", (), True)


def test_a_folder_as_output_says_which_option_it_needs(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="-O"):
        check_output(str(tmp_path), (), True)
