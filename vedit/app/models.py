"""The models on this machine: list, fetch, describe."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from vedit.diffusion.hub import BUILTIN, EMBEDDED, fetch, missing_parts, other_family, read_json
from vedit.errors import ModelError


class Entry(NamedTuple):
    """A model that can be named in --model."""

    name: str
    size: int
    note: str


def list_models() -> list[Entry]:
    """The embedded model, and the Stable Diffusion snapshots in the Hub cache; loads no torch."""
    from huggingface_hub import constants

    found = []
    if (BUILTIN / EMBEDDED / "model_index.json").exists():
        found.append(Entry(EMBEDDED, _size(BUILTIN / EMBEDDED), "embedded: drawn scenes only"))
    for snapshot in sorted(Path(constants.HF_HUB_CACHE).glob("models--*/snapshots/*")):
        kind = _kind(snapshot)
        if kind is not None:
            name = snapshot.parent.parent.name.removeprefix("models--").replace("--", "/")
            lacks = ", ".join(missing_parts(snapshot))
            note = f"{kind}, revision {snapshot.name[:12]}" + (f"; incomplete, lacks {lacks}: vedit models fetch {name}" if lacks else "")
            found.append(Entry(name, _size(snapshot), note))
    return found


def _kind(folder: Path) -> str | None:
    """The pipeline class of a snapshot, when it is one these methods can use."""
    try:
        index = read_json(folder / "model_index.json", folder.name)
    except ModelError:
        return None
    return str(index.get("_class_name")) if other_family(index) is None else None


def _size(folder: Path) -> int:
    return sum(os.path.getsize(path) for path in folder.rglob("*") if path.is_file())


def fetch_model(name: str, revision: str | None = None, *, force: bool = False) -> Path:
    """Download a model that clips are edited with, or a text-to-video pipeline. Raises ModelError."""
    try:
        return fetch(name, revision, force=force)
    except ModelError as refused:
        if find_spec("diffusers") is None:
            raise
        from vedit.diffusion.pipelines import check_text_to_video, fetch_pipeline, read_index

        try:
            check_text_to_video(name, read_index(name, revision))
        except ModelError:
            raise refused from None
        return fetch_pipeline(name, revision, force=force)


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
