"""Load LTX-Video from its folder.

Nothing of a checkpoint is executed: components are stock classes of diffusers and transformers,
weights are safetensors, or pickles read with `weights_only`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vedit.errors import ModelError, Warn, silent
from vedit.models.adapters import Found
from vedit.models.flow import Flow, Moving, read_moving
from vedit.models.hub import commit_of, first_line, read_json, whole_again
from vedit.models.lora import merge
from vedit.models.ltx.model import LTXModel
from vedit.models.ltx.network import Grid
from vedit.models.ltx.side import NATIVE
from vedit.models.parts import parts_of_clips, put, tokenizer_of
from vedit.models.place import choose_device, choose_dtype, quiet_libraries

CONDITION = "LTXConditionPipeline"  # of 0.9.5 and later, whose call differs in what no configuration tells
LONGEST_TEXT = {CONDITION: 256}
LONGEST_TEXT_ELSE = 128


def load_folder(
    name: str,
    folder: Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    offload: str = "none",
    lora: Sequence[Found] = (),
    warn: Warn = silent,
) -> LTXModel:
    """Load a folder that `find_folder` has looked through.

    dtype: auto is bf16 on a GPU, as these models were trained, and fp32 on a CPU. offload: "none"; "model"
    keeps on the CPU what is not in use; "sequential" also streams the transformer layer by layer through the
    device. lora: what is merged into its parts. Raises ModelError for weights missing or damaged.
    """
    quiet_libraries()
    place = choose_device(device)
    precision = choose_dtype("bf16" if dtype == "auto" and place.type != "cpu" else dtype, place)
    index = read_json(folder / "model_index.json", name)
    parts, tokenizer = parts_of_clips(name, folder, index, precision), tokenizer_of(name, folder, index)
    _check_fit(name, parts, tokenizer)
    merged = merge(name, parts, lora)
    put(parts, place, offload)
    pipeline, vae = str(index.get("_class_name")), parts["vae"]
    schedule = _schedule(name, folder, pipeline)
    longest = LONGEST_TEXT.get(pipeline, LONGEST_TEXT_ELSE)
    width, height, frames, rate = NATIVE
    model = LTXModel(
        name=name,
        revision=commit_of(folder),
        folder=folder,
        **parts,
        tokenizer=tokenizer,
        schedule=schedule if isinstance(schedule, Flow) else schedule.at(1),
        device=place,
        dtype=precision,
        text_tokens=int(min(longest, tokenizer.model_max_length)),
        grid=Grid(
            int(vae.spatial_compression_ratio),
            int(vae.temporal_compression_ratio),
            is_causal=pipeline == CONDITION,
        ),
        moving=schedule if isinstance(schedule, Moving) else None,
        hides_padding=pipeline == CONDITION,
        offload=offload,
        lora=merged,
    )
    return model.for_clip((width, height), frames, rate)


def _schedule(name: str, folder: Path, pipeline: str) -> Flow | Moving:
    path = folder / "scheduler" / "scheduler_config.json"
    try:
        return read_moving(read_json(path, name), is_quadratic=pipeline == CONDITION)
    except (ValueError, TypeError, OverflowError, LookupError, ZeroDivisionError) as error:
        raise ModelError(
            f"{path}: not levels of a flow: {first_line(error)}.", "", whole_again(name, folder)
        ) from None


def _check_fit(name: str, parts: Mapping[str, Any], tokenizer: Any) -> None:
    """Refuse parts that do not belong together: they would fail in the middle of an edit."""
    text, vae, transformer = (parts[part].config for part in ("text_encoder", "vae", "transformer"))
    if len(tokenizer) > int(text.vocab_size):
        raise ModelError(
            f"{name}: the tokenizer has {len(tokenizer)} tokens, and the text encoder knows"
            f" {text.vocab_size}.",
            "They are not of one model.",
        )
    if int(transformer.caption_channels) != int(text.d_model):
        raise ModelError(
            f"{name}: the transformer reads text of width {transformer.caption_channels}, and the text"
            f" encoder gives {text.d_model}.",
            "They are not of one model.",
        )
    if not int(transformer.in_channels) == int(transformer.out_channels) == int(vae.latent_channels):
        raise ModelError(
            f"{name}: the transformer takes {transformer.in_channels} channels and gives"
            f" {transformer.out_channels}, and latents have {vae.latent_channels}.",
            "They are not of one model.",
        )
    if int(transformer.patch_size) != 1 or int(transformer.patch_size_t) != 1:
        raise ModelError(
            f"{name}: the transformer joins latents into patches, which is not known.",
            "LTX-Video's have a token for each.",
        )
    std = parts["vae"].latents_std
    if not bool(torch.isfinite(std).all()) or bool((std <= 0).any()):
        raise ModelError(f"{name}: its codec's latents_std are not numbers above 0.")
