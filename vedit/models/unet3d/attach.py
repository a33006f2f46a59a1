"""The sites of a 3D U-Net, and rules at them: hooks on the projections of attention and on convolutions.

Temporal attention has one sequence of frames for each pixel, attention within frames one of pixels
for each frame. In time rules see queries and keys before positions turn them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vedit.models.sites import Site
from vedit.models.tensors import Applier, Tensors
from vedit.models.unet3d.unet3d import Attention, ResidualBlock, TemporalAttention

PARTS = {"self": ("q", "k", "v"), "temporal": ("q_pre", "k_pre", "v")}  # in the order of the projection


def tensors_of(kind: str) -> frozenset[str]:
    """What rules can name at sites of a kind."""
    # linear attention within frames folds its output projection into a product of keys and values
    return frozenset(
        {"conv": ("h",), "self": PARTS["self"], "temporal": (*PARTS["temporal"], "out")}.get(kind, ())
    )


def find_sites(network: nn.Module) -> list[Site]:
    """Attention and second convolutions, in forward order; `scale` is how much smaller pictures are there."""
    down, up = list(network.down), list(network.up)
    levels = [
        ("stem_attention", network.stem_attention, 1),
        *((f"down.{place}", level, 2**place) for place, level in enumerate(down)),
        ("middle", network.middle, 2 ** (len(down) - 1)),
        *((f"up.{place}", level, 2 ** (len(up) - 1 - place)) for place, level in enumerate(up)),
        ("last_block", network.last_block, 1),
    ]
    found: list[Site] = []
    for path, level, scale in levels:
        for name, module in level.named_modules(prefix=path):
            if isinstance(module, ResidualBlock):
                found.append(Site(f"{name}.conv2", "conv", -1, scale))
            elif isinstance(module, Attention):
                layer = sum(site.kind != "conv" for site in found)
                found.append(
                    Site(name, "temporal" if isinstance(module, TemporalAttention) else "self", layer, scale)
                )
    return found


@contextmanager
def attached(network: nn.Module, sites: Sequence[Site], applier: Applier) -> Iterator[None]:
    """Let rules act at these sites; the network is itself again on any exit."""
    hooks = []
    try:
        for site in sites:
            module = network.get_submodule(site.path)
            if site.kind == "conv":
                hooks.append(module.register_forward_hook(_features(applier, site.path)))
            else:
                hooks.append(
                    module.qkv.register_forward_hook(
                        _inputs(applier, site.path, module.heads, PARTS[site.kind])
                    )
                )
                if site.kind == "temporal":
                    hooks.append(module.out.register_forward_hook(_output(applier, site.path)))
        yield
    finally:
        for hook in hooks:
            hook.remove()


Hook = Callable[[Any, Any, Tensor], Tensor | None]


def _inputs(applier: Applier, path: str, heads: int, names: tuple[str, ...]) -> Hook:
    def hook(module: Any, inputs: Any, output_TSP: Tensor) -> Tensor | None:
        rules = [*applier.acting(path, "pre"), *applier.acting(path, "qkv")]
        if not rules:
            return None
        # (B*T, S, 3*N*D) -> three of (B, T, N, S, D), T frames or pixels
        parts = (
            output_TSP.unflatten(-1, (3, heads, -1))
            .permute(2, 0, 3, 1, 4)
            .unflatten(1, (len(applier.branches), -1))
        )
        tensors = Tensors(dict(zip(names, parts, strict=True)), applier.branches)
        applier.apply(rules, path, tensors)
        given = torch.stack([tensors.stacked(name) for name in names]).flatten(1, 2)
        return given.permute(1, 3, 0, 2, 4).flatten(2)

    return hook


def _output(applier: Applier, path: str) -> Hook:
    def hook(module: Any, inputs: Any, output_TSC: Tensor) -> Tensor | None:
        return _applied(
            applier,
            path,
            "out",
            output_TSC.unflatten(0, (len(applier.branches), -1)),
            lambda out: out.flatten(0, 1),
        )

    return hook


def _features(applier: Applier, path: str) -> Hook:
    def hook(module: Any, inputs: Any, output_BCFYX: Tensor) -> Tensor | None:
        return _applied(applier, path, "h", output_BCFYX.transpose(1, 2), lambda out: out.transpose(1, 2))

    return hook


def _applied(
    applier: Applier, path: str, name: str, stacked: Tensor, back: Callable[[Tensor], Tensor]
) -> Tensor | None:
    rules = applier.acting(path, "output")
    if not rules:
        return None
    tensors = Tensors({name: stacked}, applier.branches)
    applier.apply(rules, path, tensors)
    return back(tensors.stacked(name))
