from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import vedit
from vedit.cli import batch_run
from vedit.errors import InputError, OutputError, UsageError
from vedit.jobs.batch.plan import Plan, plan, redo, verify
from vedit.jobs.batch.rows import read_rows
from vedit.jobs.batch.run import Outcome, Policy, prepare, run
from vedit.jobs.batch.state import State, began, has_ended
from vedit.jobs.batch.status import merge, status
from vedit.jobs.runners.local import Local, Place, places

STUB = Path(__file__).with_name("stub.py")
CALL = Path(__file__).with_name("call.py")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(4):
        (folder / f"c{number}.gif").write_bytes(b"clip %d" % number)
    return folder


def listed(clips: Path, *prompts: str, seeds: int = 1) -> Path:
    path = clips / "jobs.csv"
    rows = [f"c{n % 4}.gif,{prompt},{seed}\n" for n, prompt in enumerate(prompts) for seed in range(seeds)]
    path.write_text("input,prompt,seed\n" + "".join(rows))
    return path


def planned(jobs: Path, out: Path, name: str | None = None) -> Plan:
    return plan(read_rows([str(jobs)]), str(out), name=name)


def called(made: Plan, workers: int = 1, policy: Policy = Policy()) -> Outcome:
    spots = [Place(str(number), "cpu", {}) for number in range(workers)]
    return run(made, Local(spots, (sys.executable, str(STUB))), policy)


