"""The models on this machine: list, fetch, describe."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from vedit.errors import ModelError, option
from vedit.models.hub import (
    BUILTIN,
    EMBEDDED,
    EMBEDDED_MOTION,
    EMBEDDED_VIDEO,
    fetch,
    missing_parts,
    other_family,
    read_json,
)


class Entry(NamedTuple):
    """A model that can be named in --model."""

    name: str
    size: int
    note: str


def list_models() -> list[Entry]:
    """The embedded models, and the snapshots in the Hub cache, each with what it is for; loads no torch."""
    from huggingface_hub import constants

    found = []
    if (BUILTIN / EMBEDDED / "model_index.json").exists():
        found.append(Entry(EMBEDDED, _size(BUILTIN / EMBEDDED), "embedded: drawn scenes only"))
    video = BUILTIN / EMBEDDED_VIDEO
    if (video / "model_index.json").exists():
        found.append(Entry(video.name, _size(video), "embedded: clips of drawn scenes"))
    motion = BUILTIN / f"{EMBEDDED}-motion"
    if motion.is_dir():
        found.append(
            Entry(
                motion.name, _size(motion), "embedded: a motion adapter for shapes, for clips of drawn scenes"
            )
        )
    for snapshot in sorted(Path(constants.HF_HUB_CACHE).glob("models--*/snapshots/*")):
        kind = _kind(snapshot)
        name = snapshot.parent.parent.name.removeprefix("models--").replace("--", "/")
        if kind is None:
            other = _other(snapshot)
            if other is not None:
                found.append(Entry(name, _size(snapshot), f"{other}, revision {snapshot.name[:12]}"))
        else:
            lacks = ", ".join(missing_parts(snapshot))
            note = f"{kind}, revision {snapshot.name[:12]}" + (
                f"; incomplete, lacks {lacks}: vedit models fetch {name}" if lacks else ""
            )
            found.append(Entry(name, _size(snapshot), note))
    return found


def _kind(folder: Path) -> str | None:
    """The pipeline class of a snapshot, when it is one these methods can use."""
    try:
        index = read_json(folder / "model_index.json", folder.name)
    except ModelError:
        return None
    return str(index.get("_class_name")) if other_family(index) is None else None


def _other(folder: Path) -> str | None:
    """What a snapshot is that edits no clips: a pipeline for `vedit generate`, or a LoRA alone."""
    try:
        index = read_json(folder / "model_index.json", folder.name)
        return f"{index.get('_class_name')}: not for vedit edit; text-to-video ones are for vedit generate"
    except ModelError:
        names = [path.name for path in folder.glob("*.safetensors")]
    is_lora = any("lora" in name.lower() for name in names) or (folder / "adapter_config.json").exists()
    return f"LoRA: it changes a model, with {option('lora')}" if is_lora else None


def _size(folder: Path) -> int:
    return sum(os.path.getsize(path) for path in folder.rglob("*") if path.is_file())


def fetch_model(name: str, revision: str | None = None, *, force: bool = False) -> Path:
    """Download a model that clips are edited with, or a text-to-video pipeline. Raises ModelError."""
    try:
        return fetch(name, revision, force=force)
    except ModelError as refused:
        if find_spec("diffusers") is None:
            raise
        from vedit.models.pipelines import check_text_to_video, fetch_pipeline, read_index

        try:
            check_text_to_video(name, read_index(name, revision))
        except ModelError:
            raise refused from None
        return fetch_pipeline(name, revision, force=force)


def describe(name: str, revision: str | None = None, sites: bool = False) -> dict[str, Any]:
    """Facts of a model; `sites` adds every place that methods can name.

    Of a training run and of the embedded adapter for clips they are those that their files tell.
    """
    if not (sites and name == EMBEDDED_MOTION) and (told := _of_no_pipeline(name)) is not None:
        return told
    from vedit.models.load import load_model

    model = load_model(name, revision, device="cpu", dtype="fp32")
    facts: dict[str, Any] = {
        "model": name,
        "folder": str(model.folder),
        "parameters": {part: f"{number / 1e6:.2f} M" for part, number in model.parameters().items()},
        "picture": (
            f"{model.native_size}x{model.native_size}, latents {model.channels} channels at 1/{model.scale}"
        ),
        "prompt": f"{model.text_tokens - model.marks} tokens at most",
        "schedule": dict(model.schedule.identity),
        "sha256": {part: digest[:16] for part, digest in model.identity().items() if part.endswith("sha256")},
    }
    if sites:
        facts["sites"] = [vars(site) for site in model.sites()]
    return facts


def _of_no_pipeline(name: str) -> dict[str, Any] | None:
    """Facts of what is not a pipeline: the embedded adapter, and a training run; None for anything else."""
    folder = BUILTIN / name if name == f"{EMBEDDED}-motion" else Path(name)
    if (folder / "motion_words.safetensors").exists():
        return {
            "model": name,
            "folder": str(folder),
            "kind": "motion adapter of the embedded model",
            "size": f"{_size(folder) / 2**20:.1f} MiB",
            "use": f'vedit generate "..." --model {EMBEDDED}, vedit edit {option("method", "uniedit")}',
        }
    states = (
        sorted(folder.glob("**/log.jsonl"))
        if folder.is_dir() and not (folder / "model_index.json").exists()
        else []
    )
    if not states:
        return None
    stages = {str(path.parent.relative_to(folder)): f"step {_last_step(path)}" for path in states}
    use = f'vedit generate "..." --model {name}' if "." in stages else f"vedit models pack {name} -o DIR"
    return {"model": name, "folder": str(folder), "kind": "training run", "stages": stages, "use": use}


def _last_step(log: Path) -> int:
    """The step of the last whole line of a training log; 0 for none."""
    from vedit.documents import Kind, whole_lines

    last = 0
    for line in whole_lines(log, Kind("a log of training", largest=2**30)):
        last = int(line.get("step", last))
    return last
