"""Text-to-set inflation: a layer over frames behind every transformer block of a UNet, to be tuned.

    x <- x + W_out Attn(LN(x))        over the frames, at each pixel, behind the feed-forward layer

Source: Wu et al. 2022 (Tune-A-Video) and Liu et al. 2023 (Video-P2P); docs/methods.md 3.1. Convolutions see
one frame at a time as they are (1x3x3). W_out and its bias start as zero, so that an inflated network
is the image network bit for bit until it is tuned. The layer acts only where a rule of the plan names
its site (`temporal`); without a plan the network edits pictures as before.
Deviation: norms stay those of single frames, where the published code runs them over all.
Shape letters: B branches, F frames, T tokens (pixels), C channels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

TEMPORAL = "attn_temp"
NORM = "norm_temp"
QUERIES = ("attn1.to_q", "attn2.to_q")  # tuned beside the layers over frames
SEED = 33  # of the first weights over frames; they do not matter until W_out has moved


def is_inflated(unet: Any) -> bool:
    """Whether there are layers over frames."""
    return any(hasattr(block, TEMPORAL) for _, block in _blocks(unet))


def inflate(unet: Any) -> Any:
    """A copy with layers over frames. Weights are shared, but for those that tuning changes."""
    shared = {id(weight): weight for weight in (*unet.parameters(), *unet.buffers())}
    inflated = copy.deepcopy(unet, shared)
    own = torch.Generator().manual_seed(SEED)
    for _, block in _blocks(inflated):
        _add_layer(block, own)
        for query in (block.attn1.to_q, getattr(block.attn2, "to_q", None)):
            if query is not None:
                query.weight = nn.Parameter(query.weight.detach().clone(), requires_grad=False)
    return inflated


def _blocks(unet: Any) -> Iterator[tuple[str, Any]]:
    for path, module in unet.named_modules():
        if getattr(module, "attn1", None) is not None:
            yield path, module


def _add_layer(block: Any, generator: torch.Generator) -> None:
    from diffusers.models.attention_processor import Attention

    weight = block.attn1.to_q.weight
    inner, width = weight.shape
    with torch.device("meta"):
        attention = Attention(query_dim=width, heads=block.attn1.heads, dim_head=inner // block.attn1.heads)
        norm = nn.LayerNorm(width)
    if weight.device.type != "meta":
        _fill(attention, norm, weight, generator)
    for name, part in ((NORM, norm), (TEMPORAL, attention)):
        setattr(block, name, part.to(weight.dtype).eval().requires_grad_(False))


def _fill(attention: Any, norm: nn.LayerNorm, like: Tensor, generator: torch.Generator) -> None:
    """First weights: projections as `nn.Linear` has them, drawn on the CPU; nothing comes out."""
    attention.to_empty(device="cpu")
    norm.to_empty(device="cpu")
    with torch.no_grad():
        norm.weight.fill_(1)
        norm.bias.fill_(0)
        for projection in (attention.to_q, attention.to_k, attention.to_v):
            bound = projection.in_features**-0.5
            projection.weight.uniform_(-bound, bound, generator=generator)
        attention.to_out[0].weight.fill_(0)
        attention.to_out[0].bias.fill_(0)
    attention.to(like.device)
    norm.to(like.device)


def tunable(unet: Any) -> dict[str, nn.Parameter]:
    """What tuning changes, by path: the queries of both kinds of attention, and the layers over frames."""
    found = {}
    for path, block in _blocks(unet):
        for name, weight in block.named_parameters(prefix=path):
            below = name.removeprefix(f"{path}.")
            if below.startswith((*QUERIES, f"{TEMPORAL}.", f"{NORM}.")):
                found[name] = weight
    return found


def load_tuned(unet: Any, weights: Mapping[str, Tensor]) -> None:
    """Put tuned weights in place, in the network's precision."""
    with torch.no_grad():
        for name, weight in tunable(unet).items():
            weight.copy_(weights[name])


@contextmanager
def being_tuned(unet: Any) -> Iterator[dict[str, nn.Parameter]]:
    """The tunable weights, in float32 at least and with gradients, while inside."""
    weights = tunable(unet)
    before = {name: weight.dtype for name, weight in weights.items()}
    try:
        for weight in weights.values():
            weight.data = weight.data.to(torch.promote_types(weight.dtype, torch.float32))
            weight.requires_grad_(True)
        yield weights
    finally:
        for name, weight in weights.items():
            weight.requires_grad_(False)
            weight.grad = None
            weight.data = weight.data.to(before[name])


class OverFrames:
    """A hook that runs the layer over frames behind a transformer block.

    branches: how many there are in a call; is_on: whether a rule wants the layer in this step.
    """

    def __init__(self, branches: int, is_on: Callable[[], bool]) -> None:
        self.branches, self.is_on = branches, is_on

    def __call__(self, block: Any, inputs: Any, output: Tensor) -> Tensor | None:
        if not self.is_on():
            return None
        frames = len(output) // self.branches
        along_F = output.unflatten(0, (self.branches, frames)).transpose(1, 2).flatten(0, 1)  # (B T, F, C)
        added = getattr(block, TEMPORAL)(getattr(block, NORM)(along_F))
        along_F = along_F + added.to(along_F)
        return along_F.unflatten(0, (self.branches, -1)).transpose(1, 2).flatten(0, 1)
