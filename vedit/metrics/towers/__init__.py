"""The networks that metrics look through: found, loaded one at a time, and their features kept.

    with towers.open("clip_l") as tower:      # dropped from memory on exit
        features = tower.images(video)        # computed, or taken from the store

A metric calls `towers.get(name)`, inside or outside of `open`; loading a second large tower
drops the first, so the order of calls costs time and never memory.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vedit.metrics.towers.features import FeatureStore
from vedit.metrics.towers.files import FILES, Found, WeightFile, WeightFinder
from vedit.metrics.towers.tower import Tower
from vedit.metrics.types import Options

__all__ = ["FILES", "FeatureStore", "Found", "Tower", "Towers", "WeightFile", "WeightFinder"]

# which module and class is which tower; in the order that a suite loads them
TOWERS: dict[str, tuple[str, str]] = {
    "clip_l": ("clip", "ClipTower"),
    "aesthetic": ("aesthetic", "AestheticHead"),
    "clip_b32": ("clip", "ClipTower"),
    "clip_small": ("clip", "ClipTower"),
    "clip_h": ("clip", "ClipTower"),
    "viclip": ("viclip", "ViclipTower"),
    "dinov2": ("dino", "DinoTower"),
    "dino-vitb16": ("dino", "DinoTower"),
    "dover": ("dover", "DoverTower"),
    "gmflow": ("gmflow", "GmflowTower"),
    "lpips_alex": ("lpips", "LpipsTower"),
    "lpips_vgg": ("lpips", "LpipsTower"),
    "lpips_squeeze": ("lpips", "LpipsTower"),
}


class Towers:
    """The towers of one run."""

    def __init__(
        self,
        options: Options,
        finder: WeightFinder | None = None,
        store: FeatureStore | None = None,
        judge: Any = None,
    ) -> None:
        self.judge = (
            judge  # who answers questions about clips, `vedit.metrics._judging.Judge`; None for nobody
        )
        self.options, self.finder, self.store = options, finder or WeightFinder(), store or FeatureStore()
        self._towers: dict[str, Tower] = {}

    def get(self, name: str) -> Any:
        """A tower by name; its weights are found at the first feature, loaded at the first missing one."""
        if name not in self._towers:
            module, kind = TOWERS[name]
            made = getattr(importlib.import_module(f"{__name__}.{module}"), kind)
            self._towers[name] = made(name, self.finder, self.options, self.store, self._make_room)
        return self._towers[name]

    @contextmanager
    def open(self, name: str) -> Iterator[Any]:
        """A tower that is dropped from memory on exit."""
        tower = self.get(name)
        try:
            yield tower
        finally:
            tower.free()

    def _make_room(self, newcomer: Tower) -> None:
        for tower in self._towers.values():
            if not newcomer.is_light and not tower.is_light and tower is not newcomer:
                tower.free()

    def free(self) -> None:
        """Drop all networks from memory."""
        for tower in self._towers.values():
            tower.free()

    def provenance(self, name: str) -> dict[str, Any]:
        """File, size, hash, repository and revision of a tower's weights, and the dtype they ran in."""
        found: dict[str, Any] = self.get(name).provenance
        return found
