"""The folders of the embedded models: find them, load them, read how they came about.

The model's folder is an ordinary Stable Diffusion pipeline with three things beside it: `scorer/`
(open_clip), `judge/` (the classifier of the gates) and `training.json` (how it came about). The
motion adapter and the video model have folders of their own, with their own training.json.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vedit.documents import Kind, read_json, table
from vedit.errors import ModelError

if TYPE_CHECKING:
    from vedit.models.alpha_bar import AlphaBar

BUILTIN = Path(__file__).resolve().parents[2] / "builtin" / "shapes"
MOTION = BUILTIN.with_name("shapes-motion")
VIDEO = BUILTIN.with_name("shapes-video")
INSTRUCT = BUILTIN.with_name("shapes-instruct")
VIDEO_FORMAT = "vedit-shapes-video"  # of the record of a video model's training
SCHEDULER = Kind("a configuration of noise levels", ModelError)
TRAINING = Kind("the record of a model's training", ModelError, names_files=True)


@dataclass(frozen=True)
class ShapesModel:
    """The loaded parts, float32, on one device."""

    folder: Path
    unet: Any
    text_encoder: Any
    vae: Any
    schedule: AlphaBar
    scorer: Any
    judge: Any


def load(folder: Path = BUILTIN, device: str = "cpu") -> ShapesModel:
    """Load a packed folder; the weights are stored in half and used in float32."""
    check_folder(folder)
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from safetensors.torch import load_file
    from transformers import CLIPTextModel

    from vedit.models.shapes import parts as made
    from vedit.models.shapes.judge import Judge

    be_quiet()
    scorer, judge = made.scorer(), Judge()
    scorer.load_state_dict(load_file(folder / "scorer" / "model.safetensors"))
    judge.load_state_dict(load_file(folder / "judge" / "model.safetensors"))
    parts = {
        "unet": UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32),
        "text_encoder": CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32),
        "vae": AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32),
        "scorer": scorer,
        "judge": judge,
    }
    ready = {name: part.to(device).requires_grad_(False).eval() for name, part in parts.items()}
    return ShapesModel(folder=folder, schedule=_schedule(folder), **ready)


def _schedule(folder: Path) -> AlphaBar:
    from vedit.models.alpha_bar import read_schedule

    path = folder / "scheduler" / "scheduler_config.json"
    return read_schedule(table(read_json(path, SCHEDULER), str(path), SCHEDULER))


@dataclass(frozen=True)
class VideoModel:
    """The loaded parts of a video model, float32, on one device."""

    folder: Path
    transformer: Any
    text_encoder: Any
    vae: Any

    def decode(self, latents_BCFYX: Any) -> Any:
        """Turn latents into clips in 0..1, BFCYX."""
        from vedit.models.shapes.codec import drawn

        return drawn(self.vae, latents_BCFYX)


def load_video(folder: Path = VIDEO, device: str = "cpu") -> VideoModel:
    """Load a packed video model; the weights are stored in half and used in float32."""
    check_video(folder)
    from vedit.models.wan.load import load_folder

    model = load_folder(str(folder), folder, device=device, dtype="fp32")
    return VideoModel(folder, model.transformer, model.text_encoder, model.vae)


def check_folder(folder: Path) -> None:
    """Raise ModelError unless the folder holds a packed model."""
    if not (folder / "model_index.json").exists():
        raise ModelError(
            f"{folder} holds no packed model.", next_step="Pack a training run with: vedit models pack RUN"
        )


def check_motion(folder: Path) -> None:
    """Raise ModelError unless the folder holds a packed motion adapter."""
    if not (folder / "motion_words.safetensors").exists():
        raise ModelError(
            f"{folder} holds no packed motion adapter.",
            next_step="Pack a training run with: vedit models pack RUN --motion",
        )


def is_video(folder: Path) -> bool:
    """Tell whether a packed folder holds a video model."""
    return (folder / "transformer").is_dir()


def is_packed_video(folder: Path) -> bool:
    """Tell whether a folder is one that `vedit models pack --video` made: its record says so."""
    if not (folder / "training.json").exists():
        return False
    try:
        return record_of(folder).get("format") == VIDEO_FORMAT
    except ModelError:  # another program's file of that name
        return False


def is_instruct(folder: Path) -> bool:
    """Tell whether a packed folder holds an instruction editor."""
    return (folder / "embeddings.safetensors").exists()


def check_video(folder: Path) -> None:
    """Raise ModelError unless the folder holds a packed video model."""
    if not (folder / "transformer" / "config.json").exists() or not (folder / "vae" / "config.json").exists():
        raise ModelError(
            f"{folder} holds no packed video model.",
            next_step="Pack a training run with: vedit models pack RUN --video",
        )


def be_quiet() -> None:
    """Keep the progress bars of loading and saving off standard error; they take milliseconds."""
    import diffusers.utils.logging
    import transformers.utils.logging

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def record_of(folder: Path) -> dict[str, Any]:
    """Return what training.json says."""
    path = str(folder / "training.json")
    return table(read_json(path, TRAINING), path, TRAINING)
