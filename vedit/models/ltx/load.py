"""Load LTX-Video from its folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

from vedit.errors import ModelError
from vedit.models.clip_load import Read, load_clips
from vedit.models.flow import Moving, read_moving
from vedit.models.ltx.model import LTXModel
from vedit.models.ltx.network import Grid
from vedit.models.ltx.side import NATIVE
from vedit.models.parts import levels_of

CONDITION = "LTXConditionPipeline"  # of 0.9.5 and later, whose call differs in what no configuration tells
LONGEST_TEXT, LONGEST_TEXT_BEFORE = 256, 128  # tokens that its pipeline reads, and that of models before


def load_folder(name: str, folder: Path, **options: Any) -> LTXModel:
    """Load a folder that `find_folder` has looked through; options and errors as of `load_clips`."""
    model = load_clips(LTXModel, _own, name, folder, **options)
    width, height, frames, rate = NATIVE
    return model.for_clip((width, height), frames, rate)


def _own(read: Read) -> dict[str, Any]:
    """What LTX-Video has beside others. Raises ModelError for what is not known."""
    vae, is_late = read.parts["vae"], read.index.get("_class_name") == CONDITION
    _check_patches(read.name, read.parts["transformer"].config)
    _check_scales(read.name, vae)
    levels = levels_of(read.name, read.folder, partial(read_moving, is_quadratic=is_late), "levels of a flow")
    longest = LONGEST_TEXT if is_late else LONGEST_TEXT_BEFORE
    return {
        "schedule": levels.flow if isinstance(levels, Moving) else levels,
        "moving": levels if isinstance(levels, Moving) else None,
        "text_tokens": int(min(longest, read.tokenizer.model_max_length)),
        "grid": Grid(
            int(vae.spatial_compression_ratio), int(vae.temporal_compression_ratio), is_causal=is_late
        ),
        "hides_padding": is_late,  # before, T5 saw the padding too
    }


def _check_patches(name: str, transformer: Any) -> None:
    if int(transformer.patch_size) != 1 or int(transformer.patch_size_t) != 1:
        raise ModelError(
            f"{name}: the transformer joins latents into patches, which is not known.",
            "LTX-Video's have a token for each.",
        )


def _check_scales(name: str, vae: Any) -> None:
    std = vae.latents_std
    if not bool(torch.isfinite(std).all()) or bool((std <= 0).any()):
        raise ModelError(f"{name}: its codec's latents_std are not numbers above 0.")