def outputs(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.gif"))}


def test_a_second_call_has_nothing_to_do(clips: Path, tmp_path: Path) -> None:
    jobs, out = listed(clips, "fox", "wolf", "cat"), tmp_path / "out"
    assert called(planned(jobs, out)).made == 3
    before = outputs(out)
    assert before["c1/p2p-wolf-s0.gif"] == b"wolf 0 clip 1"
    again = called(planned(jobs, out))
    assert (again.made, again.done, outputs(out)) == (0, 3, before)
    assert not (out / "failed.csv").exists()
    results = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [row["status"] for row in results] == ["done"] * 3


def test_editing_a_row_makes_one_item_and_renaming_makes_none(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    called(planned(listed(clips, "fox", "wolf", "cat"), out))
    jobs = listed(clips, "fox", "bear", "cat")
    made = planned(jobs, out)
    assert made.dropped == ["c1/p2p-wolf-s0.gif"]
    assert called(made).made == 1
    assert called(planned(jobs, out, "{prompt}/{stem}.{ext}")).made == 0
    assert set(outputs(out)) == {"fox/c0.gif", "bear/c1.gif", "cat/c2.gif", "c1/p2p-wolf-s0.gif"}


def test_names_that_change_hands_lose_nothing(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    called(planned(listed(clips, "fox", "wolf"), out, "{index}.{ext}"))
    before = outputs(out)
    lines = (clips / "jobs.csv").read_text().splitlines()
    (clips / "jobs.csv").write_text("\n".join([lines[0], lines[2], lines[1]]) + "\n")
    assert called(planned(clips / "jobs.csv", out, "{index}.{ext}")).made == 0
    assert outputs(out) == {"1.gif": before["2.gif"], "2.gif": before["1.gif"]}


def test_two_calls_that_rename_at_once_lose_nothing(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    called(planned(listed(clips, "fox", "wolf"), out, "{index}.{ext}"))
    before = outputs(out)
    lines = (clips / "jobs.csv").read_text().splitlines()
    (clips / "jobs.csv").write_text("\n".join([lines[0], lines[2], lines[1]]) + "\n")
    calls = [
        planned(clips / "jobs.csv", out, "{index}.{ext}") for _ in range(3)
    ]  # all have seen the old names
    for made in calls:
        prepare(made)
        assert outputs(out) == {"1.gif": before["2.gif"], "2.gif": before["1.gif"]}
        assert len(made.done) == 2 and all(made.state.is_done(record) for record in made.done.values())
    assert os.listdir(out / ".vedit-batch" / "claim") in ([], [".clock"])


def test_a_call_waits_for_another_that_moves_outputs_unless_its_machine_has_gone(
    clips: Path, tmp_path: Path
) -> None:
    state = State(str(tmp_path / "out"))
    state.make()
    other = State(state.out)
    other.host = "elsewhere"
    assert other.claim("names", 1) and not state.claim("names", os.getpid())
    old = time.time() - 601
    os.utime(state.path("claim", "names"), (old, old))
    with state.alone("names"):
        assert not other.claim("names", 1)
    assert other.claim("names", 1)


def test_a_process_that_ended_and_was_not_asked_for_holds_no_claim(tmp_path: Path) -> None:
    state = State(str(tmp_path / "out"))
    state.make()
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    held = {
        "host": state.host,
        "space": state.space,
        "pid": child.pid,
        "began": began(child.pid),
        "worker": 0,
    }
    Path(state.path("claim", "item")).write_text(json.dumps(held))
    assert not state.claim("item", 0)
    child.kill()
    while not has_ended(child.pid):
        time.sleep(0.01)
    assert state.claim("item", 0)  # its entry is still there: nobody has waited for it
    child.wait()
    assert child.stdin is not None
    child.stdin.close()


def test_processes_of_another_container_on_this_host_are_not_taken_for_dead(tmp_path: Path) -> None:
    state = State(str(tmp_path / "out"))
    state.make()
    held = {"host": state.host, "space": "pid:[1]", "pid": 2**22 + 1, "began": "1", "worker": 0}
    Path(state.path("claim", "item")).write_text(json.dumps(held))
    assert not state.claim("item", 0)
    old = time.time() - 601
    os.utime(state.path("claim", "item"), (old, old))
    assert state.claim("item", 0)


def test_items_fail_alone_and_failed_csv_is_a_list_again(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    jobs = listed(clips, "fox", "bad", "kill")
    jobs.write_text(jobs.read_text() + "gone.gif,cat,0\n")
    outcome = called(planned(jobs, out))
    assert (outcome.done, outcome.failed) == (1, 3)
    failed = (out / "failed.csv").read_text().splitlines()
    assert len(failed) == 4
    assert "takes less" in failed[2] and "ended by signal 9" in failed[2] and ",2," in failed[2]  # two deaths
    assert called(planned(jobs, out)).failed == 3  # failed is not done, and not tried again unasked
    mended = (
        (out / "failed.csv")
        .read_text()
        .replace("bad,0", "good,0")
        .replace("bad", "good")
        .replace("kill", "dog")
    )
    (out / "failed.csv").write_text(
        mended.replace("gone.gif", "clips/c3.gif").replace("../clips/clips", "../clips")
    )
    made = planned(out / "failed.csv", out)
    assert len(made.items) == 4  # the one that was done stays in the plan
    outcome = called(made)
    assert (outcome.done, outcome.failed) == (4, 0)
    assert not (out / "failed.csv").exists()


def test_memory_is_tried_again_in_a_fresh_worker(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_MARKS", str(tmp_path))
    outcome = called(planned(listed(clips, "memory once"), tmp_path / "out"))
    assert (outcome.made, outcome.failed) == (1, 0)
    (record,) = State(str(tmp_path / "out")).records("done").values()
    assert record["attempts"] == 2


def test_a_full_disk_stops_the_rest_and_is_no_fault_of_an_item(clips: Path, tmp_path: Path) -> None:
    jobs, out = listed(clips, "fox", "full", "wolf"), tmp_path / "out"
    with pytest.raises(OutputError, match="the disk is full"):
        called(planned(jobs, out))
    found = status(str(out))
    assert (found.done, found.failed, found.open) == (1, 0, 2)


def test_nothing_is_begun_where_the_next_output_may_not_fit(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, out = listed(clips, "fox", "wolf"), tmp_path / "out"
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(OutputError, match="10 bytes are free, and the largest output so far has"):
        called(planned(jobs, out))
    assert status(str(out)).done == 1


def test_too_many_failures_stop_the_rest(clips: Path, tmp_path: Path) -> None:
    jobs = listed(clips, *["bad"] * 2, "fox", seeds=2)
    outcome = called(planned(jobs, tmp_path / "out"), policy=Policy(most_failures=1))
    assert outcome.failed == 1
    assert "the prompt is bad" in outcome.early
    jobs = listed(clips, "bad", seeds=15)
    outcome = called(planned(jobs, tmp_path / "other"))
    assert outcome.failed == 10
    assert "the first 10 items failed with one message" in outcome.early


def test_clips_that_are_all_missing_are_one_error(clips: Path, tmp_path: Path) -> None:
    jobs = listed(clips, "fox")
    jobs.write_text("input,prompt\ngone.gif,fox\n")
    with pytest.raises(InputError, match="none of the 1 clips"):
        called(planned(jobs, tmp_path / "out"))


def test_any_number_of_workers_and_shards_give_the_same_bytes(clips: Path, tmp_path: Path) -> None:
    jobs = listed(clips, "fox", "wolf", "cat", seeds=3)
    called(planned(jobs, tmp_path / "one"))
    called(planned(jobs, tmp_path / "two"), workers=2)
    for part in (1, 2):
        called(planned(jobs, tmp_path / f"part{part}"), policy=Policy(shard=(part, 2)))
    merge([str(tmp_path / "part1"), str(tmp_path / "part2")], str(tmp_path / "whole"))
    assert len(outputs(tmp_path / "one")) == 9
    assert outputs(tmp_path / "two") == outputs(tmp_path / "whole") == outputs(tmp_path / "one")
    assert 0 < len(outputs(tmp_path / "part1")) < 9
    assert called(planned(jobs, tmp_path / "whole")).made == 0


def test_two_rows_with_one_key_are_made_once(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_LOG", str(tmp_path / "log"))
    jobs = listed(clips, "fox")
    jobs.write_text("input,prompt,output\nc0.gif,fox,a.gif\nc0.gif,fox,b.gif\n")
    assert called(planned(jobs, tmp_path / "out")).done == 2
    assert len((tmp_path / "log").read_text().splitlines()) == 1
    assert outputs(tmp_path / "out")["a.gif"] == outputs(tmp_path / "out")["b.gif"]


def test_redo_chooses_what_is_made_again(clips: Path, tmp_path: Path) -> None:
    jobs, out = listed(clips, "fox", "wolf"), tmp_path / "out"
    called(planned(jobs, out))
    for which, count in (("all", 2), ("fox", 1), ("older", 0)):
        made = planned(jobs, out)
        redo(made, which)
        assert called(made).made == count
    with pytest.raises(UsageError, match="not a pattern"):
        redo(planned(jobs, out), "(")


def test_outputs_that_changed_are_made_again_when_they_are_verified(clips: Path, tmp_path: Path) -> None:
    jobs, out = listed(clips, "fox", "wolf"), tmp_path / "out"
    called(planned(jobs, out))
    before = outputs(out)
    changed = out / "c1" / "p2p-wolf-s0.gif"
    changed.write_bytes(changed.read_bytes().upper())
    made = planned(jobs, out)
    assert made.open() == []  # its size is what it was
    assert verify(made) == ["c1/p2p-wolf-s0.gif"]
    assert called(made).made == 1
    assert outputs(out) == before
    assert verify(planned(jobs, out)) == []


def test_rows_keep_their_order_when_that_is_asked_for(clips: Path, tmp_path: Path) -> None:
    jobs = clips / "jobs.csv"
    jobs.write_text("input,prompt\nc1.gif,fox\nc0.gif,cat\nc1.gif,wolf\n")
    made = planned(jobs, tmp_path / "out")
    assert [item.request.prompt for item in made.open()] == ["cat", "fox", "wolf"]  # a clip's together
    made.order = "given"
    assert [item.request.prompt for item in made.open()] == ["fox", "cat", "wolf"]


def test_a_worker_that_says_nothing_for_too_long_is_replaced_and_its_item_fails(
    clips: Path, tmp_path: Path
) -> None:
    jobs, out = listed(clips, "hang", "fox"), tmp_path / "out"
    outcome = called(planned(jobs, out), policy=Policy(retries=0, timeout_s=1.5))
    assert (outcome.done, outcome.failed) == (1, 1)
    assert "said nothing for 1.5 s" in (out / "failed.csv").read_text()


@pytest.mark.parametrize(("recycle", "workers"), [(None, 1), (2, 2)])
def test_a_worker_is_replaced_after_so_many_items(
    clips: Path, tmp_path: Path, recycle: int | None, workers: int
) -> None:
    jobs, out = listed(clips, "fox", "wolf", "cat", "dog"), tmp_path / "out"
    assert called(planned(jobs, out), policy=Policy(recycle=recycle)).made == 4
    assert len(workers_of(out)) == workers


def test_items_at_work_are_ended_when_their_grace_is_over(clips: Path, tmp_path: Path) -> None:
    jobs, out = listed(clips, "hang"), tmp_path / "out"
    began = time.monotonic()
    process = call(jobs, out, "--grace", "0.3", workers=1)
    wait_for_a_claim(out)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 75
    assert time.monotonic() - began < 30  # and not the minute that it hangs
    assert not list(out.glob(".vedit-batch/claim/[0-9a-f]*"))


def test_files_that_no_batch_made_are_not_replaced(clips: Path, tmp_path: Path) -> None:
    jobs, out = listed(clips, "fox"), tmp_path / "out"
    (out / "c0").mkdir(parents=True)
    (out / "c0" / "p2p-fox-s0.gif").write_bytes(b"mine")
    assert vedit("batch", jobs, "-O", out).code == 4
    assert outputs(out) == {"c0/p2p-fox-s0.gif": b"mine"}


def call(jobs: Path, out: Path, *given: str, workers: int = 2, **variables: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(CALL), str(jobs), str(out), str(workers), *given],
        env={**os.environ, **variables},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for_a_claim(out: Path) -> None:
    until = time.monotonic() + 30
    while not list(out.glob(".vedit-batch/claim/[0-9a-f]*")) and time.monotonic() < until:
        time.sleep(0.05)


def workers_of(out: Path) -> list[int]:
    events = out / ".vedit-batch" / "events.jsonl"
    lines = events.read_text().splitlines() if events.exists() else []
    told = [json.loads(line) for line in lines]
    return [event["pid"] for event in told if event["event"] == "worker" and event["what"] == "started"]


def killed(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def kill_often(clips: Path, out: Path, times: int) -> None:
    """Kill parents, workers or both of calls on a folder at random moments."""
    draw = random.Random(times)
    jobs = listed(clips, "fox", "wolf", "cat", "dog", seeds=4)
    for number in range(times):
        process = call(jobs, out, STUB_PAUSE_S="0.02")
        time.sleep(draw.uniform(0.3, 1.0))
        if number % 3:
            process.kill()
        if number % 3 != 1:
            for pid in workers_of(out)[-2:]:
                killed(pid)
        if not number % 3:
            process.wait(60)
        process.wait(60)
    assert call(jobs, out).wait(120) in (0, 8)
    made = planned(jobs, out)
    made.failed = {}  # a worker that was killed twice at one item
    called(made)
    assert len(outputs(out)) == 16
    assert len(State(str(out)).records("done")) == 16
    assert not [path for path in out.rglob("*.part")]
    assert not os.listdir(out / ".vedit-batch" / "claim") or os.listdir(out / ".vedit-batch" / "claim") == [
        ".clock"
    ]


def test_calls_that_are_killed_lose_nothing(clips: Path, tmp_path: Path) -> None:
    kill_often(clips, tmp_path / "out", 3)


@pytest.mark.slow
def test_fifty_calls_that_are_killed_lose_nothing(clips: Path, tmp_path: Path) -> None:
    kill_often(clips, tmp_path / "out", 50)


@pytest.mark.parametrize(("count", "code"), [(1, 75), (2, 130)])
def test_the_first_signal_lets_items_finish_and_the_second_ends_them(
    clips: Path, tmp_path: Path, count: int, code: int
) -> None:
    jobs, out = listed(clips, "fox", "wolf", "cat"), tmp_path / "out"
    process = call(jobs, out, workers=1, STUB_PAUSE_S="1.5")
    wait_for_a_claim(out)
    for _ in range(count):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    assert process.wait(60) == code
    assert len(outputs(out)) == (1 if count == 1 else 0)
    assert called(planned(jobs, out)).done == 3


def test_a_claim_is_stale_when_its_process_is_gone_or_nobody_touched_it(tmp_path: Path) -> None:
    state = State(str(tmp_path))
    state.make()
    assert state.claim("k", os.getpid())
    assert not state.claim("k", os.getpid())
    claim = Path(state.path("claim", "k"))
    claim.write_text(json.dumps({"host": "another", "pid": 1, "began": "0"}))
    assert not state.is_stale("k")
    os.utime(claim, (1, 1))
    assert state.is_stale("k")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    start = began(ended.pid)
    ended.wait()
    claim.write_text(json.dumps({"host": state.host, "pid": ended.pid, "began": start}))
    assert state.claim("k", os.getpid())


def test_status_tells_without_the_list(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    called(planned(listed(clips, "fox", "bad"), out))
    found = status(str(out))
    assert (found.total, found.done, found.failed, found.open) == (2, 1, 1, 0)
    result = vedit("batch", "status", out)
    assert result.text.splitlines() == ["1/2 done, 1 failed, 0 open", "  failed 1 x: the prompt is bad."]
    assert vedit("batch", "collect", out).code == 0


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_what_is_finished_is_known_without_torch(tmp_path: Path, count: int) -> None:
    (tmp_path / "c.gif").write_bytes(b"clip")
    jobs, out = tmp_path / "jobs.csv", tmp_path / "out"
    jobs.write_text("input,prompt,seed\n" + "".join(f"c.gif,fox,{n}\n" for n in range(count)))
    made = planned(jobs, out)
    made.state.make()
    made.state.write_plan(item.json() for item in made.items)
    (out / "c").mkdir()
    for item in made.items:
        (out / item.output).write_bytes(b"x")
        record = json.dumps({"output": item.output, "bytes": 1})
        Path(made.state.path("done", item.key)).write_text(record)
    code = (
        "import sys, time; from vedit.cli import execute; c = execute(sys.argv[1:]);"
        " print(c, 'torch' in sys.modules, time.process_time())"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, "batch", str(jobs), "-O", str(out), "--dry-run"],
        capture_output=True,
        text=True,
        check=True,
    )
    told, last = found.stdout.splitlines()
    assert told == f"{count} items, {count} done, 0 to be made"
    code_told, has_torch, seconds = last.split()
    assert (code_told, has_torch) == ("0", "False")
    assert float(seconds) < 5  # of CPU; alone on a core about half of it


def test_programs_hear_the_time_left_with_every_item(clips: Path, tmp_path: Path) -> None:
    jobs = clips / "jobs.csv"
    jobs.write_text("input,prompt,method\nc0.gif,fox,p2p\nc0.gif,fox,pnp\nc1.gif,fox,p2p\n")
    said: list[Any] = []

    def tell(event: Mapping[str, Any]) -> None:
        if event["event"] == "item":
            said.append(event["left"])

    spot = Place("1", "cpu", {})
    run(planned(jobs, tmp_path / "out"), Local([spot], (sys.executable, str(STUB))), tell=tell)
    assert said[0] is None  # nothing is known of the other method
    assert len(said[1]) == 3 and said[2] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("asked", ["gpu", "cpu*0", "cuda:7", "65"])
def test_workers_that_there_are_not_are_refused(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    with pytest.raises(UsageError, match="--workers"):
        places(asked)


def test_each_worker_sees_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,MIG-x")
    assert [place.variables["CUDA_VISIBLE_DEVICES"] for place in places("auto")] == ["3", "MIG-x"]
    assert [place.device for place in places("cuda:1,cpu*2")] == ["cuda", "cpu", "cpu"]


def test_a_message_that_is_repeated_is_said_once(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_run, "WORKER", (sys.executable, str(STUB)))
    result = vedit("batch", listed(clips, "bad", "bad", "bad warn", "warn", "warn"), "-O", tmp_path / "out")
    assert result.code == 8
    assert result.err.count("the prompt is bad.") == 1
    assert result.err.count("failed for the same reason") == 2
    assert result.err.count("the clip is odd") == 1 and "were given 2 times more" in result.err


def test_a_worker_spells_options_as_its_caller_does(tmp_path: Path) -> None:
    code = (
        "import runpy, sys, vedit.jobs.worker as w; w.run = lambda work: None;"
        " runpy.run_module('vedit.cli.worker', run_name='__main__');"
        " from vedit.errors import option; print(option('source_prompt'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "--source-prompt\n"
