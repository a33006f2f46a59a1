"""Load a released editor: a pipeline of diffusers of the class that its backend names.

Its licence is told before its weights are fetched, and where it must be accepted nothing is fetched before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from vedit.errors import ModelError, UsageError, Warn, option
from vedit.models.adapters import header_of, locate
from vedit.models.checked import check_parts
from vedit.models.editors import Licence, Order
from vedit.models.hub import commit_of, is_in_cache
from vedit.models.pipelines import (
    calling,
    choose_place,
    fetch_pipeline,
    open_pipeline,
    part_hashes,
    read_index,
)

HASHED = {"unet": "unet", "transformer": "transformer", "transformer_2": "transformer_2", "vae": "vae",
          "text_encoder": "text", "connectors": "connectors"}  # fmt: skip


@dataclass
class Editor:
    """A loaded editor. backend: its module. hashes: of its parts, as a record tells them. headers: what those
    of its LoRAs say.
    """

    name: str
    revision: str | None
    backend: ModuleType
    pipe: Any
    device: torch.device
    dtype: torch.dtype
    hashes: dict[str, str]
    lora: list[dict[str, Any]]
    headers: dict[str, str] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        told = {"id": self.name, "revision": self.revision, "pipeline": type(self.pipe).__name__}
        lora = {"lora": self.lora} if self.lora else {}
        return {**told, **self.hashes, **lora, "licence": self.backend.LICENCE.name}

    def edit(
        self, frames_FYX3: np.ndarray, order: Order, on_step: Callable[[], None] = lambda: None
    ) -> np.ndarray:
        """The edited frames (F, Y, X, 3) uint8, as many and as large as given.

        Frames and sides are filled up to what the editor takes, by repeating the last, and cut again. Raises
        UsageError for what the pipeline refuses, MemoryBudgetError when it does not fit.
        """
        count, (height, width), backend = len(frames_FYX3), frames_FYX3.shape[1:3], self.backend
        if hasattr(backend, "settle"):
            order = order._replace(settings=backend.settle(order.settings, self.headers))
        if order.mask_FYX is not None:
            order = order._replace(mask_FYX=filled(order.mask_FYX, backend, order.settings))
        frames = filled(frames_FYX3, backend, order.settings)
        less = f"{option('offload', 'model')}, a smaller {option('size')}, or fewer {option('frames')}"
        with calling(self.name, self.pipe, self.device, less):
            made: np.ndarray = backend.edit(self.pipe, frames, order, on_step)
        return made[:count, :height, :width]


def filled(frames: np.ndarray, backend: ModuleType, settings: Mapping[str, Any]) -> np.ndarray:
    """Frames (F, Y, X, ...) with as many and as long sides as a backend takes: the last are repeated."""
    packs = backend.PACKS
    grain = backend.grain(settings) if hasattr(backend, "grain") else backend.GRAIN
    more = -(len(frames) - 1) % packs
    least = getattr(backend, "LEAST", grain)
    rows, columns = (max(least, -(-side // grain) * grain) - side for side in frames.shape[1:3])
    rest = ((0, 0),) * (frames.ndim - 3)
    return np.pad(frames, ((0, more), (0, rows), (0, columns), *rest), mode="edge")


def load_editor(
    backend: ModuleType,
    name: str,
    revision: str | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    offload: str = "none",
    lora: Sequence[str] = (),
    accepted: bool = False,
    warn: Warn,
) -> Editor:
    """Load a pipeline by folder or Hub id. accepted: whether the user has accepted its licence.

    Raises UsageError for a licence that is not accepted, ModelError for weights missing, gated, damaged, or
    of another class.
    """
    place = choose_place(device, dtype, offload)
    folder = find_editor(backend, name, revision, accepted=accepted, warn=warn)
    index = read_index(str(folder))
    import diffusers

    kind = getattr(diffusers, backend.PIPELINE)
    without: dict[str, Any] = (
        {"safety_checker": None, "requires_safety_checker": False} if "safety_checker" in index else {}
    )
    hashes = {
        f"{HASHED[part]}_sha256": digest
        for part, digest in part_hashes(folder, index).items()
        if part in HASHED
    }
    found = locate(lora, None, name)
    pipe, merged = open_pipeline(name, kind, folder, place, lora=found, **without)
    headers = {key: value for one in found for key, value in header_of(one.path).items()}
    return Editor(name, commit_of(folder), backend, pipe, place.device, place.dtype, hashes, merged, headers)


def find_editor(backend: ModuleType, name: str, revision: str | None, *, accepted: bool, warn: Warn) -> Path:
    """The folder of an editor, fetched where it is at the Hub. Raises as `load_editor`."""
    if not os.path.isdir(name) and not is_in_cache(name):
        check_licence(backend.LICENCE, name, accepted, warn)
    index = read_index(name, revision)
    if index.get("_class_name") not in (backend.PIPELINE, *getattr(backend, "ALSO", ())):
        raise ModelError(
            f"{name} is a {str(index.get('_class_name'))[:80]}, and the backend calls a {backend.PIPELINE}.",
            "",
            f"Name such a model, or leave out {option('model')} for {backend.MODEL}",
        )
    folder = Path(name) if os.path.isdir(name) else fetch_pipeline(name, revision)
    check_parts(name, folder, index)
    return folder


def check_licence(licence: Licence, name: str, accepted: bool, warn: Warn) -> None:
    """Say what weights may be used for, before a download. Raises UsageError where it is not accepted."""
    if licence.must_accept and not accepted:
        raise UsageError(
            f"{name} is under the {licence.name}, which is not accepted yet.",
            f"Nothing is fetched before: read it at {licence.address}.",
            f"If you accept it: {option('accept_licence', True)}",
        )
    warn(f"{name} is fetched, under the {licence.name}: {licence.address}")
