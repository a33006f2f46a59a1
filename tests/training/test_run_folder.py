"""One process at a time trains in a run folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, vedit
from vedit.errors import OutputError
from vedit.training.run_folder import run_lock

TRAIN = ("train", "--preset", "shapes-codec", "--steps", "1", "--out")


def test_a_second_run_is_told_who_works_there(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from vedit.training.run_folder import run_lock\nwith"
        " run_lock(Path(sys.argv[1])): print('in', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "run")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout and other.stdin
        assert other.stdout.readline() == b"in\n"
        done = vedit(*TRAIN, tmp_path / "run")
        assert done.code == 4 and f"(process {other.pid})" in done.err
        other.kill()
    with run_lock(tmp_path / "run"):  # the lock of a killed process is gone
        pass


def test_a_run_folder_that_cannot_be_written_is_an_output_error_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        done = vedit(*TRAIN, folder)
        assert done.code == 4 and "cannot write into the run folder" in done.err
    with pytest.raises(OutputError), run_lock(Path("/proc/vedit-run")):
        pass
