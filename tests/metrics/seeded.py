"""Seeded weights in the published layouts: written where `--weights DIR` looks, read by vedit's ordinary
loader.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from vedit.metrics.towers import FILES, FeatureStore, Towers, WeightFinder
from vedit.metrics.types import Options, Video

Shapes = Mapping[str, tuple[int, ...]]


def seeded(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    """Weights for named shapes, scaled so that signals neither vanish nor explode; norms near one."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator)
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        is_norm = len(shape) == 1 and name.endswith("weight")
        state[name] = (
            1 + 0.1 * values
            if is_norm
            else 0.1 * values
            if len(shape) <= 1 or "table" in name
            else values * fan_in**-0.5
        )
    return state


def write_weights(folder: Path, tower: str, state: Mapping[str, Tensor], choice: int = 0) -> Path:
    """A state dict as the published file of a tower: its place, its name, and its wrapping."""
    file = FILES[tower][choice]
    path = folder / file.repo / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file({name: value.contiguous().clone() for name, value in state.items()}, path)
    else:
        torch.save({"model": dict(state)} if tower in ("viclip", "gmflow") else dict(state), path)
    return path


def towers_at(folder: Path, options: Options | None = None, store: FeatureStore | None = None) -> Towers:
    """Towers that find their weights in a folder and fetch nothing."""
    return Towers(options or Options(device="cpu"), WeightFinder(folder, offline=True), store)


def moving_video(frames: int = 3, rows: int = 64, columns: int = 64, seed: int = 0) -> Video:
    """A smooth random picture that drifts to the right, with a little noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:rows, 0:columns]
    waves = [(random.uniform(0.05, 0.3, 2), random.uniform(0, 6, 3)) for _ in range(4)]
    made = [
        sum(np.sin(k[0] * y + k[1] * (x - 2 * t))[..., None] * np.cos(phase) for k, phase in waves)
        for t in range(frames)
    ]
    noise = random.normal(0, 4, (frames, rows, columns, 3))
    return Video(np.clip(127 + 30 * np.stack(made) + noise, 0, 255).astype(np.uint8))


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, in units of the largest expected value."""
    return float(np.abs(np.asarray(found) - np.asarray(expected)).max() / np.abs(expected).max())
