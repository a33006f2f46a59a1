"""The towers on a CUDA device: float32 as on the CPU, half precision within two thousandths of each cosine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.metrics.seeded import moving_video, relative, towers_at
from vedit.metrics.base import cosines
from vedit.metrics.types import Options, Video

pytestmark = pytest.mark.gpu
FEATURES: dict[str, Callable[[Any, Video], np.ndarray]] = {
    "clip_l": lambda tower, video: tower.images(video)["projected"],
    "clip_h": lambda tower, video: tower.text("a dog")["projected"],
    "dinov2": lambda tower, video: tower.cropped(video)["cls"],
    "dino-vitb16": lambda tower, video: tower.whole(video)["cls"],
    "viclip": lambda tower, video: tower.video(video, range(8))["projected"],
    "dover": lambda tower, video: tower.scores(video)["technical"],
    "gmflow": lambda tower, video: tower.flow(video),
}


@pytest.mark.parametrize("name", list(FEATURES))
def test_float32_gives_the_features_of_the_cpu(tiny_weights: Path, name: str) -> None:
    video = moving_video(8)
    cpu, cuda = (
        FEATURES[name](towers_at(tiny_weights, Options(device=device)).get(name), video)
        for device in ("cpu", "cuda")
    )
    assert relative(cuda, cpu) < 1e-4


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
@pytest.mark.parametrize("name", ["clip_l", "clip_h", "dinov2", "dino-vitb16", "viclip"])
def test_half_precision_keeps_each_cosine(tiny_weights: Path, name: str, dtype: str) -> None:
    video = moving_video(8)
    full, half = (
        FEATURES[name](towers_at(tiny_weights, Options(device="cuda", dtype=chosen)).get(name), video)
        for chosen in ("fp32", dtype)
    )
    assert (cosines(full, half) > 1 - 2e-3).all()
