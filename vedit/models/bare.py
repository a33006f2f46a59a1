"""A network's shape without its weights, and what its weights take."""

from __future__ import annotations

import copy
from typing import Any

import torch


def rebuilt(part: Any) -> Any:
    """Return a network of the same configuration on the `meta` device, in the dtype that the part has."""
    with torch.device("meta"):
        made = type(part).from_config(copy.deepcopy(dict(part.config)))
    # some layers make a weight on the CPU whatever device is asked for (diffusers' AlphaBlender)
    return made.to("meta", part.dtype).eval().requires_grad_(False)


def weight_bytes(part: Any) -> int:
    return sum(weight.numel() * weight.element_size() for weight in part.parameters())
