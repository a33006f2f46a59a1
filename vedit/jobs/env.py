"""The environment vedit runs in, gathered for bug reports."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from importlib import metadata, util
from typing import Any

from vedit import __version__
from vedit.config import config_folder
from vedit.media.window import usable_cores
from vedit.secrecy import address

PACKAGES = (
    "click", "pillow", "numpy", "imageio-ffmpeg", "tqdm", "pydantic", "tomlkit", "huggingface_hub",
    "torch", "torchvision", "diffusers", "transformers", "accelerate", "peft", "safetensors",
    "open_clip_torch", "timm",
)  # fmt: skip
# Variables whose value is shown: it decides what vedit does, and is a number, a switch or a place.
SHOWN = (
    "VEDIT_CACHE_DIR", "VEDIT_CONFIG_DIR", "VEDIT_DEBUG", "VEDIT_FFMPEG", "VEDIT_JOBS", "VEDIT_LIMITS",
    "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_XET", "HF_HUB_DOWNLOAD_TIMEOUT",
    "HF_HUB_ETAG_TIMEOUT",
    "NO_PROXY",
    "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "NO_COLOR",
)  # fmt: skip
ADDRESSES = ("HF_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
NAMED = ("VEDIT_", "HF_", "HUGGING_FACE_")  # beginnings of those that are named, with no value


def environment() -> dict[str, dict[str, Any]]:
    """Facts by section; nothing in them identifies a person beyond the paths of caches, and no secret is in
    them.
    """
    return {
        "vedit": {"version": __version__, "installed in": os.path.dirname(os.path.dirname(__file__))},
        "system": {
            "python": f"{platform.python_version()} ({sys.executable})",
            "platform": platform.platform(),
            "machine": platform.machine(),
            "cores": usable_cores(),
        },
        "packages": {name: _version(name) for name in PACKAGES},
        "devices": _devices(),
        "ffmpeg": _ffmpeg(),
        "folders": {
            "settings": config_folder(),
            "hub cache": (
                os.environ.get("HF_HUB_CACHE")
                or os.path.join(
                    os.environ.get("HF_HOME") or os.path.expanduser("~/.cache/huggingface"), "hub"
                )
            ),
        },
        "environment": variables(os.environ),
    }


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that matter: those of a short list with their value, addresses without a login, others by
    name.
    """
    found = {}
    for name in sorted(environ):
        if name.upper() in ADDRESSES:
            found[name] = address(environ[name])
        elif name.upper() in SHOWN:
            found[name] = environ[name]
        elif name.startswith(NAMED):
            found[name] = "set (its value is not shown)"
    return found


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _devices() -> dict[str, Any]:
    """What torch sees; this is the one place outside diffusion work that loads it."""
    if util.find_spec("torch") is None:
        return {"cpu": "yes (torch is not installed: vedit[diffusion])"}
    import torch

    found = {"cpu": f"yes, {torch.get_num_threads()} threads"}
    for i in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(i)
        found[f"cuda:{i}"] = f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"
    if torch.backends.mps.is_available():
        found["mps"] = "yes"
    return found


def _ffmpeg() -> dict[str, Any]:
    import subprocess

    from vedit.errors import VeditError
    from vedit.media.video.ffmpeg import find_ffmpeg

    try:
        path = find_ffmpeg()
        first = subprocess.run(
            [path, "-version"], capture_output=True, text=True, check=True
        ).stdout.splitlines()[0]
    except (VeditError, OSError, subprocess.CalledProcessError) as error:
        return {"ffmpeg": f"not usable: {error}"}
    return {"path": path, "version": first}
