"""A generator straight from its run, as if it were packed already."""

from pathlib import Path
from typing import Any

from vedit.documents import table
from vedit.errors import ModelError
from vedit.models.unet3d.checkpoint import (
    CONFIG,
    FILES,
    FORMAT,
    TABLES,
    VERSION,
    is_packed,
    peek,
    read_packed,
)
from vedit.training.loop import latest_state, state_of


def is_generator(folder: Path) -> bool:
    """Whether a folder is a generator or the run of one; reads two small files at most."""
    if is_packed(folder):
        return True
    newest = latest_state(folder) if folder.is_dir() else None
    return newest is not None and "effective_batch" in (peek(newest / "state.json").get("config") or {})


def find(folder: Path, weights: str) -> tuple[dict[str, Any], Path]:
    """The config and the weight file of a generator's folder or run."""
    if (folder / "config.json").exists():
        return read_packed(folder), folder / FILES[weights]
    newest = latest_state(folder)
    if newest is None:
        raise ModelError(
            f"{folder}: no generator is here.",
            f"It would have a config.json with format {FORMAT}, or be a run of vedit train.",
        )
    return run_config(newest), newest / {"ema": "ema.safetensors", "raw": "model.safetensors"}[weights]


def run_config(saved: Path) -> dict[str, Any]:
    """What config.json would say of a saved state."""
    state = state_of(saved)
    config = state["config"]
    path = str(saved / "state.json")
    if "clips" not in config:
        raise ModelError(
            f"{saved}: this run trains another kind of model.",
            "",
            "Pack a run of the embedded model with: vedit models pack",
        )
    try:
        training = {
            "step": state["step"],
            "clips": state["pictures"],
            "ema_update_count": state["ema_update_count"],
            "losses": state.get("losses", {}),
            "vgg": config["vgg"],
            "data_fingerprint": str(config["clips"]["fingerprint"]),
            "seed": state["options"]["seed"],
            "device": state["device"],
            "seconds": round(state["seconds"], 1),
        }
        tables = {name: table(config[name], path, CONFIG) for name in TABLES}
        data = {**tables["data"], "fps": float(config["clips"]["fps"])}
    except (KeyError, TypeError, ValueError) as error:
        raise CONFIG.refusal(path, f"{type(error).__name__}: {error}") from None
    return {"format": FORMAT, "version": VERSION, **tables, "data": data, "training": training}
