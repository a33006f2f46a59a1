"""The clips that a generator is trained on, and which of their frames it sees.

The decoded clips lie in one file of plain bytes, mapped into memory: processes share its pages,
and a run that goes on decodes nothing again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle, islice

import numpy as np
import torch

from vedit.training.loop import seeded


@dataclass(frozen=True)
class Clips:
    """Clips of equal shape with their captions.

    pixels_NFYX3: uint8 RGB. captions: the texts of each clip, one or more; one is drawn per use.
    fps: frames per second that clips to be made should have. fingerprint: of files and choices.
    """

    pixels_NFYX3: np.ndarray
    captions: Sequence[Sequence[str]]
    fps: float
    fingerprint: str

    def __len__(self) -> int:
        return len(self.captions)


def chosen_frames(durations: Sequence[int], count: int, extend: str) -> list[int]:
    """Which frames of a clip make `count`: those shown at equal times over its whole span.

    A clip with fewer frames goes on by itself: "pingpong" turns round at its ends (0 1 2 1 0 1 2 1),
    "loop" begins again, "hold" stays on the last. durations: of the frames, in any unit; where
    they say nothing (a sum of 0), frames are evenly spaced.
    """
    frames = len(durations)
    if frames < count:
        return extended(frames, count, extend)
    if sum(durations) == 0:
        durations = [1] * frames
    ends, total = list(accumulate(durations)), sum(durations)
    return [
        next(index for index, end in enumerate(ends) if end * count > number * total)
        for number in range(count)
    ]


def extended(frames: int, count: int, extend: str) -> list[int]:
    """`count` indices of a clip of fewer frames."""
    forward = list(range(frames))
    if extend == "hold":
        return [min(index, frames - 1) for index in range(count)]
    turn = forward + (forward[-2:0:-1] if extend == "pingpong" else [])
    return list(islice(cycle(turn), count))


class Order:
    """In which order clips are used: each once per epoch, shuffled anew; a pure function of the place."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self.epoch = -1
        self.permutation: list[int] = []

    def __getitem__(self, place: int) -> int:
        epoch, rest = divmod(place, self.count)
        if epoch != self.epoch:
            self.epoch = epoch
            self.permutation = torch.randperm(self.count, generator=seeded(self.seed, 6, epoch)).tolist()
        return self.permutation[rest]
