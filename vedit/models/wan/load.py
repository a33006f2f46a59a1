"""Load a model in Wan's layout from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vedit.errors import ModelError
from vedit.models.clip_load import Read, load_clips
from vedit.models.flow import read_flow
from vedit.models.parts import levels_of
from vedit.models.wan.model import WanModel
from vedit.models.wan.side import NATIVE_SIDE, codec_factors

LONGEST_TEXT = 512  # tokens that Wan reads


def load_folder(name: str, folder: Path, **options: Any) -> WanModel:
    """Load a folder that `find_folder` has looked through; options and errors as of `load_clips`."""
    return load_clips(WanModel, _own, name, folder, **options)


def _own(read: Read) -> dict[str, Any]:
    """What models of Wan have beside others. Raises ModelError for what is not known."""
    _check_patches(read)
    _check_codec(read.name, read.parts["vae"].config)
    places = getattr(read.parts["text_encoder"].config, "max_position_embeddings", LONGEST_TEXT)
    return {
        "schedule": levels_of(read.name, read.folder, read_flow, "levels of a flow"),
        "text_tokens": int(min(LONGEST_TEXT, read.tokenizer.model_max_length, places)),
        "boundary": _boundary(read),
        "by_token": bool(read.index.get("expand_timesteps", False)),
    }


def _boundary(read: Read) -> float | None:
    """The share of the timesteps below which the second transformer takes over. Raises ModelError."""
    ratio = read.index.get("boundary_ratio")
    if "transformer_2" not in read.parts:
        return None
    if not isinstance(ratio, (int, float)) or not 0 < ratio < 1:
        raise ModelError(
            f"{read.name}: it has two transformers, and model_index.json says {str(ratio)[:40]!a} for"
            " boundary_ratio.",
            "It is the share of the noise levels below which the second takes over, such as 0.875.",
        )
    return float(ratio)


def _check_patches(read: Read) -> None:
    for part, transformer in read.transformers.items():
        if int(transformer.config.patch_size[0]) != 1:
            raise ModelError(
                f"{read.name}: the {part} joins frames into patches, which is not known.",
                "Wan's patches are one frame long.",
            )


def _check_codec(name: str, vae: Any) -> None:
    scale, _ = codec_factors(vae)
    if scale not in NATIVE_SIDE:
        raise ModelError(
            f"{name}: its codec makes pictures {scale} times smaller.",
            f"Known are {', '.join(map(str, NATIVE_SIDE))}.",
        )
    if len(vae.latents_mean) != int(vae.z_dim) or len(vae.latents_std) != int(vae.z_dim):
        raise ModelError(
            f"{name}: vae/config.json has no mean and deviation for each of {vae.z_dim} channels."
        )
