"""InstructPix2Pix on each frame, with one noise for all.

Source: Brooks et al. 2023; diffusers' StableDiffusionInstructPix2PixPipeline. Frames know nothing of each
other: what keeps them alike is that they start from the same noise and get the same in every step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from vedit.models.editors import Licence, Order
from vedit.models.editors.call import pictures
from vedit.models.pipelines import to_frames, told

SUMMARY = "InstructPix2Pix, frame by frame with shared noise."
PIPELINE = "StableDiffusionInstructPix2PixPipeline"
MODEL = "timbrooks/instruct-pix2pix"
LICENCE = Licence("MIT", "https://huggingface.co/timbrooks/instruct-pix2pix")
SIDE, GRAIN, PACKS, MASKS = 512, 8, 1, False
OWN = ("image_guidance",)


def edit(pipe: Any, frames_FYX3: np.ndarray, order: Order, on_step: Callable[[], None]) -> np.ndarray:
    """The edited frames, uint8. Raises what the pipeline raises."""
    parts = np.array_split(frames_FYX3, -(-len(frames_FYX3) // order.frames_per_call))
    return np.concatenate([_some(pipe, part, order, on_step) for part in parts])


def _some(pipe: Any, frames_FYX3: np.ndarray, order: Order, on_step: Callable[[], None]) -> np.ndarray:
    count, (height, width) = len(frames_FYX3), frames_FYX3.shape[1:3]
    scale = pipe.vae_scale_factor
    shape = (1, pipe.vae.config.latent_channels, height // scale, width // scale)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(order.seed))
    settings = order.settings
    given = pipe(
        [order.instruction] * count,
        pictures(frames_FYX3),
        num_inference_steps=settings["steps"],
        guidance_scale=settings["guidance"],
        image_guidance_scale=settings["image_guidance"],
        negative_prompt=[settings["negative_prompt"]] * count,
        latents=noise.expand(count, -1, -1, -1).to(pipe.device, pipe.unet.dtype),
        # samplers that draw noise in every step draw the same for each frame
        generator=[torch.Generator().manual_seed(order.seed + 1) for _ in range(count)],
        output_type="np",
        callback_on_step_end=told(on_step),
    )
    return to_frames(given.images)
