"""The presets of editing methods that ship with vedit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.engine import sdxl
from tests.engine.motion import TinyFirstFrame, TinyMotion, TinySpatioTemporal
from tests.engine.tiny import TinyModel
from tests.methods.flow import TinyLTX, TinyWan
from tests.methods.inputs import Asked, prepared
from vedit import methods, presets
from vedit.methods.params import read_params
from vedit.models.shapes import parts

MOTION = ("uniedit",)  # methods for networks with layers over frames
FLOWS = ("flowedit", "unedit")  # methods for models of flow matching
METHOD_PRESETS = [name for name in presets.paths() if presets.load(name).kind == "method"]


@pytest.mark.parametrize("name", METHOD_PRESETS)
def test_a_preset_is_right_for_its_method_and_fits_its_model(name: str) -> None:
    """Every layer, step count and scale that it names is there: in Stable Diffusion, or in the embedded
    model.
    """
    method = str(presets.load(name).table["method"])
    module = methods.load(method)
    params = read_params(module.Params, presets.load_method(method, name), name)
    if "instruction" in module.NEEDS:
        return  # trained weights say what it fits: tests/methods/test_easyv2v.py
    outline = outline_of(module, model_for(name, method), params)
    if method in ("p2p", "pnp"):
        assert len(outline.plan.rules) == 2


@pytest.mark.parametrize("method", methods.fitting(of_clips=False))
def test_a_method_for_pictures_has_layers_for_stable_diffusion_xl(method: str) -> None:
    """By a preset of its own, or by the one for Stable Diffusion 1.x."""
    own = f"{method}-sdxl"
    name = own if own in METHOD_PRESETS else method
    module = methods.load(method)
    params = read_params(module.Params, presets.load_method(method, name), name)
    outline_of(module, model_for(own, method), params)


def outline_of(module: Any, model: Any, params: Any) -> Any:
    """What a method would do to two frames; it has evaluations."""
    clip = Asked(
        torch.zeros(2, 4, 16, 16),
        lambda index: torch.zeros(2, 4, 16, 16),
        model.schedule.timesteps(getattr(params, "steps", 1)),
        "a cat",
        "a dog",
        torch.ones(2, 1, 16, 16) if "mask" in module.NEEDS else None,
    )
    outline = prepared(module, model, clip, params)
    assert outline.evaluations > 0
    return outline


def model_for(preset: str, method: str) -> Any:
    """A model in small with the layers that a preset is for."""
    if method in MOTION:
        return TinyMotion()
    if method == "anyv2v":
        return TinySpatioTemporal() if preset.endswith("-svd") else TinyFirstFrame()
    if preset.endswith("-shapes-video"):
        return TinyWan(blocks=4)
    if preset.endswith("-ltx"):
        return TinyLTX(blocks=28)
    if preset.endswith("-wan") or method in FLOWS:
        return TinyWan(blocks=30)
    model = TinyModel()
    if preset.endswith("-shapes"):
        model.unet = parts.unet(4)
    if preset.endswith("-sdxl"):
        model.unet = sdxl.unet()
    return model


def test_every_method_has_a_preset_for_both_kinds_of_models() -> None:
    for name in methods.names():
        if {"pipeline", "first frame"} & methods.load(name).NEEDS:  # none of them is embedded
            assert name in METHOD_PRESETS
            continue
        embedded = f"{name}-shapes-video" if name in (*FLOWS, "kvlock", "easyv2v") else f"{name}-shapes"
        assert {name, embedded} <= set(METHOD_PRESETS)


def test_thesis_presets_hold_the_values_of_the_thesis() -> None:
    p2p, pnp, glp = (presets.load_method(name, f"{name}-thesis") for name in ("p2p", "pnp", "glp"))
    assert (p2p["steps"], p2p["guidance"]) == (50, 12.5)
    assert (pnp["steps"], pnp["inversion_steps"], pnp["guidance"], pnp["skip_layer_structure"]) == (
        500,
        500,
        7.5,
        25,
    )
    assert [
        pnp[key]
        for key in (
            "content_from",
            "motion_from",
            "structure_from",
            "start_index",
            "skip_layer_content",
            "skip_layer_motion",
        )
    ] == [0] * 6
    assert (glp["iterations"], glp["lr"], glp["w1"], glp["w2"], glp["guidance"]) == (500, 0.07, 2.0, 2.0, 7.5)
