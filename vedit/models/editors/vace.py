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
import torch
from PIL import Image

from vedit.models.editors import Licence, Order, told

SUMMARY = "Wan VACE: makes what a mask leaves open, by a prompt and reference pictures."
PIPELINE = "WanVACEPipeline"
MODEL = "Wan-AI/Wan2.1-VACE-1.3B-diffusers"
LICENCE = Licence("Apache-2.0", "https://huggingface.co/Wan-AI/Wan2.1-VACE-1.3B-diffusers")
SIDE, GRAIN, PACKS, MASKS = 480, 16, 4, True
OWN = ("conditioning_scale", "guidance_2")


def edit(pipe: Any, frames_FYX3: np.ndarray, order: Order, on_step: Callable[[], None]) -> np.ndarray:
    """The edited frames, uint8. Raises what the pipeline raises."""
    settings, (height, width) = order.settings, frames_FYX3.shape[1:3]
    mask_FYX = order.mask_FYX
    if mask_FYX is None:
        mask_FYX = np.full(frames_FYX3.shape[:3], 255, np.uint8)
    given = pipe(
        prompt=order.instruction,
        negative_prompt=settings["negative_prompt"],
        video=[Image.fromarray(frame) for frame in frames_FYX3],
        mask=[Image.fromarray(mask) for mask in mask_FYX],
        reference_images=list(order.references) or None,
        conditioning_scale=settings["conditioning_scale"],
        height=height,
        width=width,
        num_frames=len(frames_FYX3),
        num_inference_steps=settings["steps"],
        guidance_scale=settings["guidance"],
        guidance_scale_2=settings["guidance_2"],
        generator=torch.Generator().manual_seed(order.seed),
        output_type="np",
        callback_on_step_end=told(on_step),
    )
    frames: np.ndarray = np.rint(np.asarray(given.frames[0]).clip(0, 1) * 255).astype(np.uint8)
    return frames
