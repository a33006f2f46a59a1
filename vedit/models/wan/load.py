"""Load a model in Wan's layout from its folder.

Nothing of a checkpoint is executed: components are stock classes of diffusers and transformers,
weights are safetensors, or pickles read with `weights_only`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vedit.errors import ModelError, Warn, silent
from vedit.models.adapters import Found
from vedit.models.flow import Flow, read_flow
from vedit.models.hub import commit_of, first_line, read_json, whole_again
from vedit.models.lora import merge
from vedit.models.parts import parts_of_clips, put, tokenizer_of
from vedit.models.place import choose_device, choose_dtype, quiet_libraries
from vedit.models.wan.model import WanModel
from vedit.models.wan.side import NATIVE_SIDE, codec_factors

LONGEST_TEXT = 512  # tokens that Wan reads


def load_folder(
    name: str,
    folder: Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    offload: str = "none",
    lora: Sequence[Found] = (),
    warn: Warn = silent,
) -> WanModel:
    """Load a folder that `find_folder` has looked through.

    dtype: auto is bf16 on a GPU, as these models were trained, and fp32 on a CPU. offload: "none"; "model"
    keeps on the CPU what is not in use, of two transformers one; "sequential" also streams them layer by
    layer through the device. lora: what is merged into its parts. Raises ModelError for weights missing or
    damaged.
    """
    quiet_libraries()
    place = choose_device(device)
    precision = choose_dtype("bf16" if dtype == "auto" and place.type != "cpu" else dtype, place)
    index = read_json(folder / "model_index.json", name)
    parts, tokenizer = parts_of_clips(name, folder, index, precision), tokenizer_of(name, folder, index)
    _check_fit(name, parts, tokenizer)
    merged = merge(name, parts, lora)
    put(parts, place, offload)
    places = getattr(parts["text_encoder"].config, "max_position_embeddings", LONGEST_TEXT)
    return WanModel(
        name=name,
        revision=commit_of(folder),
        folder=folder,
        **parts,
        tokenizer=tokenizer,
        schedule=_schedule(name, folder),
        device=place,
        dtype=precision,
        text_tokens=int(min(LONGEST_TEXT, tokenizer.model_max_length, places)),
        boundary=_boundary(name, index, parts),
        by_token=bool(index.get("expand_timesteps", False)),
        offload=offload,
        lora=merged,
    )


def _schedule(name: str, folder: Path) -> Flow:
    path = folder / "scheduler" / "scheduler_config.json"
    try:
        schedule = read_flow(read_json(path, name))
        if not (0 < schedule.shift < 1000 and schedule.train_steps > 1):
            raise ValueError(f"its shift is {schedule.shift:g}")
        return schedule
    except (ValueError, TypeError, OverflowError, LookupError, ZeroDivisionError) as error:
        raise ModelError(
            f"{path}: not levels of a flow: {first_line(error)}.", "", whole_again(name, folder)
        ) from None


def _boundary(name: str, index: dict[str, Any], parts: dict[str, Any]) -> float | None:
    """The share of the timesteps below which the second transformer takes over. Raises ModelError."""
    ratio = index.get("boundary_ratio")
    if "transformer_2" not in parts:
        return None
    if not isinstance(ratio, (int, float)) or not 0 < ratio < 1:
        raise ModelError(
            f"{name}: it has two transformers, and model_index.json says {str(ratio)[:40]!a} for"
            " boundary_ratio.",
            "It is the share of the noise levels below which the second takes over, such as 0.875.",
        )
    return float(ratio)


def _check_fit(name: str, parts: dict[str, Any], tokenizer: Any) -> None:
    """Refuse parts that do not belong together: they would fail in the middle of an edit."""
    text, vae = parts["text_encoder"].config, parts["vae"].config
    if len(tokenizer) > int(text.vocab_size):
        raise ModelError(
            f"{name}: the tokenizer has {len(tokenizer)} tokens, and the text encoder knows"
            f" {text.vocab_size}.",
            "They are not of one model.",
        )
    width = int(getattr(text, "d_model", None) or text.hidden_size)
    for part in ("transformer", "transformer_2"):
        if part not in parts:
            continue
        config = parts[part].config
        if int(config.text_dim) != width:
            raise ModelError(
                f"{name}: the {part} reads text of width {config.text_dim}, and the text encoder gives"
                f" {width}.",
                "They are not of one model.",
            )
        if not int(config.in_channels) == int(config.out_channels) == int(vae.z_dim):
            raise ModelError(
                f"{name}: the {part} takes {config.in_channels} channels and gives {config.out_channels}, and"
                f" latents have {vae.z_dim}.",
                "It is conditioned on a picture as well; these methods need a text-to-video model.",
                "See: vedit models list",
            )
        if int(config.patch_size[0]) != 1:
            raise ModelError(f"{name}: the {part} joins frames into patches, which is not known.")
    if codec_factors(vae)[0] not in NATIVE_SIDE:
        raise ModelError(f"{name}: its codec makes pictures {codec_factors(vae)[0]} times smaller.",
                         f"Known are {', '.join(map(str, NATIVE_SIDE))}.")  # fmt: skip
    if len(vae.latents_mean) != int(vae.z_dim) or len(vae.latents_std) != int(vae.z_dim):
        raise ModelError(
            f"{name}: vae/config.json has no mean and deviation for each of {vae.z_dim} channels."
        )
