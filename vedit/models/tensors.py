"""The tensors of a module in one call, by name and branch, and who changes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

Stage = Literal["inputs", "enter", "pre", "qkv", "maps", "output", "exit", "latents"]
Frames = Literal["each", "call", "keyframes", "all"]
Part = tuple[str, str]  # the name of a tensor, and a branch


class Tensors:
    """The tensors of a module in one call, by name and branch.

    They come stacked, (B, F, ...), and are stacked again only if a rule wrote one.
    """

    def __init__(self, stacked: Mapping[str, Tensor], branches: Mapping[str, int]) -> None:
        self._stacked = dict(stacked)
        self._branches = branches
        self._rows: dict[str, list[Any]] = {}

    def __getitem__(self, part: Part) -> Tensor:
        name, branch = part
        row = (
            self._rows[name][self._branches[branch]]
            if name in self._rows
            else self._stacked[name][self._branches[branch]]
        )
        assert isinstance(row, Tensor)
        return row

    def __setitem__(self, part: Part, value: Tensor) -> None:
        name, branch = part
        if name not in self._rows:
            self._rows[name] = (
                list(self._stacked[name].unbind(0)) if name in self._stacked else [None] * len(self._branches)
            )
        self._rows[name][self._branches[branch]] = value

    def get(self, name: str, branch: str) -> Tensor | None:
        """A tensor that need not have been written, such as a bias."""
        return self._rows[name][self._branches[branch]] if name in self._rows else None

    def rows(self, name: str) -> list[Any]:
        """By branch; their token counts differ where a rule joined tokens."""
        return self._rows[name] if name in self._rows else list(self._stacked[name].unbind(0))

    def stacked(self, name: str) -> Tensor:
        """(B, F, ...); the rows must be of one size."""
        return torch.stack(self._rows[name]) if name in self._rows else self._stacked[name]

    def put(self, name: str, stacked: Tensor) -> None:
        """Give the rows of all branches at once."""
        self._stacked[name] = stacked

    def is_ragged(self, name: str) -> bool:
        return name in self._rows and len({row.shape for row in self._rows[name]}) > 1


class Acting(Protocol):
    """A rule as a family's attention sees it: what it reads and writes, and which frames it has to see."""

    @property
    def frames(self) -> Frames: ...

    @property
    def reads(self) -> frozenset[Part]: ...

    @property
    def writes(self) -> frozenset[Part]: ...


class Applier(Protocol):
    """What a family's attention asks of who controls it. branches: names in batch order, to their place."""

    branches: dict[str, int]

    def acting(self, path: str, stage: Stage) -> Sequence[Acting]:
        """The rules of a stage that act at a module in the current step."""

    def apply(self, rules: Sequence[Any], path: str, tensors: Tensors, frames: slice | None = None) -> None:
        """Apply rules to the tensors of a module. frames: places in the call, where only some are given."""
