"""When an output exists: refuse, replace, or ask once where a person is there to answer."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import reference
from tests.conftest import ROOT, edited, gif, leftovers, vedit

MATRIX = [  # (output exists, it is the input, options, exit code)
    (False, False, (), 0),
    (False, False, ("-y",), 0),
    (False, False, ("-n",), 0),
    (True, False, (), 4),
    (True, False, ("-y",), 0),
    (True, False, ("-n",), 4),
    (True, False, ("--overwrite",), 0),
    (True, False, ("--no-overwrite",), 4),
    (True, True, (), 2),
    (True, True, ("-y",), 0),
    (True, True, ("-n",), 2),
]


@pytest.mark.parametrize(("exists", "is_input", "options", "code"), MATRIX)
@pytest.mark.parametrize("command", [("speed", "0.5"), ("rotate", "90")], ids=" ".join)
def test_the_overwrite_matrix(
    exists: bool,
    is_input: bool,
    options: tuple[str, ...],
    code: int,
    command: tuple[str, ...],
    tmp_path: Path,
) -> None:
    source = tmp_path / "in.gif"
    shutil.copy(gif("ok_plain.gif"), source)
    out = source if is_input else tmp_path / "out.gif"
    if exists and not is_input:
        out.write_bytes(b"old")
    before = out.read_bytes() if exists else None
    done = vedit("gif", *command, source, "-o", out, *options)
    assert done.code == code
    assert (out.read_bytes() if out.exists() else None) == (
        edited("ok_plain.gif", *command) if code == 0 else before
    )
    assert leftovers(tmp_path) == []
    if code == 4:
        assert "-y" in done.err
    if code == 2:
        assert "--in-place" in done.err


def test_in_place_rewrites_the_input_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "in.gif"
    shutil.copyfile(gif("ok_plain.gif"), path)
    path.chmod(0o640)
    assert vedit("gif", "rotate", "90", "--in-place", path).code == 0
    assert path.read_bytes() == edited("ok_plain.gif", "rotate", "90")
    assert path.stat().st_mode & 0o777 == 0o640 and os.listdir(tmp_path) == ["in.gif"]


def test_a_folder_of_outputs_follows_the_same_rules(tmp_path: Path) -> None:
    (tmp_path / "ok_plain.gif").write_bytes(b"old")
    assert vedit("gif", "rotate", "90", gif("ok_plain.gif"), "-O", tmp_path).code == 4
    assert (tmp_path / "ok_plain.gif").read_bytes() == b"old"
    assert vedit("gif", "rotate", "90", gif("ok_plain.gif"), "-O", tmp_path, "-y").code == 0
    assert (tmp_path / "ok_plain.gif").read_bytes() == edited("ok_plain.gif", "rotate", "90")


def test_a_failure_keeps_the_old_output(tmp_path: Path) -> None:
    out = tmp_path / "out.gif"
    out.write_bytes(b"old")
    assert vedit("gif", "rotate", "90", "--strict", gif("warn_corrupt_lzw.gif"), "-o", out, "-y").code == 3
    assert out.read_bytes() == b"old" and os.listdir(tmp_path) == ["out.gif"]


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("yes", 0), ("n", 4), ("", 4), ("what", 4)])
def test_a_person_at_a_terminal_is_asked_once(answer: str, code: int, tmp_path: Path) -> None:
    out = tmp_path / "out.gif"
    out.write_bytes(b"old")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "vedit", "gif", "rotate", "90", str(gif("ok_plain.gif")), "-o", str(out)],
        stdin=slave,
        stderr=slave,
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
    )
    os.write(master, f"{answer}\n".encode())
    assert process.wait(60) == code
    said = os.read(master, 10_000)
    assert said.count(b"Replace it?") == 1
    os.close(master)
    os.close(slave)
    assert (out.read_bytes() == b"old") == (code != 0)


def test_nobody_is_asked_with_no_overwrite(tmp_path: Path) -> None:
    out = tmp_path / "out.gif"
    out.write_bytes(b"old")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "vedit",
            "gif",
            "rotate",
            "90",
            "-n",
            str(gif("ok_plain.gif")),
            "-o",
            str(out),
        ],
        stdin=slave,
        stderr=slave,
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
    )
    assert process.wait(60) == 4
    assert b"Replace it?" not in os.read(master, 10_000)
    os.close(master)
    os.close(slave)


def test_a_gif_is_never_written_to_a_terminal() -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "vedit", "gif", "rotate", "90", str(gif("ok_plain.gif"))],
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and b"standard output is a terminal" in err
    os.set_blocking(master, False)
    with pytest.raises(BlockingIOError):
        os.read(master, 1)
    os.close(master)
    os.close(slave)


def test_no_input_at_a_terminal_is_a_usage_error() -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "vedit", "gif", "rotate", "90"],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and b"standard input is a terminal" in err
    os.close(master)
    os.close(slave)


NAMES = [
    "caf\u00e9 \u52a8\u753b.gif",
    "-dash.gif",
    "--help.gif",
    "two\nlines.gif",
    " space .gif",
    "'quote\".gif",
    "%d.gif",
    "\U0001f4a1.gif",
    "a:b.gif",
    "$(id).gif",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("command", [("speed", "0.5"), ("rotate", "90")], ids=" ".join)
def test_any_name_can_be_read_and_written(
    name: str, command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    shutil.copy(gif("ok_plain.gif"), tmp_path / name)
    shown = vedit("gif", *command, "-o", f"out/{name}", "--", name)
    assert (shown.code, shown.err) == (0, "")
    assert os.listdir(tmp_path / "out") == [name]
    assert (tmp_path / "out" / name).read_bytes() == edited("ok_plain.gif", *command)
    again = vedit("gif", *command, "-O", "second", "--", name)
    assert (again.code, os.listdir(tmp_path / "second")) == (0, [name])


def test_a_dash_leading_output_needs_no_trick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert vedit("gif", "rotate", "90", gif("ok_plain.gif"), "-o-dash.gif").code == 0
    assert vedit("gif", "rotate", "90", gif("ok_plain.gif"), "--output=-other.gif").code == 0
    assert sorted(os.listdir(tmp_path)) == ["-dash.gif", "-other.gif"]


def test_a_name_that_is_not_utf8_can_be_read_and_written(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.gif"
    with open(name, "wb") as file:
        file.write(gif("ok_plain.gif").read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "vedit", "gif", "rotate", "90", name, "-o", name + b".out.gif"],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    with open(name + b".out.gif", "rb") as file:
        assert reference.read(file.read()).size == (48, 64)
    missing = subprocess.run(
        [sys.executable, "-m", "vedit", "gif", "rotate", "90", name + b"!"],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert missing.returncode == 3 and b"Traceback" not in missing.stderr and b"cannot read" in missing.stderr
