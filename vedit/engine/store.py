"""Sums of attention maps over a run, small by construction and predicted before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vedit.errors import MemoryBudgetError, option


@dataclass(frozen=True)
class MapSize:
    """The size of one probe's sum: frames x query tokens x key tokens, float32; the sum is the mean over its
    sites.
    """

    key: str
    frames: int
    queries: int
    keys: int
    sites: int = 1

    @property
    def bytes(self) -> int:
        return 4 * self.frames * self.queries * self.keys


class MapStore:
    """Sums by key: `sums[key]` is (F, Q, K) float32, averaged over heads and sites per step.

    budget: bytes that all sums together may take. Raises MemoryBudgetError before anything runs.
    """

    def __init__(self, sizes: list[MapSize], budget: int = 2 * 2**30) -> None:
        total = sum(size.bytes for size in sizes)
        if total > budget:
            largest = sorted(sizes, key=lambda size: size.bytes, reverse=True)[:3]
            names = ", ".join(f"{size.key} {size.bytes / 2**20:.0f} MiB" for size in largest)
            raise MemoryBudgetError(
                f"attention maps would take {total / 2**20:.0f} MiB, more than {budget / 2**20:.0f} MiB:"
                f" {names}.",
                "Coarser maps or fewer frames at once need less.",
                f"Try {option('window', 8)}, or a smaller {option('size')}",
            )
        self.sizes = {size.key: size for size in sizes}
        self.sums: dict[str, Tensor] = {}

    def add(self, key: str, frames: slice | Sequence[int], maps_FQK: Tensor) -> None:
        """Add one site's maps of some frames to a sum."""
        size = self.sizes[key]
        if key not in self.sums:
            self.sums[key] = torch.zeros(size.frames, size.queries, size.keys, device=maps_FQK.device)
        self.sums[key][frames] += maps_FQK * (1 / size.sites)

    def predicted_bytes(self) -> int:
        return sum(size.bytes for size in self.sizes.values())
