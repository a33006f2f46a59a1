"""Load a Stable Diffusion model by name, folder, file or Hub id.

Nothing of a checkpoint is executed: components are stock classes of diffusers and transformers,
weights are safetensors, or pickles read with `weights_only`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vedit.errors import ModelError, UsageError, Warn, option, silent
from vedit.models.adapters import locate
from vedit.models.alpha_bar import AlphaBar, read_schedule
from vedit.models.hub import (
    EMBEDDED,
    commit_of,
    find_folder,
    first_line,
    layout_in,
    read_json,
    unused_parts,
    whole_again,
)
from vedit.models.layout import SDXL, Layout
from vedit.models.lora import merge
from vedit.models.parts import load_tokenizer, loaded, put
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
    place, precision = choose_device(device), choose_dtype(dtype, choose_device(device))
    is_file = single_file.is_file(name)
    folder = Path(name) if is_file else find_folder(name, revision)
    layout = single_file.layout(name) if is_file else layout_in(folder)
    loras = locate(lora, layout, name)
    # the autoencoder overflows in fp16 on some checkpoints: never below float32 or bf16
    kinds = {
        "unet": precision,
        "vae": torch.float32 if precision == torch.float16 else precision,
        "text_encoder": precision,
        "text_encoder_2": precision,
    }
    own: dict[str, Any] = {}
    if is_file:
        if revision is not None:
            raise UsageError(
                f"{name} has no revisions.",
                "They are versions of a model on the Hub.",
                f"Leave out {option('revision')}",
            )
        if layout is SDXL:
            whole, tokenizer, own["tokenizer_2"], scheduler = single_xl.load_parts(name)
            check_xl(name, whole, own["tokenizer_2"])
        else:
            whole, tokenizer, scheduler = single_file.load_parts(name)
        schedule = read_schedule(scheduler)
        parts = {part: module.to(kinds[part]) for part, module in whole.items()}
    else:
        for part in unused_parts(read_json(folder / "model_index.json", name)):
            warn(
                f"{name}: its {part} is not used: an edit takes the UNet, the autoencoder and the text"
                " encoder"
            )
        schedule = check_schedule(name, folder)
        parts, tokenizer = _parts_of(name, folder, kinds, layout)
    if layout is SDXL and not is_file:
        own = _own_of_xl(name, folder, parts)
    check_fit(name, parts, tokenizer)
    places = int(parts["text_encoder"].config.max_position_embeddings)
    tokenizer.model_max_length = int(
        min(tokenizer.model_max_length, places)
    )  # 1e30 where it has no limit of its own
    check_channels(name, int(parts["unet"].config.in_channels), int(parts["vae"].config.latent_channels))
    merged = merge(name, parts, loras)
    put(parts, place, offload, "unet")
    return (XLModel if layout is SDXL else Model)(
        name,
        commit_of(folder),
        folder,
        **parts,
        tokenizer=tokenizer,
        schedule=schedule,
        device=place,
        dtype=precision,
        offload=offload,
        lora=merged,
        **own,
    )


def _parts_of(
    name: str, folder: Path, kinds: dict[str, torch.dtype], layout: Layout
) -> tuple[dict[str, Any], Any]:
    """The networks of a folder, each in its dtype, and the tokenizer."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    classes = {
        "unet": UNet2DConditionModel,
        "vae": AutoencoderKL,
        "text_encoder": CLIPTextModel,
        "text_encoder_2": CLIPTextModelWithProjection,
    }
    parts = {}
    for part in layout.weighed:
        what = "dtype" if part.startswith("text_encoder") else "torch_dtype"
        parts[part] = loaded(name, folder, part, classes[part], **{what: kinds[part]})
    return parts, load_tokenizer(name, folder, CLIPTokenizer)


def _own_of_xl(name: str, folder: Path, parts: dict[str, Any]) -> dict[str, Any]:
    """What a model of SDXL has beside the other's: the second tokenizer, and what an empty prompt is."""
    from transformers import CLIPTokenizer

    tokenizer = load_tokenizer(name, folder, CLIPTokenizer, "tokenizer_2")
    check_xl(name, parts, tokenizer)
    index = read_json(folder / "model_index.json", name)
    return {"tokenizer_2": tokenizer, "zeros": bool(index.get("force_zeros_for_empty_prompt", True))}


def check_schedule(name: str, folder: Path) -> AlphaBar:
    """The noise levels of a folder's scheduler. Raises ModelError."""
    path = folder / "scheduler" / "scheduler_config.json"
    try:
        schedule = read_schedule(read_json(path, name))
        if not bool(torch.isfinite(schedule.alpha_bar).all()) or len(schedule.alpha_bar) < 2:
            raise ValueError("its noise levels are not numbers from 0 to 1")
        return schedule
    except (ValueError, TypeError, RuntimeError, OverflowError, LookupError, ZeroDivisionError) as error:
        raise ModelError(
            f"{path}: not a noise schedule: {first_line(error)}.", "", whole_again(name, folder)
        ) from None


def check_fit(name: str, parts: dict[str, Any], tokenizer: Any) -> None:
    """Refuse parts that do not belong together: they would fail in the middle of an edit."""
    unet, vae, text = (parts[part].config for part in ("unet", "vae", "text_encoder"))
    words, known = len(tokenizer), int(text.vocab_size)
    if words > known:
        raise ModelError(
            f"{name}: the tokenizer has {words} tokens, and the text encoder knows {known}.",
            "They are not of one model.",
        )
    widths = (
        unet.cross_attention_dim
        if isinstance(unet.cross_attention_dim, (list, tuple))
        else [unet.cross_attention_dim]
    )
    if "text_encoder_2" not in parts and set(widths) != {text.hidden_size}:
        raise ModelError(
            f"{name}: the UNet reads text of width {widths[0]}, and the text encoder gives"
            f" {text.hidden_size}.",
            "They are not of one model.",
        )
    sides = (
        unet.sample_size
        if isinstance(unet.sample_size, (list, tuple))
        else [64 if unet.sample_size is None else unet.sample_size]
    )
    if not all(type(side) is int and 0 < side <= 4096 for side in sides):
        raise ModelError(
            f"{name}: unet/config.json says {str(unet.sample_size)[:40]!a} for sample_size.",
            "It is the side of the latents that it was trained at.",
        )
    scale = vae.scaling_factor
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
