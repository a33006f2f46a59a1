"""`vedit gif optimize` against `gifsicle -O3`: bytes and CPU seconds, and the error of `--lossy`.

    python benchmarks/gif_optimize.py GIF... [--lossy N]

Without --lossy, bytes and CPU of both, one thread, and their totals; with it the error (root mean square
over red, green, blue and all composed frames) and bytes of `gifsicle -O3 --lossy=80` and of vedit's at N.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def timed(command: list[str]) -> float:
    """CPU seconds of a command, which must succeed."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def error(source: str, result: str) -> float:
    """Root mean square difference of the composed frames, where there are as many."""
    from tests import reference

    total = count = 0
    before, after = (reference.read(Path(name).read_bytes()) for name in (source, result))
    for one, other in zip(before.frames(), after.frames(), strict=True):
        squares = (one[..., :3].astype(int) - other[..., :3]) ** 2
        total, count = total + int(squares.sum()), count + squares.size
    return float((total / count) ** 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inputs", nargs="+", metavar="GIF")
    parser.add_argument("--lossy", type=int, default=0, metavar="N")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    ours = [sys.executable, "-m", "vedit", "gif", "optimize", "-j", "1", "-y"]
    theirs = ["gifsicle", "--no-warnings", "-O3"]
    if options.lossy:
        ours += ["--lossy", str(options.lossy), "--keep-images"]
        theirs.append("--lossy=80")
    sums = [0.0] * 4
    print(
        "| input | bytes | gifsicle | vedit | ratio | gifsicle, CPU s | vedit, CPU s | errors |\n"
        + "| --- " * 8
        + "|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in options.inputs:
            outs = [os.path.join(folder, f"{tool}.gif") for tool in ("theirs", "ours")]
            took = [timed([*theirs, name, "-o", outs[0]]), timed([*ours, name, "-o", outs[1]])]
            sizes = [os.path.getsize(out) for out in outs]
            errors = ", ".join(f"{error(name, out):.2f}" for out in outs) if options.lossy else ""
            sums = [a + b for a, b in zip(sums, [*sizes, *took], strict=True)]
            print(
                f"| {os.path.basename(name)} | {os.path.getsize(name)} | {sizes[0]} | {sizes[1]} |"
                f" {sizes[1] / sizes[0]:.3f} | {took[0]:.2f} | {took[1]:.2f} | {errors} |",
                flush=True,
            )
    print(f"\nbytes: {sums[1] / sums[0]:.4f} of gifsicle's; CPU: {sums[3] / sums[2]:.2f} of gifsicle's")


if __name__ == "__main__":
    main()
