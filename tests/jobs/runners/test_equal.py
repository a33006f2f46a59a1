"""All runners give equal bytes, and those of single calls: with the embedded model, so a minute of work. Run with
`pytest -m slow tests/jobs/runners`, and Ray too where it is installed: pip install "vedit[ray]".
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import ROOT, vedit
from tests.jobs.runners.test_slurm import task

SIZES = ("--steps", "2", "--frames", "3")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("equal")
    assert vedit("scene", "a red circle moving left on a grey background", "-o", folder / "a.gif").code == 0
    with open(folder / "jobs.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("input", "source", "prompt", "method", "seed", "output"))
        source, prompt = (
            "a red circle moving left on a grey background",
            "a blue circle moving left on a grey background",
        )
        for number, (method, seed) in enumerate((("p2p", 0), ("sdedit", 1), ("sdedit", 2))):
            writer.writerow(("a.gif", source, prompt, method, seed, f"{number}.gif"))
    return folder / "jobs.csv"


def run(jobs: Path, out: Path, *more: str) -> dict[str, bytes]:
    command = [sys.executable, "-m", "vedit", "batch", "run", str(jobs), "-O", str(out), "-q", *SIZES, *more]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return outputs(out)


def outputs(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.gif"))}


@pytest.fixture(scope="module")
def local(jobs: Path) -> dict[str, bytes]:
    made = run(jobs, jobs.parent / "local")
    assert len(set(made.values())) == 3
    return made


@pytest.mark.slow
def test_a_batch_makes_what_single_calls_make(jobs: Path, local: dict[str, bytes]) -> None:
    with open(jobs, newline="") as file:
        for row in csv.DictReader(file):
            output = jobs.parent / f"single-{row['output']}"
            words = ("--method", row["method"], "--source", row["source"], "--prompt", row["prompt"])
            done = vedit(
                "edit", jobs.parent / "a.gif", "-o", output, "--seed", row["seed"], *words, *SIZES, "-q"
            )
            assert done.code == 0, done.err
            assert output.read_bytes() == local[row["output"]]


@pytest.mark.slow
def test_the_parts_of_a_slurm_array_make_the_same_bytes(jobs: Path, local: dict[str, bytes]) -> None:
    out = jobs.parent / "slurm out"
    script = vedit("batch", jobs, "-O", out, "-q", *SIZES, "--runner", "slurm", "--tasks", "2")
    assert script.code == 0, script.err
    for number in (1, 2):
        done = task(script.text, number, jobs.parent / "queue", PYTHONPATH=str(ROOT))
        assert done.communicate(timeout=500)[1] == b"" and done.returncode == 0
    assert outputs(out) == local


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason='Ray is not here: pip install "vedit[ray]"')
def test_actors_of_ray_make_the_same_bytes(jobs: Path, local: dict[str, bytes]) -> None:
    assert os.environ.get("RAY_ADDRESS") is None
    assert run(jobs, jobs.parent / "ray", "--runner", "ray", "--workers", "2") == local
