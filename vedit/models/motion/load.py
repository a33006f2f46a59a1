"""Load a video model from its folder, or make one of a Stable Diffusion model and a motion adapter.

Nothing of a checkpoint is executed: components are stock classes of diffusers and transformers,
weights are safetensors, or pickles read with `weights_only`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from vedit.errors import ModelError, Warn, option, silent
from vedit.models.adapters import HUB_ID, Found
from vedit.models.alpha_bar import AlphaBar, read_schedule
from vedit.models.checked import check_part
from vedit.models.hub import (
    BUILTIN,
    EMBEDDED,
    EMBEDDED_MOTION,
    commit_of,
    first_line,
    read_json,
    unused_parts,
    weights_in,
    whole_again,
    with_adapter,
)
from vedit.models.layout import ANIMATEDIFF, I2VGEN, SVD, Layout
from vedit.models.lora import merge
from vedit.models.motion.karras import read_karras
from vedit.models.motion.model import FirstFrameModel, MotionModel, VideoDiffusionModel
from vedit.models.parts import load_tokenizer, loaded, put
from vedit.models.place import choose_device, choose_dtype, quiet_libraries
from vedit.models.sd.load import check_fit, check_schedule
from vedit.models.sd.load import load_model as load_pictures
from vedit.models.sd.model import Model

PUBLISHED = {  # what the published adapters were trained with, by their model cards
    "beta_schedule": "linear",
    "timestep_spacing": "linspace",
    "steps_offset": 1,
}


def load_motion(
    name: str,
    folder: Path,
    layout: Layout,
    *,
    device: str = "auto",
    dtype: str = "auto",
    offload: str = "none",
    lora: Sequence[Found] = (),
    warn: Warn = silent,
) -> MotionModel | FirstFrameModel | VideoDiffusionModel:
    """Load a folder that `find_folder` has looked through; options as in `vedit.models.load`.

    Raises ModelError for weights missing or damaged.
    """
    quiet_libraries()
    place, precision = choose_device(device), choose_dtype(dtype, choose_device(device))
    for part in unused_parts(read_json(folder / "model_index.json", name)):
        warn(f"{name}: its {part} is not used")
    parts, tokenizer = _parts_of(name, folder, layout, precision)
    if layout is not SVD:
        check_fit(name, parts, tokenizer)
    merged = merge(name, {key: part for key, part in parts.items() if key != "image_encoder"}, lora)
    put(parts, place, offload, "unet")
    own: dict[str, Any] = {}
    if layout is not ANIMATEDIFF:
        own = {"feature_extractor": _extractor(name, folder)}
        _check_picture(name, parts)
    made: Any = {
        ANIMATEDIFF.name: MotionModel,
        I2VGEN.name: FirstFrameModel,
        SVD.name: VideoDiffusionModel,
    }[layout.name]
    if layout is SVD:
        parts = {**parts, "text_encoder": None}
    video: MotionModel | FirstFrameModel | VideoDiffusionModel = made(
        name,
        commit_of(folder),
        folder,
        **parts,
        tokenizer=tokenizer,
        schedule=_karras(name, folder) if layout is SVD else check_schedule(name, folder),
        device=place,
        dtype=precision,
        offload=offload,
        lora=merged,
        **own,
    )
    return video


def _karras(name: str, folder: Path) -> AlphaBar:
    """The levels of a folder's scheduler. Raises ModelError."""
    path = folder / "scheduler" / "scheduler_config.json"
    try:
        return read_karras(read_json(path, name))
    except (ValueError, TypeError, LookupError) as error:
        raise ModelError(
            f"{path}: not a noise schedule: {first_line(error)}.", "", whole_again(name, folder)
        ) from None


def _parts_of(name: str, folder: Path, layout: Layout, precision: torch.dtype) -> tuple[dict[str, Any], Any]:
    """The networks of a folder, each in its dtype, and the tokenizer."""
    from diffusers import (
        AutoencoderKL,
        AutoencoderKLTemporalDecoder,
        I2VGenXLUNet,
        UNetMotionModel,
        UNetSpatioTemporalConditionModel,
    )
    from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

    classes = {
        "unet": {
            ANIMATEDIFF.name: UNetMotionModel,
            I2VGEN.name: I2VGenXLUNet,
            SVD.name: UNetSpatioTemporalConditionModel,
        }[layout.name],
        "vae": AutoencoderKLTemporalDecoder if layout is SVD else AutoencoderKL,
        "text_encoder": CLIPTextModel,
        "image_encoder": CLIPVisionModelWithProjection,
    }
    parts = {}
    for part in layout.weighed:
        # the autoencoder overflows in fp16 on some checkpoints
        own = torch.float32 if part == "vae" and precision == torch.float16 else precision
        what = "dtype" if part.endswith("encoder") else "torch_dtype"
        parts[part] = loaded(name, folder, part, classes[part], **{what: own})
    if layout is SVD:
        return parts, None
    tokenizer = load_tokenizer(name, folder, CLIPTokenizer)
    places = int(parts["text_encoder"].config.max_position_embeddings)
    tokenizer.model_max_length = int(min(tokenizer.model_max_length, places))
    return parts, tokenizer


def _extractor(name: str, folder: Path) -> Any:
    """How the image encoder is given a picture. Raises ModelError."""
    from transformers import CLIPImageProcessor

    try:
        return CLIPImageProcessor.from_pretrained(str(folder / "feature_extractor"), local_files_only=True)
    except Exception as error:  # damaged files raise what their parsers raise
        raise ModelError(
            f"{name}: feature_extractor/ cannot be loaded: {first_line(error)}.",
            "It says how the image encoder is given a picture.",
            whole_again(name, folder),
        ) from None


