"""docs/batch.md: its matrix is read, and its lines run as they stand, with a worker that makes no edits."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, vedit
from vedit.cli import batch_run
from vedit.jobs.batch import forecast
from vedit.jobs.batch.keys import Contents, Keys
from vedit.jobs.batch.plan import resolve
from vedit.jobs.batch.rows import read_rows

PAGE = (ROOT / "docs" / "batch.md").read_text("utf-8")
LINES = re.findall(r"^    (?:[A-Z_]+=\S+ )?(vedit batch .*)$", PAGE, re.M)
WORDS = re.findall(r"`(vedit batch [^`]*-O[^`]*|vedit batch collect [^`]*)`", PAGE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(forecast, "costs", lambda item: [])
    stub = (sys.executable, str(Path(__file__).with_name("stub.py")))
    monkeypatch.setattr(batch_run, "WORKER", stub)
    (tmp_path / "wolf.mp4").write_bytes(b"a wolf")
    (tmp_path / "jobs.csv").write_text("input,prompt\nwolf.mp4,a fox\nwolf.mp4,bad\n")
    return tmp_path


def test_the_matrix_of_the_page_is_ten_edits(folder: Path) -> None:
    (matrix,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.S | re.M)
    (folder / "jobs.toml").write_text(matrix)
    items = resolve(read_rows(["jobs.toml"]), Keys(Contents()))
    made = {
        str((item.request.method, item.request.prompt, item.request.seed, item.request.set)) for item in items
    }
    prompts = ("a grey fox", "a grey wolf in the snow")
    sets = [{"equalizer": {"fox": c}} for c in (2, 4)]
    wanted = [("p2p", prompt, seed, values) for prompt in prompts for seed in (0, 1) for values in sets]
    assert made == set(map(str, [*wanted, *[("pnp", prompt, 0, {}) for prompt in prompts]]))
    assert len(items) == 10
    assert all(item.request.steps == 20 for item in items)
    assert {item.output for item in items} >= {"wolf/p2p-a-grey-fox-c2-s0.mp4", "wolf/pnp-a-grey-fox-s0.mp4"}


def test_the_lines_of_the_page_run_in_order(folder: Path) -> None:
    assert len(LINES) == 4 and len(WORDS) == 3
    first, slurm, ray, gallery = LINES
    script, _, name = slurm.partition(" > ")
    result = vedit(*shlex.split(script)[1:])
    assert (result.code, name) == (0, "job.sh") and "#SBATCH --array=1-8%4" in result.text
    result = vedit(*shlex.split(first)[1:])
    assert result.code == 8 and "1 of 2 items failed" in result.err
    assert vedit(*shlex.split(ray)[1:], "--dry-run").code == 0
    assert vedit(*shlex.split(gallery)[1:]).code == 0 and (folder / "out" / "gallery.html").exists()
    mended = (folder / "out" / "failed.csv").read_text().replace("bad", "a bear")
    (folder / "out" / "failed.csv").write_text(mended)
    parts, whole, again = WORDS
    assert vedit(*shlex.split(again)[1:]).code == 0
    for number in (1, 2):
        assert vedit("batch", "jobs.csv", "-O", f"part{number}", "--shard", f"{number}/2").code in (0, 8)
    assert vedit(*shlex.split(parts)[1:]).code == 0
    assert vedit(*shlex.split(whole)[1:]).code == 0


def test_the_events_of_a_run_are_those_of_the_page(folder: Path) -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([a-z ]+)`(.*)\|$", PAGE.partition("## For programs")[2], re.M)
    known = {event: (set(keys.split()), set(re.findall(r"\w+", more))) for event, keys, more in rows}
    (folder / "jobs.csv").write_text("input,prompt\nwolf.mp4,warn\nwolf.mp4,bad\nwolf.mp4,kill\n")
    result = vedit("batch", "jobs.csv", "-O", "out", "--progress", "jsonl", "--json")
    assert result.code == 8 and json.loads(result.text)["failed"] == 2
    events = [json.loads(line) for line in result.err.splitlines() if line.startswith("{")]
    assert {event["event"] for event in events} == known.keys() - {"stopping"}
    for event in events:
        always, sometimes = known[event.pop("event")]
        assert always <= event.keys() <= always | sometimes, event
