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
    layout_told,
    read_json,
    warn_of_unused,
    weights_in,
    whole_again,
    with_adapter,
)
from vedit.models.layout import ANIMATEDIFF, I2VGEN, SD, SVD, Layout
from vedit.models.lora import merge
from vedit.models.motion.karras import read_karras
from vedit.models.motion.model import FirstFrameModel, MotionModel, VideoDiffusionModel
from vedit.models.parts import (
    check_width,
    clip_tokenizer,
    levels_of,
    load_parts,
    loaded,
    named_classes,
    put,
)
from vedit.models.place import choose_device, choose_dtype, quiet_libraries
from vedit.models.sd.load import check_fit, check_schedule
from vedit.models.sd.load import load_model as load_pictures
from vedit.models.sd.model import Model

MODELS: dict[str, Any] = {
    ANIMATEDIFF.name: MotionModel,
    I2VGEN.name: FirstFrameModel,
    SVD.name: VideoDiffusionModel,
}
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
    place = choose_device(device)
    precision = choose_dtype(dtype, place)
    index = read_json(folder / "model_index.json", name)
    warn_of_unused(name, index, warn)
    parts = load_parts(name, folder, named_classes(folder, index), precision)
    own = _own(name, folder, layout, parts)
    merged = merge(name, {key: part for key, part in parts.items() if key != "image_encoder"}, lora)
    put(parts, place, offload, "unet")
    video: MotionModel | FirstFrameModel | VideoDiffusionModel = MODELS[layout.name](
        name,
        commit_of(folder),
        folder,
        **parts,
        device=place,
        dtype=precision,
        offload=offload,
        lora=merged,
        **own,
    )
    return video


def _own(name: str, folder: Path, layout: Layout, parts: Mapping[str, Any]) -> dict[str, Any]:
    """What models of a layout have beside networks: levels, a tokenizer where they read text, and how they
    are shown a picture where they are shown one. Raises ModelError for parts of different models.
    """
    own: dict[str, Any] = {}
    if layout is SVD:
        own = {"text_encoder": None, "tokenizer": None}
        own["schedule"] = levels_of(name, folder, read_karras, "a noise schedule")
    else:
        own["tokenizer"] = clip_tokenizer(name, folder, parts["text_encoder"])
        check_fit(name, parts, own["tokenizer"])
        own["schedule"] = check_schedule(name, folder)
    if layout is not ANIMATEDIFF:
        read, given = parts["unet"].config.cross_attention_dim, parts["image_encoder"].config.projection_dim
        check_width(name, "the UNet reads a picture", read, "image encoder", given)
        own["feature_extractor"] = _extractor(name, folder)
    return own


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
    goes_into = "A motion adapter goes into a Stable Diffusion 1.x or 2.x."
    leave = f"Leave it out: {option('model', base)}"
    if (told := layout_told(base, revision)) not in (None, SD):
        raise ModelError(f"{base} is a {told.title}.", goes_into, leave)
    folder = find_adapter(asked)  # before the model, which may be gigabytes
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
        raise ModelError(f"{base} is a {pictures.layout.title}.", goes_into, leave)
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
