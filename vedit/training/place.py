"""Where a task trains: one device, or several processes that average their gradients.

Several are joined by `accelerate` from the variables that its launcher, torchrun or `vedit train --launch`
set; one process needs neither.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vedit.errors import ModelError

# glibc's malloc.h: what `mallopt` sets, with the value that keeps freed memory and the one it starts with
MALLOC_OPTIONS = {-4: (0, 65536), -1: (2**31 - 1, 128 * 1024)}  # M_MMAP_MAX, M_TRIM_THRESHOLD

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Place:
    """This process among the `world` that train together; rank 0 writes."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rank: int = 0
    world: int = 1

    @property
    def writes(self) -> bool:
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, averaging gradients over all processes when there are several."""
        if self.world == 1:
            return model
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(
            model, device_ids=[self.device] if self.device.type == "cuda" else None
        )

    def without_sync(self, model: nn.Module, *, keep: bool) -> AbstractContextManager[Any]:
        """Leave the averaging of gradients to a later backward pass, unless `keep`."""
        return model.no_sync() if self.world > 1 and not keep else nullcontext()

    def mean(self, values: Tensor) -> Tensor:
        """The mean of a tensor over all processes."""
        if self.world > 1:
            torch.distributed.all_reduce(values)
            values = values / self.world
        return values

    def any(self, claim: bool) -> bool:
        """Whether the claim is true in any process."""
        return (
            bool(self.mean(torch.tensor(float(claim), device=self.device)) > 0) if self.world > 1 else claim
        )

    def wait(self) -> None:
        """Go on when every process has come here."""
        if self.world > 1:
            torch.distributed.barrier()


def join(device: str) -> Place:
    """The place of this process; the others are met where the environment says they are."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Place(torch.device(device))
    try:
        from accelerate import PartialState
    except ImportError:
        raise ModelError(
            "several processes need accelerate, not installed here.",
            "",
            'Install with: pip install "vedit[diffusion]"',
        ) from None
    state = PartialState(cpu=device == "cpu")
    return Place(state.device, state.process_index, state.num_processes)


def leave() -> None:
    """Part from the other processes at the end."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep what one step frees for the next; does nothing where the C library is not glibc.

    A step on a CPU asks again and again for tensors of tens of MiB. glibc takes each from the system
    and gives it back, and the system clears its pages: up to a third of the step's processor time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    try:
        _set_malloc(mallopt, 0)
        yield
    finally:
        _set_malloc(mallopt, 1)


def _set_malloc(mallopt: Any, column: int) -> None:
    for option, values in MALLOC_OPTIONS.items():
        if mallopt is not None:
            mallopt(option, values[column])
