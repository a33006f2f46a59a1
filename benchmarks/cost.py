"""What each editing method costs on one drawn clip: evaluations of the network, CPU time, peak memory.

    python benchmarks/cost.py [--methods A,B] [--frames 8] [--case drawn-scenes-tuning/colour-00] [--append]

Each method runs in a process of its own with the embedded model and its `-shapes` preset, tuning, inversion,
null embeddings and put-back pixels included, as `vedit bench scenes` runs it.

    evaluations   rows of the network's batches over frames; a pass that is gone back through counts once
    CPU s         user and system time of the edit on one thread, the model loaded
    MiB           resident memory at the peak, less that with the model loaded and a step of one frame done
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT)]
METHODS = (
    "ddim,sdedit,p2p,pnp,dds,glp,best-shapes,tokenflow,fatezero,vid2vid-zero,masactrl,rave,vidtome,flatten,"
    "fresco,video-p2p,edit-a-video"
)
HEAD = "| method | evaluations per frame | CPU s per frame | MiB above the model |\n| --- | --- | --- | --- |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", default=METHODS, help="methods, or presets of them by name")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--case", default="drawn-scenes-tuning/colour-00", help="SET/ID of a drawn case")
    parser.add_argument("--append", action="store_true", help="add what is printed to benchmarks/README.md")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(row(asked.methods, asked.case, asked.frames))
        return
    lines = [HEAD]
    print(HEAD, flush=True)
    for method in asked.methods.split(","):
        lines.append(in_own_process(method, asked.case, asked.frames))
        print(lines[-1], flush=True)
    if asked.append:
        with (HERE / "README.md").open("a") as page:
            page.write("\n".join(lines) + "\n")


def in_own_process(method: str, case: str, frames: int) -> str:
    command = [sys.executable, __file__, "--one", "--methods", method, "--case", case]
    done = subprocess.run(
        [*command, "--frames", str(frames)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return done.stdout.strip().splitlines()[-1]


def row(name: str, case_name: str, frames: int) -> str:
    """A line of the table, measured in this process."""
    import torch
    from diffusers import UNet2DConditionModel

    from vedit.cli.bench_scenes import contenders_of
    from vedit.data.cases import load_cases
    from vedit.jobs import cache
    from vedit.jobs.bench.scenes import edit_scene, with_mask
    from vedit.models.load import load_model

    torch.set_num_threads(1)
    model = load_model("shapes", device="cpu")
    kind, identity = case_name.split("/")
    case = next(case for case in load_cases(kind) if case.id == identity)
    rows, forward = 0, UNet2DConditionModel.forward

    def counted(self: Any, sample: Any, *args: Any, **given: Any) -> Any:
        nonlocal rows
        rows += len(sample)
        return forward(self, sample, *args, **given)

    def edited(chosen: str, frames: int, *settings: str) -> None:
        method, values = contenders_of([chosen], settings, "shapes")[chosen]
        with cache.passing():  # an inversion that is kept would cost nothing
            edit_scene(model, case, method, with_mask(method, case, values), frames)

    edited("ddim", 1, "ddim.steps=1")  # what is imported and allocated once
    UNet2DConditionModel.forward = counted
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    begin = time.process_time()
    edited(name, frames)
    taken = time.process_time() - begin
    return f"| {name} | {rows / frames:.0f} | {taken / frames:.2f} | {status('VmHWM') - before:.0f} |"


def status(field: str) -> float:
    """Of this process, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


if __name__ == "__main__":
    main()
