"""VACE: a Wan transformer that makes what a mask leaves open, and may see pictures to be like.

Source: diffusers' WanVACEPipeline. A mask is white where it is made anew and black where it is kept, the
other way round than Wan's image-to-video models have it; without a mask everything is. What is open reaches
the network as middle grey. What is kept is altered a little all the same, which is why the caller puts the
source's own pixels back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vedit.models.editors import Licence, Order
from vedit.models.editors.call import pictures, sampled

SUMMARY = "Wan VACE: makes what a mask leaves open, by a prompt and reference pictures."
PIPELINE = "WanVACEPipeline"
MODEL = "Wan-AI/Wan2.1-VACE-1.3B-diffusers"
LICENCE = Licence("Apache-2.0", "https://huggingface.co/Wan-AI/Wan2.1-VACE-1.3B-diffusers")
SIDE, GRAIN, PACKS, MASKS = 480, 16, 4, True
OWN = ("conditioning_scale", "guidance_2")


def edit(pipe: Any, frames_FYX3: np.ndarray, order: Order, on_step: Callable[[], None]) -> np.ndarray:
    """The edited frames, uint8. Raises what the pipeline raises."""
    mask_FYX, settings = order.mask_FYX, order.settings
    if mask_FYX is None:
        mask_FYX = np.full(frames_FYX3.shape[:3], 255, np.uint8)
    own = {
        "video": pictures(frames_FYX3),
        "mask": pictures(mask_FYX),
        "reference_images": list(order.references) or None,
        "conditioning_scale": settings["conditioning_scale"],
        "guidance_scale_2": settings["guidance_2"],
    }
    return sampled(pipe, frames_FYX3, order, on_step, **own)
