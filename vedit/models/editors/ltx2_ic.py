"""LTX-2 in context: a video transformer that sees the clip as further tokens, by a LoRA that was trained to.

Source: diffusers' LTX2InContextPipeline. The base model makes pictures and sound from text; which use it
makes of a clip beside the noise is what an IC-LoRA has learnt (control, restoring, an edit), so it is asked
for. A LoRA fits the version of the base that it was trained on. Times of frames are told in seconds, so the
call is told the clip's rate. Frames are 8k + 1, sides multiples of 32; where a LoRA was trained to see its
clip smaller, which its header tells, of as many times 32. The sound that it makes is let go: the source's
stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vedit.errors import ModelError, UsageError, option
from vedit.models.editors import Licence, Order
from vedit.models.editors.call import pictures, sampled

SUMMARY = "LTX-2 in context: what an IC-LoRA has learnt to make of a clip."
PIPELINE = "LTX2InContextPipeline"
ALSO = ("LTX2Pipeline", "LTX2ConditionPipeline", "LTX2ImageToVideoPipeline")
MODEL = "diffusers/LTX-2.3-Diffusers"
LICENCE = Licence("LTX-2 Community License", "https://huggingface.co/Lightricks/LTX-2", True)
SIDE, GRAIN, PACKS, MASKS = 512, 32, 8, False
LEAST = 64  # two latent cells: the decoder mirrors them at the edge
OWN = ("reference_strength", "reference_downscale", "stg")
DOWNSCALE = "reference_downscale_factor"  # in the header of an IC-LoRA
MOST_DOWNSCALE = 8
STG_BLOCK = 28  # whose attention is left out in the pass that STG leads away from


def check(model: str, lora: list[str] | tuple[str, ...]) -> None:
    """Raises UsageError where there is nothing that heeds the clip."""
    if model == MODEL and not lora:
        raise UsageError(
            f"{MODEL} makes clips from text, and heeds a clip by a LoRA alone.",
            "An IC-LoRA has learnt what to make of it: to control, to restore, to edit.",
            f"Add {option('lora', 'OWNER/NAME')}, one that was trained on this base",
        )


def settle(settings: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
    """The settings with the factor that a LoRA's header tells, where none is given. Raises ModelError."""
    given = settings["reference_downscale"]
    told = headers.get(DOWNSCALE, "1")
    if given is None and not (told.isdecimal() and 1 <= int(told) <= MOST_DOWNSCALE):
        raise ModelError(
            f"the LoRA's header says {told[:40]!a} for {DOWNSCALE}.",
            f"It is a whole number from 1 to {MOST_DOWNSCALE}.",
            f"Give it: {option('set.reference_downscale', 1)}",
        )
    return {**settings, "reference_downscale": int(told) if given is None else given}


def grain(settings: Mapping[str, Any]) -> int:
    """Sides are filled up to multiples of this: the clip is seen smaller by a whole factor."""
    return GRAIN * int(settings["reference_downscale"] or 1)


def edit(pipe: Any, frames_FYX3: np.ndarray, order: Order, on_step: Callable[[], None]) -> np.ndarray:
    """The edited frames, uint8. Raises what the pipeline raises."""
    from diffusers.pipelines.ltx2.pipeline_ltx2_ic_lora import LTX2ReferenceCondition

    settings = order.settings
    own = {
        "reference_conditions": [LTX2ReferenceCondition(frames=pictures(frames_FYX3))],
        "reference_downscale_factor": settings["reference_downscale"],
        "conditioning_attention_strength": settings["reference_strength"],
        "frame_rate": order.fps,
        "stg_scale": settings["stg"],
        "audio_stg_scale": settings["stg"],
        "spatio_temporal_guidance_blocks": [min(STG_BLOCK, len(pipe.transformer.transformer_blocks) - 1)],
    }
    return sampled(pipe, frames_FYX3, order, on_step, **own)
