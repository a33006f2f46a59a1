"""The worker itself, on the embedded model: what it makes is what a call alone makes, byte for byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, vedit

SOURCE, TARGET = "a red circle on a grey background", "a blue circle on a grey background"
FEW = ("--frames", "2", "--steps", "2", "--set", "inversion_steps=2")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two drawn clips, and caches of our own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for number in range(2):
        assert vedit("scene", SOURCE, "-o", f"c{number}.gif", "--seed", str(number)).code == 0
    return tmp_path


@pytest.mark.slow
def test_a_worker_a_call_for_many_and_calls_for_one_give_the_same_bytes(folder: Path) -> None:
    Path("jobs.csv").write_text(
        "input,source,prompt,frames,steps,set.inversion_steps,output\n"
        + "".join(f"c{n}.gif,{SOURCE},{TARGET},2,2,2,c{n}.gif\n" for n in range(2))
    )
    done = subprocess.run(
        [sys.executable, "-m", "vedit", "batch", "jobs.csv", "-O", "batch", "--progress", "jsonl"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert sum(event.get("what") == "loaded" for event in events) == 1
    assert [event["event"] for event in events if event["event"] in ("start", "item", "summary")] == [
        "start",
        "item",
        "item",
        "summary",
    ]
    words = ("--source", SOURCE, "--prompt", TARGET, *FEW)
    assert vedit("edit", "c0.gif", "c1.gif", "-O", "many", *words).code == 0
    for number in range(2):
        assert vedit("edit", f"c{number}.gif", "-o", f"alone{number}.gif", *words).code == 0
        alone = Path(f"alone{number}.gif").read_bytes()
        assert Path("batch", f"c{number}.gif").read_bytes() == alone
        assert Path("many", f"c{number}.gif").read_bytes() == alone
        assert os.path.exists(f"batch/c{number}.gif.vedit.json")
