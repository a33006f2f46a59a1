"""Add to the logits of attention: a mask of keys, or a map of any values, within fused attention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vedit.engine.rules.rule import Call, Rule, Steps, parts
from vedit.models.sites import Select
from vedit.models.tensors import Part, Stage, Tensors


def _add(tensors: Tensors, branch: str, bias: Tensor) -> None:
    before = tensors.get("bias", branch)
    tensors["bias", branch] = bias if before is None else before + bias


@dataclass(frozen=True)
class Bias(Rule):
    """Add `values(call)` to the logits, after the scale and before the softmax.

    values: (F or 1, N or 1, Q or 1, K) in the units of the logits, in any float dtype.
    """

    stage: Stage = field(default="qkv", init=False)
    select: Select
    branches: tuple[str, ...]
    values: Callable[[Call], Tensor] = field(compare=False)
    steps: Steps
    name: str = "bias"
    order: int | None = None

    @property
    def writes(self) -> frozenset[Part]:
        return parts(("bias",), self.branches)

    def apply(self, tensors: Tensors, call: Call) -> None:
        for branch in self.branches:
            _add(tensors, branch, self.values(call).to(tensors["q", branch]))


@dataclass(frozen=True)
class KeyMask(Rule):
    """Let `branches` attend only to the keys where the mask is 1.

    mask: (F or 1, 1, Y, X) of any size; brought to the module's grid by the nearest cell. Keys of
    several frames or branches joined repeat it. A frame whose mask is empty attends to all.
    """

    stage: Stage = field(default="qkv", init=False)
    select: Select
    branches: tuple[str, ...]
    mask: Tensor = field(compare=False)
    steps: Steps
    name: str = "key mask"
    order: int | None = None

    @property
    def reads(self) -> frozenset[Part]:
        return parts("k", self.branches)

    @property
    def writes(self) -> frozenset[Part]:
        return parts(("bias",), self.branches)

    def apply(self, tensors: Tensors, call: Call) -> None:
        for branch in self.branches:
            keys_FNKD = tensors["k", branch]
            open_FK = call.mask(self.mask, keys_FNKD.device).flatten(1)
            open_FK = open_FK | ~open_FK.any(1, keepdim=True)  # a row without a key would be 0 / 0
            open_FK = open_FK.repeat(1, keys_FNKD.shape[2] // open_FK.shape[1])
            closed = torch.full((), float("-inf"), dtype=keys_FNKD.dtype, device=keys_FNKD.device)
            _add(tensors, branch, torch.where(open_FK, torch.zeros_like(closed), closed)[:, None, None, :])
