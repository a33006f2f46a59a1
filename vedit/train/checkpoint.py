"""A trained generator as a folder for use, or straight from its run.

NAME/config.json          format "vedit-unet3d", version 1; tables model, diffusion, text, data, sample, training
NAME/model.safetensors    averaged weights
NAME/model.raw.safetensors  the trained weights themselves, where asked for
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vedit.documents import Kind, read_json, table
from vedit.errors import ModelError, UsageError
from vedit.models.levels import Schedule
from vedit.train.loop import latest_state, state_of
from vedit.train.params import GeneratorParams, read_params
from vedit.train.text import TextEncoder
from vedit.train.unet3d import UNet3D
from vedit.train.video import build_schedule

FORMAT, VERSION = "vedit-unet3d", 1
CONFIG = Kind("the settings of a generator", ModelError, "It was written by another version of vedit, or changed.", names_files=True)
TABLES = ("model", "diffusion", "text", "data", "sample")
FILES = {"ema": "model.safetensors", "raw": "model.raw.safetensors"}


@dataclass
class Generator:
    """A generator ready to sample: (B, 3, F, Y, X) in [-1, 1] by `params`.

    facts: format, training and hash of the weights, for records.
    """

    unet: UNet3D
    schedule: Schedule
    text: TextEncoder
    params: GeneratorParams
    fps: float
    facts: dict[str, Any]

    @property
    def device(self) -> torch.device:
        return self.unet.out.weight.device

    def encode(self, captions: list[str]) -> Tensor:
        return self.text(captions).to(self.device)


def is_generator(folder: Path) -> bool:
    """Whether a folder is a generator or the run of one; reads two small files at most."""
    if _peek(folder / "config.json").get("format") == FORMAT:
        return True
    newest = latest_state(folder) if folder.is_dir() else None
    return newest is not None and "effective_batch" in (_peek(newest / "state.json").get("config") or {})


def _peek(path: Path) -> dict[str, Any]:
    try:
        return table(read_json(path, CONFIG), str(path), CONFIG)
    except ModelError:
        return {}


def load(folder: Path, weights: str = "ema", *, device: str = "cpu") -> Generator:
    """Load a generator, or the newest state of a run. weights: "ema" or "raw".

    Raises ModelError naming the key or file that is missing or damaged.
    """
    config, file = find(folder, weights)
    params = params_of(config, folder)
    text = TextEncoder(params.text.encoder, params.text.model, device=device)
    unet = UNet3D(text_width=text.width, **params.model.model_dump())
    try:
        unet.load_state_dict(load_file(file))
    except FileNotFoundError:
        raise ModelError(
            f"{folder} has no {weights} weights ({file.name}).", "", "Take the others: --weights " + ("ema" if weights == "raw" else "raw")
        ) from None
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"{file}: not the weights of this generator: {str(error).strip().splitlines()[-1].strip()}") from None
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    facts = {"format": FORMAT, "weights": weights, "sha256": digest, "training": config["training"]}
    unet.to(device).eval().requires_grad_(False)
    return Generator(unet, build_schedule(params), text, params, float(config["data"]["fps"]), facts)


def params_of(config: dict[str, Any], folder: Path) -> GeneratorParams:
    """The settings of a config.json; its `data.fps` and `text.width` are facts beside them."""
    tables = {name: dict(config[name]) for name in TABLES}
    tables["data"].pop("fps", None)
    tables["text"].pop("width", None)
    try:
        return read_params(tables, f"{folder}/config.json")
    except UsageError as error:
        raise ModelError(error.what, "It was written by another version of vedit, or changed.") from None


def find(folder: Path, weights: str) -> tuple[dict[str, Any], Path]:
    """The config and the weight file of a generator's folder or run."""
    packed = folder / "config.json"
    if packed.exists():
        return _checked(table(read_json(packed, CONFIG), str(packed), CONFIG), packed), folder / FILES[weights]
    newest = latest_state(folder)
    if newest is None:
        raise ModelError(f"{folder}: no generator is here.", f"It would have a config.json with format {FORMAT}, or be a run of vedit train.")
    return run_config(newest), newest / {"ema": "ema.safetensors", "raw": "model.safetensors"}[weights]


def run_config(saved: Path) -> dict[str, Any]:
    """What config.json would say of a saved state."""
    state = state_of(saved)
    config = state["config"]
    path = str(saved / "state.json")
    if "clips" not in config:
        raise ModelError(f"{saved}: this run trains another kind of model.", "", "Pack a run of the embedded model with: vedit models pack")
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


def _checked(config: dict[str, Any], path: Path) -> dict[str, Any]:
    if config.get("format") != FORMAT:
        raise ModelError(f"{path}: format is {config.get('format')!r}.", f"A generator of vedit train has {FORMAT!r}.")
    if config.get("version") != VERSION:
        raise ModelError(f"{path}: version is {config.get('version')!r}.", f"This vedit reads version {VERSION}.", "Upgrade vedit, or train again")
    for name in (*TABLES, "training"):
        if not isinstance(config.get(name), dict):
            raise ModelError(f"{path}: {name} is missing.", f"There are format, version, {', '.join(TABLES)} and training.")
    if type(config["data"].get("fps")) not in (int, float):
        raise ModelError(f"{path}: data.fps is missing, or not a number.")
    return config
