"""Load a model by name, folder, file or Hub id, whichever family it is of."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from vedit.errors import Warn, silent
from vedit.models.adapters import locate
from vedit.models.family import Model
from vedit.models.hub import EMBEDDED, find_folder, layout_in, with_adapter
from vedit.models.layout import CLIPS, MOTION
from vedit.models.sd import single_file


def load_model(
    name: str = EMBEDDED,
    revision: str | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    offload: str = "none",
    lora: Sequence[str] = (),
    warn: Warn = silent,
) -> Model:
    """Load a model: an embedded one, a folder, a file of weights, or a Hub id with an optional revision.

    A Stable Diffusion model with a motion adapter is MODEL+ADAPTER.
    offload: "none"; "model" keeps the parts that are not in use on the CPU; "sequential" also streams the
    network layer by layer through the device (accelerate). lora: LoRAs that are merged into its parts, as
    `vedit.models.adapters.parse` reads them. warn: told of parts of the model that are not used.
    Raises ModelError for weights missing, gated, offline, damaged, or of another family.
    """
    options: dict[str, Any] = {"device": device, "dtype": dtype, "offload": offload, "warn": warn}
    if with_adapter(name)[1] is not None:
        from vedit.models.motion.load import load_adapted

        return load_adapted(name, revision, lora=lora, **options)
    if not single_file.is_file(name):
        folder = find_folder(name, revision)
        layout = layout_in(folder)
        if layout in CLIPS:  # the folder of such a family has its layout's name
            family = import_module(f"vedit.models.{layout.name}.load")
            clips: Model = family.load_folder(name, folder, lora=locate(lora, layout, name), **options)
            return clips
        if layout in MOTION:
            from vedit.models.motion.load import load_motion

            return load_motion(name, folder, layout, lora=locate(lora, layout, name), **options)
    from vedit.models.sd.load import load_model as load_sd

    return load_sd(name, revision, lora=lora, **options)
