"""The side that a model was trained at, told by its configuration files alone. Loads no torch."""

from __future__ import annotations

from importlib import import_module

from vedit.models.hub import find_folder, latent_side, layout_in, read_json, with_adapter
from vedit.models.layout import CLIPS, I2VGEN, SVD
from vedit.models.motion.side import NATIVE_SIDE, SVD_SIDE
from vedit.models.sd import single_file


def native_side(name: str, revision: str | None = None) -> int:
    """The side in pixels that a model was trained at, by its configuration files; a model of the Hub is
    fetched. Raises ModelError.
    """
    name, _ = with_adapter(name)
    if single_file.is_file(name):
        return single_file.native_side(name)
    folder = find_folder(name, revision)
    layout = layout_in(folder)
    if layout in CLIPS:
        return int(import_module(f"vedit.models.{layout.name}.side").native_side(name, folder))
    if layout in (I2VGEN, SVD):
        return NATIVE_SIDE if layout is I2VGEN else SVD_SIDE
    unet, vae = (read_json(folder / part / "config.json", name) for part in ("unet", "vae"))
    return latent_side(unet.get("sample_size")) << (len(vae.get("block_out_channels", (64,))) - 1)
