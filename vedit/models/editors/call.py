"""The call of a pipeline that takes a clip and gives one, as these editors share it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from vedit.models.editors import Order
from vedit.models.pipelines import to_frames, told


def sampled(
    pipe: Any, frames_FYX3: np.ndarray, order: Order, on_step: Callable[[], None], **own: Any
) -> np.ndarray:
    """What a pipeline makes of a clip, uint8 and as many and as large frames. own: further arguments.

    Raises what the pipeline raises.
    """
    height, width = frames_FYX3.shape[1:3]
    given = pipe(
        prompt=order.instruction,
        negative_prompt=order.settings["negative_prompt"],
        height=height,
        width=width,
        num_frames=len(frames_FYX3),
        num_inference_steps=order.settings["steps"],
        guidance_scale=order.settings["guidance"],
        generator=torch.Generator().manual_seed(order.seed),
        output_type="np",
        callback_on_step_end=told(on_step),
        **own,
    )
    return to_frames(given.frames)


def pictures(frames_FYX: np.ndarray) -> list[Image.Image]:
    """Frames as pipelines take them; masks of one channel are pictures too."""
    return [Image.fromarray(frame) for frame in frames_FYX]
