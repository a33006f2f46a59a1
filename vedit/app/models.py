"""The models on this machine: list, fetch, describe."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from vedit.app.shapes_model import BUILTIN


class Entry(NamedTuple):
    """A model that can be named in --model."""

    name: str
    size: int
    note: str


def list_models() -> list[Entry]:
    """The embedded model, and the Stable Diffusion snapshots in the Hub cache; loads no torch."""
    from huggingface_hub import constants

    found = []
    if (BUILTIN / "model_index.json").exists():
        found.append(Entry("shapes", _size(BUILTIN), "embedded: drawn scenes only"))
    cache = Path(constants.HF_HUB_CACHE)
    for folder in sorted(cache.glob("models--*")):
        for snapshot in sorted((folder / "snapshots").glob("*")):
            kind = _kind(snapshot)
            if kind is not None:
                name = folder.name.removeprefix("models--").replace("--", "/")
                found.append(Entry(name, _size(snapshot), f"{kind}, revision {snapshot.name[:12]}"))
    return found


def _kind(folder: Path) -> str | None:
    """The pipeline class of a snapshot, when it is one these methods can use."""
    try:
        index = json.loads((folder / "model_index.json").read_text())
    except (OSError, ValueError):
        return None
    is_ours = index.get("unet", [None, None])[1] == "UNet2DConditionModel" and "text_encoder_2" not in index
    return str(index.get("_class_name")) if is_ours else None


def _size(folder: Path) -> int:
    return sum(os.path.getsize(path) for path in folder.rglob("*") if path.is_file())


def fetch_model(name: str, revision: str | None) -> Path:
    """Download a model and check its family; gives its folder. Raises ModelError."""
    from vedit.diffusion.models import check_family, fetch

    folder = fetch(name, revision)
    check_family(name, folder)
    return folder


def describe(name: str, revision: str | None = None, sites: bool = False) -> dict[str, Any]:
    """Facts of a model; `sites` adds every place that methods can name."""
    from vedit.diffusion.attention.locate import find_sites
    from vedit.diffusion.models import load_model

    model = load_model(name, revision, device="cpu", dtype="fp32")
    count = {part: sum(weight.numel() for weight in getattr(model, part).parameters()) for part in ("unet", "vae", "text_encoder")}
    facts: dict[str, Any] = {
        "model": name,
        "folder": str(model.folder),
        "parameters": {part: f"{number / 1e6:.2f} M" for part, number in count.items()},
        "picture": f"{model.native_size}x{model.native_size}, latents {model.unet.config.in_channels} channels at 1/{model.scale}",
        "prompt": f"{model.tokenizer.model_max_length - 2} tokens at most",
        "schedule": dict(model.schedule.identity),
        "sha256": {part: digest[:16] for part, digest in model.identity().items() if part.endswith("sha256")},
    }
    if sites:
        facts["sites"] = [vars(site) for site in find_sites(model.unet)]
    return facts
