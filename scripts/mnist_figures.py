"""The figures of docs/generate.md: python scripts/mnist_figures.py RUN

RUN is a run folder of `vedit train --preset moving-mnist`, finished or not. Writes
docs/img/moving-mnist-loss.png (the curve of its log) and docs/img/moving-mnist.png (a row of frames for each
caption below, by the averaged weights, from the seed 0), and prints the step they are of.
"""

import sys
from pathlib import Path

import torch

from vedit.models.unet3d.checkpoint import load
from vedit.training.checkpoint import find
from vedit.training.curve import draw_curve, read_log
from vedit.training.video import sampled, write_strip

CAPTIONS = ("digit 3 moving right", "digit 7 moving left", "digit 0 moving up", "digit 5 moving down")
IMAGES = Path(__file__).resolve().parent.parent / "docs" / "img"


def main(run: Path) -> None:
    rows = read_log(run / "log.jsonl")
    draw_curve(rows, IMAGES / "moving-mnist-loss.png")
    generator = load(*find(run, "ema"))
    clips = sampled(generator.network, generator.params, generator.text(list(CAPTIONS)), seed=0)
    write_strip(clips, IMAGES / "moving-mnist.png")
    print(f"step {rows[-1]['step']}, loss {rows[-1]['loss']:.4f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
