#!/usr/bin/env python3
"""What a batch promises, on the embedded model: equal bytes whoever works, one load per worker, time left.

    python benchmarks/batch.py bytes [--ray]     one output per way of making it, compared byte for byte
    python benchmarks/batch.py left              time left at half time of a mixed run, against what it took
    python benchmarks/batch.py finished          a call on 10 000 finished items, in CPU seconds

Each prints JSON lines. One thread a process.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

COLOURS = ("red", "green", "yellow", "purple", "orange", "white")
TARGET = "a blue circle on a grey background"
METHODS = ("p2p", "pnp")


def vedit(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """A call in a folder whose caches are its own; fails unless it exits 0."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "VEDIT_CACHE_DIR": str(folder / "cache")}
    command = [sys.executable, "-m", "vedit", *map(str, words)]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    return done


def drawn(folder: Path, count: int) -> list[tuple[str, str]]:
    """Clips in a folder, each with what it shows."""
    clips = [(f"c{n}.gif", f"a {COLOURS[n % 6]} circle on a grey background") for n in range(count)]
    for name, shown in clips:
        if not (folder / name).exists():
            vedit(folder, "scene", shown, "-o", name, "--seed", name[1])
    return clips


def listed(folder: Path, clips: Sequence[tuple[str, str]], steps: int, frames: Sequence[int]) -> Path:
    """A list of every clip by every method, with as many frames as stand beside the method."""
    path = folder / "jobs.csv"
    rows = [
        f"{name},{shown},{TARGET},{method},{steps},{count},{Path(name).stem}-{method}.gif"
        for name, shown in clips
        for method, count in zip(METHODS, frames)
    ]
    path.write_text("input,source,prompt,method,steps,frames,output\n" + "\n".join(rows) + "\n")
    return path


def hashes(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.glob("*.gif"))}


def compare_bytes(folder: Path, has_ray: bool) -> Iterator[dict[str, Any]]:
    """The same four edits by each way, with inversions of its own."""
    clips = drawn(folder, 2)
    jobs = listed(folder, clips, 3, (4, 4))
    ways: dict[str, list[list[object]]] = {
        "one worker": [["batch", jobs, "-O", "one"]],
        "two workers": [["batch", jobs, "-O", "two", "--workers", "2"]],
        "two parts, collected": [
            ["batch", jobs, "-O", "part1", "--shard", "1/2"],
            ["batch", jobs, "-O", "part2", "--shard", "2/2"],
            ["batch", "collect", "part1", "part2", "-O", "parts"],
        ],
    }
    if has_ray:
        ways["ray, two actors"] = [["batch", jobs, "-O", "ray", "--runner", "ray", "--workers", "2"]]
    (folder / "single").mkdir()
    ways["single calls"] = [
        ["edit", name, "-o", f"single/{Path(name).stem}-{method}.gif", "--source", shown, "--prompt", TARGET,
         "--method", method, "--steps", 3, "--frames", 4]
        for name, shown in clips for method in METHODS
    ]  # fmt: skip
    ways["edit -O, one clip a call"] = [
        ["edit", name, "-O", "many", "--suffix", f"-{method}", "--source", shown, "--prompt", TARGET,
         "--method", method, "--steps", 3, "--frames", 4]
        for name, shown in clips for method in METHODS
    ]  # fmt: skip
    wanted = None
    for way, calls in ways.items():
        subprocess.run(["rm", "-rf", folder / "cache"], check=True)
        for words in calls:
            vedit(folder, *words)
        found = hashes(folder / str(calls[-1][calls[-1].index("-O") + 1] if "-O" in calls[-1] else "single"))
        wanted = wanted or found
        loads = sum(
            '"loaded"' in line
            for events in folder.glob("*/.vedit-batch/events.jsonl")
            if events.parent.parent.name == str(calls[-1][-1] if way == "one worker" else "")
            for line in events.read_text().splitlines()
        )
        told = {"way": way, "outputs": len(found), "equal": found == wanted}
        yield {**told, "loads": loads} if way == "one worker" else told


def time_left(folder: Path) -> Iterator[dict[str, Any]]:
    """What was said of the time left when half of it was over, and what was left then."""
    jobs = listed(folder, drawn(folder, 8), 5, (8, 4))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "VEDIT_CACHE_DIR": str(folder / "cache")}
    words = [sys.executable, "-m", "vedit", "batch", str(jobs), "-O", "out", "--progress", "jsonl"]
    with subprocess.Popen(words, cwd=folder, env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        began, said, seconds = time.monotonic(), list[tuple[float, list[float] | None]](), list[float]()
        for line in process.stderr:
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("event") == "item":
                said.append((time.monotonic() - began, event["left"]))
                seconds.append(event["seconds"])
    whole = said[-1][0]
    yield {"whole_s": round(whole, 1), "items_s": seconds}
    for share in (0.25, 0.5, 0.75):
        at, left = min(said, key=lambda moment: abs(moment[0] - share * whole))
        error = None if left is None else round(left[0] / (whole - at) - 1, 3)
        yield {"at": round(at / whole, 2), "left": round(whole - at, 1), "said": left, "error": error}


def finished(folder: Path, count: int = 10_000) -> Iterator[dict[str, Any]]:
    """CPU seconds of a call that finds all done."""
    from vedit.jobs.batch.plan import plan
    from vedit.jobs.batch.rows import read_rows

    (folder / "c.gif").write_bytes(b"clip")
    jobs, out = folder / "jobs.csv", folder / "out"
    jobs.write_text("input,prompt,seed\n" + "".join(f"c.gif,fox,{n}\n" for n in range(count)))
    made = plan(read_rows([str(jobs)]), str(out))
    made.state.make()
    made.state.write_plan(made.lines())
    (out / "c").mkdir()
    for item in made.items:
        (out / item.output).write_bytes(b"x")
        record = json.dumps({"output": item.output, "bytes": 1})
        Path(made.state.path("done", item.key)).write_text(record)
    code = (
        "import sys, time; from vedit.cli import execute; execute(sys.argv[1:]);"
        " print(time.process_time(), 'torch' in sys.modules)"
    )
    for words in ([], ["--dry-run"]):
        command = [sys.executable, "-c", code, "batch", str(jobs), "-O", str(out), *words]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        yield {
            "items": count,
            "call": " ".join(words) or "batch",
            "cpu_s": float(told[-2]),
            "torch": told[-1],
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["bytes", "left", "finished"])
    parser.add_argument("--ray", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vedit-batch-") as name:
        folder = Path(name)
        rows = {
            "bytes": lambda: compare_bytes(folder, given.ray),
            "left": lambda: time_left(folder),
            "finished": lambda: finished(folder),
        }[given.what]()
        for row in rows:
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
