"""FRESCO: docs/methods.md 7.9."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.engine.tiny import TinyModel
from tests.methods.inputs import edit_input, prepared, result
from tests.methods.test_flatten import moving
from vedit.engine.tracks import standing
from vedit.methods import fresco, sdedit
from vedit.methods.params import read_params

SOURCE, TARGET = "a cat on a mirror", "a red dog at night"
SETTINGS: dict[str, Any] = {"steps": 4, "guidance": 3.0, "strength": 0.75}
LAYERS: dict[str, Any] = {
    "attention_layers": ["up_blocks.*.attentions.*"],
    "feature_layers": ["up_blocks.0.upsamplers.0"],
    "iterations": 2,
}


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


def settings(**more: Any) -> Any:
    return read_params(fresco.Params, {**SETTINGS, **LAYERS, **more}, "test")


def clip(model: TinyModel, frames: int = 3, **more: Any) -> Any:
    return edit_input(model, SOURCE, TARGET, 4, frames=frames, pixels_F3YX=moving(frames), **more)


def test_held_in_no_step_it_is_sdedit(model: TinyModel) -> None:
    plain = read_params(sdedit.Params, SETTINGS, "test")
    found = result(fresco, model, clip(model), settings(hold_until=0.0))
    assert torch.equal(found, result(sdedit, model, clip(model), plain))


def test_a_single_frame_without_guide_and_iterations_is_sdedit(model: TinyModel) -> None:
    plain = read_params(sdedit.Params, SETTINGS, "test")
    found = result(fresco, model, clip(model, 1), settings(guide=0.0, iterations=0))
    torch.testing.assert_close(found, result(sdedit, model, clip(model, 1), plain), rtol=0, atol=1e-10)


@pytest.mark.parametrize("less", [{"guide": 0.0}, {"iterations": 0}, {"guide": 5.0}, {"tracks": 9.0}])
def test_each_part_acts(model: TinyModel, less: dict[str, Any]) -> None:
    whole, other = (result(fresco, model, clip(model), settings(**more)) for more in ({}, less))
    assert float((whole - other).abs().max()) > 1e-6


def test_it_is_the_same_however_many_frames_are_allowed_in_a_call(model: TinyModel) -> None:
    found = [result(fresco, model, clip(model, frames_per_call=size), settings()) for size in (3, 1)]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-12)


def test_the_pass_of_the_source_is_counted_and_its_memory_told(model: TinyModel) -> None:
    made = prepared(fresco, model, clip(model), settings())
    assert made.evaluations == 1 + 2 * 3 and made.held_bytes > 0
    assert prepared(fresco, model, clip(model), settings(hold_until=0.0)).held_bytes == 0


def test_keys_are_of_the_first_frame_and_of_what_is_new() -> None:
    begun = standing(2, (1, 2)).begun()
    assert begun.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]], "nobody looked, so that all is new"