def _check_picture(name: str, parts: Mapping[str, Any]) -> None:
    """Refuse an image encoder of another model: it would fail in the middle of an edit."""
    read = int(parts["unet"].config.cross_attention_dim)
    given = int(parts["image_encoder"].config.projection_dim)
    if read != given:
        raise ModelError(
            f"{name}: the UNet reads a picture of width {read}, and the image encoder gives {given}.",
            "They are not of one model.",
        )


# --- a model of pictures, and an adapter ------------------------------------------------------------


def load_adapted(
    name: str,
    revision: str | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    offload: str = "none",
    lora: Sequence[str] = (),
    warn: Warn = silent,
) -> MotionModel:
    """Load MODEL+ADAPTER: a Stable Diffusion 1.x or 2.x and a motion adapter, each by folder or Hub id.

    Raises ModelError for what is neither, and for two that do not fit.
    """
    base, asked = with_adapter(name)
    assert asked is not None, "who calls has seen the adapter"
    place = choose_device(device)
    pictures = load_pictures(
        base,
        revision,
        device=device,
        dtype=dtype,
        offload="none" if offload == "none" else "model",
        lora=lora,
        warn=warn,
    )
    if type(pictures) is not Model:
        raise ModelError(
            f"{base} is a {pictures.layout.title}.",
            "A motion adapter goes into a Stable Diffusion 1.x or 2.x.",
            f"Leave it out: {option('model', base)}",
        )
    folder = find_adapter(asked)
    kept = {one.name: getattr(pictures, one.name) for one in fields(pictures)}
    kept |= {"name": name, "unet": _joined(asked, folder, pictures), "offload": offload}
    if folder != BUILTIN / EMBEDDED_MOTION:  # that of ours was trained with the model's own levels
        kept["schedule"] = published_schedule(pictures.schedule)
    put({"unet": kept["unet"]}, place, offload, "unet")
    return MotionModel(**kept, adapter=folder)


def find_adapter(name: str) -> Path:
    """The folder of a motion adapter, downloaded when it is a Hub id, OWNER/NAME[@REVISION], that is not in
    the cache.

    Raises ModelError.
    """
    if name == EMBEDDED_MOTION:
        folder = BUILTIN / name
    elif os.path.isdir(name):
        folder = Path(name)
    elif (found := HUB_ID.fullmatch(name)) and not found["file"] and not name.startswith(("./", "../")):
        from vedit.models.pipelines import fetch_adapter

        folder = fetch_adapter(name)
    else:
        raise ModelError(
            f"there is no motion adapter {name!r}.",
            f"It is {EMBEDDED_MOTION} (embedded), a folder, or OWNER/NAME[@REVISION] of the Hub, behind the"
            " model and a plus sign.",
            f"Try {option('model', 'OWNER/NAME+guoyww/animatediff-motion-adapter-v1-5-2')}",
        )
    check_part(name, folder)
    kind = read_json(folder / "config.json", name).get("_class_name")
    if kind != "MotionAdapter" or weights_in(folder) is None:
        raise ModelError(
            f"{name} is not a motion adapter: its config.json says {str(kind)[:40]!a}."
            if kind != "MotionAdapter"
            else f"{name} has no weights.",
            "A motion adapter of diffusers is a folder with config.json and"
            " diffusion_pytorch_model.safetensors.",
        )
    return folder


def _joined(name: str, folder: Path, pictures: Model) -> Any:
    """The network of clips that a network of pictures becomes with an adapter."""
    from diffusers import MotionAdapter, UNetMotionModel

    unet = pictures.unet
    again = f"Name another: {option('model', f'{pictures.name}+ADAPTER')}"
    adapter = loaded(name, folder.parent, folder.name, MotionAdapter, again, torch_dtype=unet.dtype)
    widths = [list(part.config.block_out_channels) for part in (adapter, unet)]
    if widths[0] != widths[1] or adapter.config.conv_in_channels:
        takes = adapter.config.conv_in_channels
        raise ModelError(
            f"{name} is an adapter for a network that takes {takes} channels."
            if takes
            else f"{name} is an adapter for a network of widths {widths[0]}, and {pictures.name} has"
            f" {widths[1]}.",
            "An adapter fits the version of Stable Diffusion that it was trained on.",
        )
    if folder == BUILTIN / EMBEDDED_MOTION and pictures.folder == BUILTIN / EMBEDDED:
        from vedit.models.shapes.motion import load_clip_denoiser

        # its motion words are part of the time embedding
        return load_clip_denoiser(unet, folder).to(unet.device, unet.dtype).requires_grad_(False)
    try:
        return UNetMotionModel.from_unet2d(unet, adapter).to(unet.dtype)
    except (ValueError, RuntimeError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(
            f"{name} does not fit {pictures.name}: {first_line(error)}.",
            "An adapter fits the version of Stable Diffusion that it was trained on.",
        ) from None


def published_schedule(own: AlphaBar) -> AlphaBar:
    """The noise levels that published adapters were trained with, for a model with levels of its own."""
    start, end, _ = own.identity["beta"]
    return read_schedule(
        {
            "num_train_timesteps": own.train_steps,
            "beta_start": 0.00085 if start is None else start,
            "beta_end": 0.012 if end is None else end,
            "prediction_type": own.prediction,
            "set_alpha_to_one": own.identity["alpha_to_one"],
            **PUBLISHED,
        }
    )
