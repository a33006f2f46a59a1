"""Where a model lies and in which precision it runs: device, dtype and offload are decided here, once."""

from __future__ import annotations

from typing import Any

import torch

from vedit.errors import UsageError, nearest

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def choose_device(name: str = "auto") -> torch.device:
    """auto: cuda, then mps, then cpu. Raises ModelError for a device that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"the device {name} cannot be used: {str(error).splitlines()[0]}.",
            "It is one of auto, cpu, cuda, cuda:N, mps.",
            "See: vedit env",
        ) from None
    return device


def choose_dtype(name: str, device: torch.device, half: torch.dtype = torch.float16) -> torch.dtype:
    """auto: half precision on a GPU, of that kind, and float32 on a CPU."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else half
    if name not in DTYPES:
        raise UsageError(
            f"the dtype {name!r} is not known{nearest(name, DTYPES) or '.'}",
            f"It is auto or one of {', '.join(DTYPES)}.",
        )
    return DTYPES[name]


class OnDevice:
    """Bring a part to the device for a while, if it is kept elsewhere."""

    def __init__(self, part: Any, device: torch.device) -> None:
        self.part = part
        self.device = device
        self.home = next(part.parameters()).device

    def __enter__(self) -> None:
        if self.home != self.device:
            self.part.to(self.device)

    def __exit__(self, *error: object) -> None:
        if self.home != self.device:
            self.part.to(self.home)


def quiet_libraries() -> None:
    """Loading takes under a second from disk: their bars and notices would only be noise."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for logging in (diffusers_logging, transformers_logging):
        logging.disable_progress_bar()
        logging.set_verbosity_error()
