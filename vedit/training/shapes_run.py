"""What a run of the embedded models holds, ready to build on: the frozen codec, the denoiser, the judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vedit.errors import ModelError

if TYPE_CHECKING:
    from vedit.training.shapes_unet import Denoiser


def load_codec(folder: Path) -> Any:
    """Load the frozen codec of a run."""
    if not (folder / "vae").exists():
        raise ModelError(
            f"{folder}: the codec is not trained yet.",
            next_step=f"Run first: vedit train --preset shapes-codec --out {folder}",
        )
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_pretrained(folder / "vae").eval()


def load_denoiser(folder: Path) -> tuple[Denoiser, str]:
    """Load the averaged denoiser that has trained longest, annealed or not, and say which it is."""
    from vedit.training.loop import latest_state, tensors_of
    from vedit.training.shapes_unet import Denoiser

    states = [
        state for stage in ("unet", "unet-annealed") if (state := latest_state(folder / stage)) is not None
    ]
    if not states:
        raise ModelError(
            f"{folder}: the denoiser is not trained yet.",
            next_step=f"Run first: vedit train --preset shapes-all --out {folder}",
        )
    newest = max(states, key=lambda state: state.name)
    denoiser = Denoiser(load_codec(folder).config.latent_channels)
    denoiser.load_state_dict(tensors_of(newest, "ema"))
    return denoiser.eval(), f"{newest.parent.parent.name}/{newest.name}"


def load_judge(folder: Path) -> Any:
    """Load the newest averaged judge of a run, or None before it has a state."""
    from safetensors.torch import load_file

    from vedit.models.shapes.judge import Judge
    from vedit.training.loop import latest_state

    newest = latest_state(folder / "judge")
    if newest is None:
        return None
    judge = Judge()
    judge.load_state_dict(load_file(newest / "ema.safetensors"))
    return judge.eval()
