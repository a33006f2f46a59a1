"""Time the GIF commands of two checkouts, interleaved, as ratios of the least CPU time.

    python benchmarks/before_after.py OLD NEW --gif CLIP.gif --film CLIP.mp4 [--runs N]

OLD and NEW are folders with a `vedit` package each; both run on this interpreter and its libraries. What
counts is user and system time of the process and its children. A ratio above 1 means that NEW takes longer.
Says too whether both wrote the same bytes.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

COMMANDS = {
    "--version": ["--version"],
    "probe": ["probe", "GIF"],
    "speed": ["gif", "speed", "2", "GIF", "-o", "o.gif"],
    "rotate": ["gif", "rotate", "90", "GIF", "-o", "o.gif"],
    "crop": ["gif", "crop", "--left", "10%", "GIF", "-o", "o.gif"],
    "adjust": ["gif", "adjust", "--brightness", "1.2", "GIF", "-o", "o.gif"],
    "resize": ["gif", "resize", "--scale", "50%", "GIF", "-o", "o.gif"],
    "watermark": ["gif", "watermark", "--text", "vedit", "GIF", "-o", "o.gif"],
    "chain": ["gif", "chain", "crop:left=10%; resize:scale=50%; speed:2", "GIF", "-o", "o.gif"],
    "gif to mp4": ["convert", "GIF", "-o", "o.mp4"],
    "mp4 to gif": ["convert", "FILM", "-o", "o.gif"],
    "crop film": ["gif", "crop", "--left", "10%", "FILM", "-o", "o.mp4"],
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--gif", type=Path, required=True)
    parser.add_argument("--film", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=15)
    chosen = parser.parse_args()
    files = {"GIF": str(chosen.gif.resolve()), "FILM": str(chosen.film.resolve())}
    print(f"{'command':12} {'old':>7} {'new':>7} ratio  bytes")
    with tempfile.TemporaryDirectory() as folder:
        for name, words in COMMANDS.items():
            command = [files.get(word, word) for word in words]
            best, made = [1e9, 1e9], [b"", b""]
            for _ in range(chosen.runs):
                for which, checkout in enumerate((chosen.old, chosen.new)):
                    seconds, made[which] = run(command, checkout.resolve(), Path(folder))
                    best[which] = min(best[which], seconds)
            same = "equal" if made[0] == made[1] else f"{len(made[0])} and {len(made[1])}"
            print(f"{name:12} {best[0]:7.3f} {best[1]:7.3f} {best[1] / best[0]:5.3f}  {same}", flush=True)
    return 0


def run(command: list[str], checkout: Path, folder: Path) -> tuple[float, bytes]:
    """CPU seconds of one call, and the file it wrote (or what it printed)."""
    for left in folder.iterdir():
        left.unlink()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "vedit", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    made = [path.read_bytes() for path in sorted(folder.iterdir())]
    return seconds, made[0] if made else done.stdout


if __name__ == "__main__":
    sys.exit(main())
