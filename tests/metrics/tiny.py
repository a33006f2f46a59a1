"""Every tower with tiny seeded weights, for tests of the metrics themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.metrics.seeded import seeded, write_weights
from tests.metrics.towers import test_clip, test_dino, test_dover, test_gmflow, test_viclip
from vedit.metrics.towers import clip, dino, dover, viclip
from vedit.metrics.towers.aesthetic import WIDTHS

CLIP = {
    name: config if name != "clip_l" else clip.ClipConfig(56, 32, 2, 4, 24, 2, 3, 768, quick=True)
    for name, config in test_clip.TINY.items()
}


def shrink_towers(patch: pytest.MonkeyPatch) -> None:
    """Let vedit build the towers at tiny sizes; GMFlow is small as it is."""
    patch.setattr(clip, "CONFIGS", CLIP)
    patch.setattr(dino, "CONFIGS", test_dino.TINY)
    patch.setattr(dover, "CONFIG", test_dover.TINY)
    patch.setattr(viclip, "CONFIG", test_viclip.TINY)


def write_tiny_weights(folder: Path) -> None:
    """The published files of all towers of the eight metrics and of `edit_success`, at tiny sizes."""
    for name in CLIP:
        write_weights(
            folder,
            name,
            test_clip.hf_state(test_clip.hf_model(CLIP[name])),
            choice=1 if name == "clip_b32" else 0,
        )
    for name in test_dino.TINY:
        write_weights(
            folder, name, test_dino.published(name, test_dino.hf_model(name), folder / "saved" / name)
        )
    write_weights(folder, "dover", test_dover.weights_of(test_dover.TINY))
    write_weights(folder, "viclip", seeded(test_viclip.shapes(test_viclip.TINY)))
    write_weights(folder, "gmflow", seeded(test_gmflow.shapes()))
    write_weights(folder, "aesthetic", aesthetic_head())


def aesthetic_head() -> dict[str, torch.Tensor]:
    """The head's published tensors."""
    shapes: dict[str, tuple[int, ...]] = {}
    for index, (before, after) in WIDTHS.items():
        shapes |= {f"layers.{index}.weight": (after, before), f"layers.{index}.bias": (after,)}
    return seeded(shapes, seed=5)
