"""What a step of `vedit train` costs, in processor seconds (user + system) and MiB, one thread.

    python benchmarks/train_step.py [--preset moving-mnist] [--against TREE] [--set KEY=VALUE ...] [--steps 4]
    [--rounds 3]

--against: another checkout of vedit, measured in turn with this one; the median of the per-round
ratios theirs / ours is given (above 1: this tree is faster). --set applies to this tree alone.
Clips are noise of the preset's size: a step costs the same whatever they show. Each measurement is a
process of its own and leaves its first two steps out, which fill memory and choose kernels.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
WARM = 2


def measure(preset: str, changes: list[str], steps: int) -> None:
    """Print seconds per step, after WARM steps, and the peak of memory."""
    import numpy as np
    import torch

    from vedit.presets import as_value, load_train
    from vedit.training.clips import Clips
    from vedit.training.loop import train
    from vedit.training.params import changed, read_params
    from vedit.training.video import VideoTask, build_options

    torch.set_num_threads(1)
    settings = {key: as_value(value) for key, value in (change.split("=", 1) for change in changes)}
    params = read_params(changed(load_train(preset), settings), preset)
    width, height = params.data.shape
    pixels = np.random.default_rng(0).integers(0, 256, (16, params.data.frames, height, width, 3), np.uint8)
    task = VideoTask(params, Clips(pixels, [[f"clip {number}"] for number in range(16)], 8.0, "noise"))
    spent: list[float] = []

    def should_stop() -> bool:
        spent.append(sum(os.times()[:2]))
        return len(spent) > WARM + steps

    with tempfile.TemporaryDirectory() as folder:
        try:
            list(train(task, build_options(params, 1), Path(folder), should_stop))
        except Exception as error:  # told to stop
            if type(error).__name__ != "Stopped":
                raise
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print((spent[WARM + steps] - spent[WARM]) / steps, peak)


def measured(tree: Path, given: argparse.Namespace, changes: list[str]) -> tuple[float, int]:
    command = [sys.executable, __file__, "--measure", "--preset", given.preset, "--steps", str(given.steps)]
    command += [part for change in changes for part in ("--set", change)]
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    told = subprocess.run(
        command, env=environment, cwd=tree, check=True, stdout=subprocess.PIPE, text=True
    ).stdout.split()
    return float(told[-2]), int(told[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="moving-mnist")
    parser.add_argument("--against", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.preset, given.changes, given.steps)
        return
    trees = {
        "this tree": (HERE, given.changes),
        **({"the other": (given.against.resolve(), [])} if given.against else {}),
    }
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in trees}
    for _ in range(given.rounds):
        for name, (tree, changes) in trees.items():
            found[name].append(measured(tree, given, changes))
    for name, values in found.items():
        ratio = statistics.median(
            value / own for (value, _), (own, _) in zip(values, found["this tree"], strict=True)
        )
        print(
            f"{name:<10} {statistics.median(value for value, _ in values):6.2f} CPU s a step,"
            f" {max(peak for _, peak in values)} MiB, theirs / ours {ratio:.2f}"
        )


if __name__ == "__main__":
    main()
