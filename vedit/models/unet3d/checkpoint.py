"""A trained generator as a folder for use.

NAME/config.json          format "vedit-unet3d", version 1; tables model, diffusion, text, data, sample,
training NAME/model.safetensors    averaged weights
NAME/model.raw.safetensors  the trained weights themselves, where asked for
"""

import hashlib
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from vedit.documents import Kind, read_json, table
from vedit.errors import ModelError, option
from vedit.models.alpha_bar import AlphaBar, cosine
from vedit.models.unet3d.model import Generator
from vedit.models.unet3d.params import Described, mistakes_in
from vedit.models.unet3d.text import TextEncoder
from vedit.models.unet3d.unet3d import UNet3D

FORMAT, VERSION = "vedit-unet3d", 1
CONFIG = Kind(
    "the settings of a generator",
    ModelError,
    "It was written by another version of vedit, or changed.",
    names_files=True,
)
TABLES = ("model", "diffusion", "text", "data", "sample")
FILES = {"ema": "model.safetensors", "raw": "model.raw.safetensors"}
PREDICTIONS = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}


def build_schedule(params: Described) -> AlphaBar:
    """The noise levels that the settings describe."""
    return cosine(
        params.diffusion.steps,
        PREDICTIONS[params.diffusion.predict],
        params.sample.spacing,
        params.diffusion.beta_max,
    )


def peek(path: Path) -> dict[str, Any]:
    """A small file that may be a generator's; empty for any other."""
    try:
        return table(read_json(path, CONFIG), str(path), CONFIG)
    except ModelError:
        return {}


def is_packed(folder: Path) -> bool:
    """Whether a folder is a packed generator."""
    return bool(peek(folder / "config.json").get("format") == FORMAT)


def load(config: dict[str, Any], file: Path, weights: str = "ema", *, device: str = "cpu") -> Generator:
    """Load a generator from what its config.json says and a file of weights. weights: "ema" or "raw", as the
    file is.

    Raises ModelError naming the key or file that is missing or damaged.
    """
    folder = file.parent
    params = params_of(config, folder)
    text = TextEncoder(params.text.encoder, params.text.model, device=device)
    network = UNet3D(text_width=text.width, **params.model.model_dump())
    try:
        network.load_state_dict(load_file(file))
    except FileNotFoundError:
        raise ModelError(
            f"{folder} has no {weights} weights ({file.name}).",
            "",
            f"Take the others: {option('weights', 'ema' if weights == 'raw' else 'raw')}",
        ) from None
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(
            f"{file}: not the weights of this generator: {str(error).strip().splitlines()[-1].strip()}"
        ) from None
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    facts = {"format": FORMAT, "weights": weights, "sha256": digest, "training": config["training"]}
    network.to(device).eval().requires_grad_(False)
    return Generator(
        network, build_schedule(params), text, params, float(config["data"]["fps"]), facts, name=str(folder)
    )


def params_of(config: dict[str, Any], folder: Path) -> Described:
    """The settings of a config.json; its `data.fps` and `text.width` are facts beside them."""
    tables = {name: dict(config[name]) for name in TABLES}
    tables["data"].pop("fps", None)
    tables["text"].pop("width", None)
    wrong = list(mistakes_in(Described, tables))
    if wrong:
        raise ModelError(
            f"{folder}/config.json: {' '.join(wrong)}",
            "It was written by another version of vedit, or changed.",
        )
    return Described.model_validate(tables)


def read_packed(folder: Path) -> dict[str, Any]:
    """What the config.json of a packed generator says. Raises ModelError."""
    path = folder / "config.json"
    config = table(read_json(path, CONFIG), str(path), CONFIG)
    if config.get("format") != FORMAT:
        raise ModelError(
            f"{path}: format is {config.get('format')!r}.", f"A generator of vedit train has {FORMAT!r}."
        )
    if config.get("version") != VERSION:
        raise ModelError(
            f"{path}: version is {config.get('version')!r}.",
            f"This vedit reads version {VERSION}.",
            "Upgrade vedit, or train again",
        )
    for name in (*TABLES, "training"):
        if not isinstance(config.get(name), dict):
            raise ModelError(
                f"{path}: {name} is missing.", f"There are format, version, {', '.join(TABLES)} and training."
            )
    if type(config["data"].get("fps")) not in (int, float):
        raise ModelError(f"{path}: data.fps is missing, or not a number.")
    return config
