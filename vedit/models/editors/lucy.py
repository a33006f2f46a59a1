"""Lucy Edit: a Wan 2.2 transformer that sees the clip beside the noise.

Source: diffusers' LucyEditPipeline. The length of the clip decides that of the result, so it is filled up to
4k + 1 frames before the call; sides are multiples of 32, of which the pipeline checks 16 only. It takes
neither a mask nor a strength.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vedit.models.editors import Licence, Order
from vedit.models.editors.call import pictures, sampled

SUMMARY = "Lucy Edit Dev, a Wan 2.2 that follows instructions of 20 to 30 words."
PIPELINE = "LucyEditPipeline"
MODEL = "decart-ai/Lucy-Edit-Dev"
LICENCE = Licence(
    "LUCY EDIT DEV MODEL Non-Commercial License", "https://huggingface.co/decart-ai/Lucy-Edit-Dev", True
)
SIDE, GRAIN, PACKS, MASKS = 480, 32, 4, False
OWN = ("guidance_2",)


def edit(pipe: Any, frames_FYX3: np.ndarray, order: Order, on_step: Callable[[], None]) -> np.ndarray:
    """The edited frames, uint8. Raises what the pipeline raises."""
    own = {"video": pictures(frames_FYX3), "guidance_scale_2": order.settings["guidance_2"]}
    return sampled(pipe, frames_FYX3, order, on_step, **own)
