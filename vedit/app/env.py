"""The environment vedit runs in, gathered for bug reports."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata, util
from typing import Any

from vedit import __version__
from vedit.config import config_folder
from vedit.media.window import usable_cores

PACKAGES = (
    "click", "pillow", "numpy", "imageio-ffmpeg", "tqdm", "pydantic", "tomlkit", "huggingface_hub",
    "torch", "torchvision", "diffusers", "transformers", "accelerate", "peft", "safetensors", "open_clip_torch", "timm",
)  # fmt: skip


def environment() -> dict[str, dict[str, Any]]:
    """Facts by section; nothing in them identifies a person beyond the paths of caches."""
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
            "hub cache": os.environ.get("HF_HUB_CACHE") or os.path.join(os.environ.get("HF_HOME") or os.path.expanduser("~/.cache/huggingface"), "hub"),
        },
        "environment": {key: os.environ[key] for key in sorted(os.environ) if key.startswith(("VEDIT_", "HF_HUB_OFFLINE", "HF_ENDPOINT"))},
    }


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
    from vedit.media.ffmpeg import find_ffmpeg

    try:
        path = find_ffmpeg()
        first = subprocess.run([path, "-version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (VeditError, OSError, subprocess.CalledProcessError) as error:
        return {"ffmpeg": f"not usable: {error}"}
    return {"path": path, "version": first}
