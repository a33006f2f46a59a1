"""Clips for metric tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from vedit.metrics.base import Clip, Score
from vedit.metrics.types import Video


def noise(frames: int = 3, rows: int = 20, columns: int = 24, seed: int = 0) -> np.ndarray:
    """Random pixels, (T, Y, X, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (frames, rows, columns, 3), dtype=np.uint8)


def clip(
    edited: np.ndarray, source: np.ndarray | None = None, truth: np.ndarray | None = None, **facts: Any
) -> Clip:
    """A clip of arrays; what is None is absent."""
    videos = {
        name: None if frames is None else Video(frames)
        for name, frames in (("source", source), ("truth", truth))
    }
    return Clip("clip", Video(edited), **videos, **facts)


def values(scores: dict[str, Score]) -> dict[str, float]:
    return {key: score.value for key, score in scores.items()}
