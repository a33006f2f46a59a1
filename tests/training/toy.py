"""A task that trains in milliseconds, and ways to run it in processes of their own."""

import os
import pathlib
import shutil
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from vedit.training import loop
from vedit.training.loop import Options, latest_state, seeded, tensors_of, train
from vedit.training.place import join, leave

OPTIONS = Options(
    rate=0.01, steps=24, anneal=6, warmup=4, log_every=5, save_every=7, measure_every=60, seed=3
)

SAVING = {loop.__file__, shutil.__file__, pathlib.__file__}


class Toy:
    """Fit a line to seeded noise: 8 pictures a step."""

    def __init__(self, width=2, spoil=(), share=1):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(width, 4), nn.SiLU(), nn.Linear(4, 1))
        self.network = self.model
        self.config = {"width": width}
        self.width, self.spoil, self.measured, self.share = width, spoil, [], share

    def pictures(self, step):
        return 8 // self.share

    def losses(self, step):
        """Batch `step` of 8 / share rows, of the rows that all batches share out."""
        count = 8 // self.share
        rows = [torch.randn(self.width, generator=seeded(3, 0, step * count + row)) for row in range(count)]
        x = torch.stack(rows).to(next(self.model.parameters()).dtype)
        loss = (self.network(x) - x.sum(1, keepdim=True)).square().mean()
        return {"loss": loss * torch.nan if step in self.spoil else loss}

    def measure(self, model, step):
        self.measured.append(step)
        return {"score": step}


def weights(folder, name="model"):
    return tensors_of(latest_state(folder), name)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def train_rank(rank, world, port, folder, options, share):
    """Train as one of several processes, found through the environment as a launcher sets it."""
    torch.set_num_threads(1)
    os.environ.update(
        WORLD_SIZE=str(world),
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    try:
        for _ in train(Toy(share=share), options, Path(folder), place=join("cpu")):
            pass
    finally:
        leave()


def train_until_killed(folder, options, lines):
    """Go on from the folder's state, save after every step, and die by SIGKILL after so many lines of saving."""
    torch.set_num_threads(1)
    run = loop.Run(Toy(), options, Path(folder))
    run.resume()
    left = iter(range(lines))

    def count(frame, event, argument):
        if event == "line" and next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return count if frame.f_code.co_filename in SAVING else None

    while True:
        run.advance()
        sys.settrace(count)
        run.save()
        sys.settrace(None)
