"""Run vedit on many damaged files in one process: python -m tests.corruptions FIRST COUNT

Prints one JSON line per run that broke a promise: a traceback, an exit code that is not 0, 3 or 6, more than
2 s of CPU, or more than 200 MB. Behind the first 2000, which hold none, a canvas that damage has made large
may cost what such a canvas costs. A line at the end counts the exit codes.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

from tests import reference
from tests.conftest import NASTY, OK, vedit
from tests.random_gifs import corrupted, random_gif

COMMANDS = (
    ("gif", "crop", "--left", "10%"),
    ("gif", "rotate", "90"),
    ("gif", "adjust", "--brightness", "1.2"),
    ("gif", "speed", "2"),
    ("gif", "metadata", "--loop", "1"),
    ("gif", "resize", "--fit", "40x30", "--filter", "nearest"),
    ("gif", "resize", "--fit", "40x30"),
    ("gif", "speed", "--reverse"),
    ("gif", "crop", "--auto"),
    ("gif", "watermark", "--text", "a"),
    ("gif", "chain", "rotate:90; resize:fit=30x30; speed:2"),
    ("probe", "--json"),
    ("gif", "adjust", "--pivot", "mean", "--contrast", "2"),
)
CPU_S, PEAK_MB = 2.0, 200
START_MB = 35  # a process of its own starts with so much; here the growth is measured


def case(seed: int) -> tuple[tuple[str, ...], bytes]:
    """The command and the file of one run."""
    rng = random.Random(seed)
    data = random_gif(seed) if rng.random() < 0.4 else (NASTY / rng.choice(OK)).read_bytes()
    return COMMANDS[rng.randrange(len(COMMANDS))], corrupted(data, seed)


def run(seed: int) -> tuple[int, str]:
    """The exit code of one run, and what is wrong with it."""
    command, data = case(seed)
    if _memory_mb("VmRSS") > 100:
        gc.collect()
    _forget_peak()
    before = _memory_mb("VmRSS")
    start = time.process_time()
    result = vedit(*command, stdin=data)
    spent, grown = time.process_time() - start, _memory_mb("VmHWM") - before
    wrong = []
    allowed = (
        (0, 2, 3, 6) if "--auto" in command else (0, 3, 6)
    )  # a picture of one colour has no border to trim
    if result.code not in allowed or "Traceback" in result.err or "bug:" in result.err:
        wrong.append(f"exit {result.code}: {result.err[-300:]}")
    canvas_mpx = _canvas_mpx(data) if seed >= 2000 and result.code == 0 else 0
    if spent > CPU_S + canvas_mpx / 10:
        wrong.append(f"{spent:.1f} s")
    if grown > PEAK_MB - START_MB + 50 * canvas_mpx:
        wrong.append(f"{grown + START_MB:.0f} MB")
    return result.code, "; ".join(wrong)


def _canvas_mpx(data: bytes) -> float:
    width, height = reference.read(data).size
    return width * height / 1e6


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _memory_mb(name: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def main(first: int, count: int) -> None:
    codes: Counter[int] = Counter()
    vedit("gif", "resize", "--fit", "40x30", str(NASTY / "ok_plain.gif"))  # imports are not counted
    for seed in range(first, first + count):
        code, wrong = run(seed)
        codes[code] += 1
        if wrong:
            print(json.dumps({"seed": seed, "command": " ".join(case(seed)[0]), "wrong": wrong}))
    print(json.dumps({"codes": codes}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
