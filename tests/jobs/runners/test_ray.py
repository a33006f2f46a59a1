"""Protects vedit/jobs/runners/ray.py: how devices are shared out, and, where Ray is installed, actors that
work, die and are replaced: `pip install "vedit[ray]"` and `pytest -m slow tests/jobs/runners`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import ROOT, vedit
from vedit.errors import RemoteError, UsageError
from vedit.jobs.batch.state import State
from vedit.jobs.runners.ray import check_address, devices, is_last, share

CALL = str(ROOT / "tests" / "jobs" / "batch" / "call.py")
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason='Ray is not here: pip install "vedit[ray]"')


@pytest.mark.parametrize(
    ("asked", "gpus", "found"),
    [
        ("auto", [0], ["cpu"]),
        ("auto", [0, 0, 0], ["cpu"] * 3),  # one a machine
        ("auto", [2, 1], ["cuda"] * 3),
        ("2", [4], ["cuda"] * 2),
        ("5", [0], ["cpu"] * 5),
        ("cpu*2", [4], ["cpu"] * 2),
        ("cuda*4", [2, 2], ["cuda"] * 4),
        ("cpu", [1], ["cpu"]),
    ],
)
def test_workers_are_shared_out_over_the_machines(asked: str, gpus: list[int], found: list[str]) -> None:
    assert devices(asked, gpus) == found


@pytest.mark.parametrize("asked", ["cuda:0", "cuda:0,cuda:1", "0", "cuda*3", "x", "2000"])
def test_devices_that_are_not_there_are_refused(asked: str) -> None:
    with pytest.raises(UsageError, match="--workers"):
        devices(asked, [2])


@pytest.mark.parametrize(
    ("workers", "machines", "cores", "each"),
    [(1, 1, 8, 8), (2, 1, 8, 4), (3, 1, 8, 2), (3, 3, 8, 8), (5, 1, 2, 0.4), (4, 2, 2, 1)],
)
def test_workers_find_room_beside_one_another(workers: int, machines: int, cores: float, each: float) -> None:
    assert share(workers, machines, cores) == each
    assert each * -(-workers // machines) <= cores


def test_a_cluster_that_does_not_answer_is_told_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        port = taken.getsockname()[1]
        for address in (
            f"127.0.0.1:{port}",
            f"ray://127.0.0.1:{port}",
            "127.0.0.1:99999",
            "no.such.invalid:1",
        ):
            with pytest.raises(RemoteError, match="does not answer"):
                check_address(address)
        taken.listen()
        check_address(f"127.0.0.1:{port}")
    check_address("auto")


def test_an_item_ends_with_its_last_line_and_not_with_a_torn_one() -> None:
    assert is_last('{"done": "k", "record": {}}\n') and is_last('{"failed": "k"}\n')
    assert not is_last('{"step": 1}\n') and not is_last('{"done": "k", "rec')


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is here")
def test_without_ray_the_line_to_type_is_said(tmp_path: Path) -> None:
    (tmp_path / "c.gif").write_bytes(b"clip")
    (tmp_path / "jobs.csv").write_text("input,prompt\nc.gif,fox\n")
    done = vedit("batch", tmp_path / "jobs.csv", "-O", tmp_path / "out", "--runner", "ray")
    assert done.code == 5 and 'pip install "vedit[ray]"' in done.err


# --- with Ray ------------------------------------------------------------------------------------


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    path = tmp_path / "jobs.csv"
    for number in range(4):
        (tmp_path / f"c{number}.gif").write_bytes(b"clip %d" % number)
    path.write_text(
        "input,prompt,seed\n" + "".join(f"c{n}.gif,fox,{seed}\n" for n in range(4) for seed in (0, 1, 2))
    )
    return path


def called(jobs: Path, out: Path, workers: str = "ray:2", **variables: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, CALL, str(jobs), str(out), workers]
    return subprocess.Popen(command, env={**os.environ, **variables}, start_new_session=True)


def outputs(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.gif"))}


def events(out: Path) -> list[dict[str, object]]:
    path = out / ".vedit-batch" / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def pids(words: str, below: int) -> list[int]:
    """The processes with such words in their command that a process started, in whatever generation."""
    done = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True)
    table = [line.split(None, 2) for line in done.stdout.splitlines()[1:]]
    family = {below}
    for _ in range(6):
        family |= {int(pid) for pid, parent, _ in table if int(parent) in family}
    return [int(pid) for pid, _, args in table if int(pid) in family and words in args]


def wait_for(count: int, out: Path) -> None:
    for _ in range(1200):
        if sum(event["event"] == "item" for event in events(out)) >= count:
            return
        time.sleep(0.1)


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("victim", ["ray::Relay", "stub.py"])
def test_an_actor_that_is_killed_is_replaced_and_nothing_is_lost(
    jobs: Path, tmp_path: Path, victim: str
) -> None:
    out = tmp_path / "out"
    process = called(jobs, out, STUB_PAUSE_S="0.6")
    wait_for(3, out)
    os.kill(pids(victim, process.pid)[0], signal.SIGKILL)
    assert process.wait(180) == 0
    told = [event for event in events(out) if event["event"] == "worker" and event["what"] == "ended"]
    assert len(told) == 1
    assert [event["event"] for event in events(out)].count("retry") == 1
    assert called(jobs, tmp_path / "local", "1").wait(60) == 0
    assert outputs(out) == outputs(tmp_path / "local") and len(outputs(out)) == 12
    assert len(State(str(out)).records("done")) == 12
    assert not pids("stub.py", process.pid)


@needs_ray
@pytest.mark.slow
def test_a_row_that_kills_its_worker_twice_is_failed_and_the_others_are_made(
    jobs: Path, tmp_path: Path
) -> None:
    jobs.write_text("input,prompt\nc0.gif,kill\nc1.gif,fox\nc2.gif,bad\n")
    assert called(jobs, tmp_path / "out").wait(180) == 8
    failed = State(str(tmp_path / "out")).records("failed").values()
    assert sorted((record["attempts"], record["exit"]) for record in failed) == [(1, 3), (2, 1)]
    assert "ended by signal 9" in (tmp_path / "out" / "failed.csv").read_text()
    assert set(outputs(tmp_path / "out")) == {"c1/p2p-fox-s0.gif"}


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize(("signals", "code"), [(1, 75), (2, 130)])
def test_the_first_ctrl_c_lets_items_finish_and_the_second_ends_them(
    jobs: Path, tmp_path: Path, signals: int, code: int
) -> None:
    out = tmp_path / "out"
    process = called(jobs, out, STUB_PAUSE_S="1.5")
    wait_for(1, out)
    for _ in range(signals):
        os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it: to Ray's processes too
        time.sleep(0.4)
    assert process.wait(120) == code
    assert 0 < len(outputs(out)) < 12 and not list(out.rglob("*.part"))
    assert called(jobs, out, "1").wait(60) == 0
    assert len(outputs(out)) == 12
