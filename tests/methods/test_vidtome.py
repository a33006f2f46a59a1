"""VidToMe and merging in other methods: docs/methods.md 7.15."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch

from tests.engine.tiny import TinyModel, latents
from tests.methods.inputs import edit_input, prepared, result
from vedit.errors import UsageError
from vedit.methods import combine, ddim, masactrl, p2p, pnp, rave, sdedit, tokenflow, vidtome
from vedit.methods.params import read_params

SOURCE, TARGET = "a cat on a mirror", "a red dog at night"
SETTINGS: dict[str, Any] = {"steps": 3, "guidance": 3.0}


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


def test_merging_nothing_is_plug_and_play(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, TARGET, 3, frames=3)
    none = result(vidtome, model, clip, read_params(vidtome.Params, {**SETTINGS, "merge": 0}, "test"))
    assert torch.equal(none, result(pnp, model, clip, read_params(pnp.Params, SETTINGS, "test")))


def test_equal_frames_stay_equal(model: TinyModel) -> None:
    alike = latents(1).expand(5, -1, -1, -1).contiguous()
    clip = edit_input(model, SOURCE, TARGET, 3, latents_FCYX=alike)
    found = result(
        vidtome,
        model,
        clip,
        read_params(vidtome.Params, {**SETTINGS, "merge": 1.0, "merge_across": 0}, "test"),
    )
    torch.testing.assert_close(found, found[:1].expand_as(found), rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", [ddim, sdedit, p2p, pnp, masactrl, vidtome])
def test_merging_is_an_option_of_every_method_and_does_not_depend_on_the_calls(
    model: TinyModel, method: ModuleType
) -> None:
    settings = read_params(method.Params, {**SETTINGS, "merge": 0.5, "merge_across": 0.5}, "test")
    plain = read_params(method.Params, {**SETTINGS, "merge": 0}, "test")
    assert settings.joins_frames and not plain.joins_frames
    clips = [edit_input(model, SOURCE, TARGET, 3, frames=5, frames_per_call=size) for size in (5, 2)]
    found = [result(method, model, clip, settings) for clip in clips]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-12)
    assert float((found[0] - result(method, model, clips[0], plain)).abs().max()) > 1e-6


def test_merging_is_refused_where_frames_are_grids_or_edited_one_by_one(model: TinyModel) -> None:
    settings = read_params(rave.Params, {**SETTINGS, "merge": 0.5}, "test")
    with pytest.raises(UsageError, match="one picture"):
        prepared(rave, model, edit_input(model, SOURCE, TARGET, 3), settings)
    with pytest.raises(UsageError, match="one by one"):
        read_params(combine.Params, {"pnp": {"merge": 0.5}}, "test")


@pytest.mark.parametrize(
    ("method", "table"), [(tokenflow, {}), (masactrl, {"union": True}), (masactrl, {"object_words": "a"})]
)
def test_merging_is_refused_beside_a_rule_that_tells_tokens_apart(
    model: TinyModel, method: ModuleType, table: dict[str, Any]
) -> None:
    settings = read_params(method.Params, {**SETTINGS, "merge": 0.5, **table}, "test")
    clip = edit_input(model, SOURCE, TARGET, 8)
    with pytest.raises(UsageError, match="tells them apart"):
        prepared(method, model, clip, settings)
