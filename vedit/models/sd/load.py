"""Load a Stable Diffusion model by name, folder, file or Hub id.

Nothing of a checkpoint is executed: components are stock classes of diffusers and transformers,
weights are safetensors, or pickles read with `weights_only`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vedit.errors import ModelError, UsageError, Warn, option, silent
from vedit.models.adapters import locate
from vedit.models.alpha_bar import AlphaBar, read_schedule
from vedit.models.hub import EMBEDDED, commit_of, find_folder, layout_in, read_json, warn_of_unused
from vedit.models.layout import SDXL, Layout
from vedit.models.lora import merge
from vedit.models.parts import (
    check_tokens,
    check_width,
    clip_tokenizer,
    dtype_of,
    levels_of,
    load_parts,
    put,
)
from vedit.models.place import choose_device, choose_dtype, quiet_libraries
from vedit.models.sd import single_file, single_xl
from vedit.models.sd.model import Model
from vedit.models.sd.xl import XLModel
from vedit.models.sd.xl import check_fit as check_xl


def load_model(
    name: str = EMBEDDED,
    revision: str | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    offload: str = "none",
    lora: Sequence[str] = (),
    warn: Warn = silent,
) -> Model:
    """Load a model: "shapes" (embedded), a folder, a file of weights, or a Hub id with an optional revision.

    offload: "none"; "model" keeps the text encoder and the autoencoder on the CPU between their
    uses; "sequential" also streams the UNet layer by layer through the device (accelerate).
    lora: as in `vedit.models.load`. warn: told of parts of the model that are not used.
    Raises ModelError for weights missing, gated, offline, damaged, or of another family.
    """
    quiet_libraries()
    place = choose_device(device)
    precision = choose_dtype(dtype, place)
    is_file = single_file.is_file(name)
    folder = Path(name) if is_file else find_folder(name, revision)
    layout = single_file.layout(name) if is_file else layout_in(folder)
    loras = locate(lora, layout, name)
    if is_file:
        read = _read_file(name, revision, layout, precision)
    else:
        read = _read_folder(name, folder, layout, precision, warn)
    if layout is SDXL:
        check_xl(name, read.parts, read.own["tokenizer_2"])
    check_fit(name, read.parts, read.tokenizer)
    merged = merge(name, read.parts, loras)
    put(read.parts, place, offload, "unet")
    return (XLModel if layout is SDXL else Model)(
        name,
        commit_of(folder),
        folder,
        **read.parts,
        tokenizer=read.tokenizer,
        schedule=read.schedule,
        device=place,
        dtype=precision,
        offload=offload,
        lora=merged,
        **read.own,
    )


class _Read(NamedTuple):
    """What a folder or a file holds. own: what a model of SDXL has beside the other's: the second tokenizer,
    and what an empty prompt is.
    """

    parts: dict[str, Any]
    tokenizer: Any
    schedule: AlphaBar
    own: dict[str, Any]


def _read_file(name: str, revision: str | None, layout: Layout, precision: torch.dtype) -> _Read:
    if revision is not None:
        raise UsageError(
            f"{name} has no revisions.",
            "They are versions of a model on the Hub.",
            f"Leave out {option('revision')}",
        )
    own: dict[str, Any] = {}
    if layout is SDXL:
        whole, tokenizer, own["tokenizer_2"], scheduler = single_xl.load_parts(name)
    else:
        whole, tokenizer, scheduler = single_file.load_parts(name)
    parts = {part: module.to(dtype_of(part, precision)) for part, module in whole.items()}
    return _Read(parts, tokenizer, read_schedule(scheduler), own)


def _read_folder(name: str, folder: Path, layout: Layout, precision: torch.dtype, warn: Warn) -> _Read:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    index = read_json(folder / "model_index.json", name)
    warn_of_unused(name, index, warn)
    schedule = check_schedule(name, folder)
    classes = {
        "unet": UNet2DConditionModel,
        "vae": AutoencoderKL,
        "text_encoder": CLIPTextModel,
        "text_encoder_2": CLIPTextModelWithProjection,
    }
    parts = load_parts(name, folder, {part: classes[part] for part in layout.weighed}, precision)
    own: dict[str, Any] = {}
    if layout is SDXL:
        own["tokenizer_2"] = clip_tokenizer(name, folder, parts["text_encoder_2"], "tokenizer_2")
        own["zeros"] = bool(index.get("force_zeros_for_empty_prompt", True))
    return _Read(parts, clip_tokenizer(name, folder, parts["text_encoder"]), schedule, own)


def check_schedule(name: str, folder: Path) -> AlphaBar:
    """The noise levels of a folder's scheduler. Raises ModelError."""
    return levels_of(name, folder, _levels, "a noise schedule")


def _levels(config: Mapping[str, Any]) -> AlphaBar:
    schedule = read_schedule(config)
    if not bool(torch.isfinite(schedule.alpha_bar).all()) or len(schedule.alpha_bar) < 2:
        raise ValueError("its noise levels are not numbers from 0 to 1")
    return schedule


def check_fit(name: str, parts: Mapping[str, Any], tokenizer: Any) -> None:
    """Refuse parts that do not belong together: they would fail in the middle of an edit."""
    unet, vae, text = (parts[part].config for part in ("unet", "vae", "text_encoder"))
    check_tokens(name, tokenizer, text)
    if "text_encoder_2" not in parts:  # of two, `check_xl` knows
        widths = unet.cross_attention_dim
        for width in widths if isinstance(widths, (list, tuple)) else [widths]:
            check_width(name, "the UNet reads text", width, "text encoder", text.hidden_size)
    _check_side(name, unet.sample_size)
    _check_scale(name, vae.scaling_factor)
    check_channels(name, int(unet.in_channels), int(vae.latent_channels))


def _check_side(name: str, told: Any) -> None:
    sides = told if isinstance(told, (list, tuple)) else [64 if told is None else told]
    if not all(type(side) is int and 0 < side <= 4096 for side in sides):
        raise ModelError(
            f"{name}: unet/config.json says {str(told)[:40]!a} for sample_size.",
            "It is the side of the latents that it was trained at.",
        )


def _check_scale(name: str, scale: Any) -> None:
    if type(scale) not in (int, float) or not (math.isfinite(scale) and scale != 0):
        raise ModelError(
            f"{name}: vae/config.json says {str(scale)[:40]!a} for scaling_factor.",
            "It is a number that latents are multiplied with.",
        )


def check_channels(name: str, taken: int, given: int) -> None:
    """Refuse a UNet that wants more than latents: inpainting and image-conditioned ones do."""
    if taken != given:
        raise ModelError(
            f"{name}: the UNet takes {taken} channels, and latents have {given}.",
            "It is conditioned on a picture as well, as inpainting models and InstructPix2Pix are; these"
            " methods need a text-to-image model.",
            "See: vedit models list",
        )
