"""How much memory a run will take, before it takes any: the same calls on tensors without contents.

Networks are rebuilt on the `meta` device, where tensors have shapes and no storage, and one call is
made with the rules of the plan in place; what lives at once is counted. Convolutions and
matrix products also borrow workspace that no tensor shows: `MARGIN` allows for it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from vedit.engine.controller import Controller, Pass
from vedit.engine.inflation import Inflation, inflated_controller
from vedit.engine.rules import Plan
from vedit.engine.sample import ask
from vedit.media.memory import free_memory
from vedit.models.family import Model, Network, Tunable

MARGIN = 1.25


class Live(TorchDispatchMode):
    """Count the bytes of tensors made inside that are alive at once; `peak` is the most."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {part.untyped_storage()._cdata for part in _tensors((args, kwargs))}
        out = func(*args, **(kwargs or {}))
        for part in _tensors(out):
            storage = part.untyped_storage()
            if storage._cdata not in given:
                self.storages[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.storages = {key: entry for key, entry in self.storages.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.storages.values()))
        return out


def _tensors(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, dict):
        return [found for value in tree.values() for found in _tensors(value)]
    if isinstance(tree, (list, tuple)):
        return [found for value in tree for found in _tensors(value)]
    return []


class _Fused(TorchFunctionMode):
    """Fused attention, which the `meta` device lacks: its result, without the map."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            return torch.empty_like(args[0] if args else kwargs["query"])
        return func(*args, **(kwargs or {}))


def peak_of(call: Callable[[], Any]) -> int:
    """Bytes that live at once while a function of `meta` tensors runs."""
    live = Live()
    with torch.no_grad(), _Fused(), live:
        call()
    return live.peak


class Need(NamedTuple):
    """Bytes: weights on the device, what one call takes at most, and what is held between calls."""

    weights: int
    working: int
    held: int

    @property
    def total(self) -> int:
        return self.weights + self.working + self.held


def network_peak(
    network: Network,
    plan: Plan,
    branches: tuple[str, ...],
    frames: int,
    latent_size: tuple[int, int],
) -> int:
    """What a call of the network with the plan's rules takes, at the step with the most of them.

    frames: that go through at once.
    """
    copy, (rows, width) = network.on_meta(), network.text_shape
    steps = max((len(rule.steps) for rule in plan.rules), default=1)
    busiest = max(range(steps), key=lambda step: sum(rule.acts(step) for rule in plan.rules))
    keys = [key for rule in plan.rules if rule.acts(busiest) for key in rule.keyframes(busiest)]
    controller = Controller(
        copy, plan, branches, max([frames, *(key + 1 for key in keys)]), latent_size, network.text_tokens
    )

    def call(part: Pass) -> None:
        count = len(range(controller.total)[part.frames] if isinstance(part.frames, slice) else part.frames)
        size, dtype = (len(branches), count), network.network_dtype
        batch = torch.empty(*size, network.channels, *latent_size, device="meta", dtype=dtype)
        text = torch.empty(*size, rows, width, device="meta", dtype=dtype)
        with controller.installed(), controller.call_of(busiest, part):
            ask(copy, batch, 1, text)

    # the first call of each kind takes as much as any
    kinds = {part.is_key_pass: part for part in reversed(list(controller.passes(busiest, frames)))}
    peaks = [peak_of(partial(call, kinds[kind])) for kind in sorted(kinds, reverse=True)]
    return max(peaks) - controller.store.predicted_bytes()


def tuning_peak(model: Tunable, inflation: Inflation, frames: int, latent_size: tuple[int, int]) -> int:
    """What a step of tuning takes: what a pass keeps for the way back, and four float32 for each weight.

    The four are the weight itself, its gradient and the two moments of the optimizer.
    """
    copy = model.on_meta()
    for weight in copy.tunable().values():
        weight.requires_grad_(True)
    text = torch.empty(1, frames, *model.text_shape, device="meta", dtype=model.network_dtype)
    return backwards_peak(copy, inflation, text, latent_size) + 4 * 4 * sum(
        weight.numel() for weight in copy.tunable().values()
    )


def null_peak(model: Any, inflation: Inflation, frames: int, latent_size: tuple[int, int]) -> int:
    """What a step of optimising null embeddings takes for some frames at once."""
    text = torch.empty(1, frames, *model.text_shape, device="meta", dtype=model.network_dtype)
    return backwards_peak(model.on_meta(), inflation, text.requires_grad_(), latent_size)


def backwards_peak(copy: Any, inflation: Inflation, text_1FLE: Tensor, latent_size: tuple[int, int]) -> int:
    """What a pass of a network on `meta` keeps for the way back, the way there included."""
    frames, dtype = text_1FLE.shape[1], text_1FLE.dtype
    controller = inflated_controller(copy, inflation, "src", 1, frames, latent_size)

    def call() -> None:
        batch = torch.empty(1, frames, copy.channels, *latent_size, device="meta", dtype=dtype)
        told = nullcontext() if controller is None else controller.call(0, slice(0, frames))
        with torch.enable_grad(), copy.checkpointing(), told:
            ask(copy, batch, 1, text_1FLE)

    with nullcontext() if controller is None else controller.installed():
        return peak_of(call)


def codec_peak(model: Model, frames: int, latent_size: tuple[int, int]) -> int:
    """What the codec takes for some frames, in whichever direction takes more."""
    return max(peak_of(call) for call in model.codec_on_meta(frames, latent_size))


def available(device: torch.device) -> int | None:
    """Bytes that are free on a device, or None where nothing tells."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return free_memory()
