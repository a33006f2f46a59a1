"""Vid2Vid-Zero: dense attention between frames, and null embeddings in the second half of the steps; docs/methods.md 7.3."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.engine.tiny import TinyModel, latents
from tests.methods.inputs import Asked, edit_input, prepared, result
from vedit.errors import ModelError
from vedit.methods import p2p, vid2vid_zero
from vedit.methods.params import read_params

STEPS = 4
SOURCE, TARGET = "a red cat", "a blue dog"
TABLE: dict[str, Any] = {
    "steps": STEPS,
    "guidance": 3.0,
    "self_max_tokens": 64,
    "cross_replace": 0.5,
    "self_replace": 0.5,
}


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


def edited(model: TinyModel, clip: Asked, method: Any = vid2vid_zero, **table: Any) -> torch.Tensor:
    return result(method, model, clip, read_params(method.Params, {**TABLE, **table}, "test"))


def test_identical_frames_are_edited_as_one_of_them(model: TinyModel) -> None:
    """Keys that are there several times over cancel in the softmax."""
    clean = latents(1).repeat(3, 1, 1, 1)
    many = edit_input(model, SOURCE, TARGET, STEPS, latents_FCYX=clean)
    wanted = edited(model, many, p2p, source_branch="resample")
    torch.testing.assert_close(edited(model, many), wanted, rtol=0, atol=1e-10)


def test_every_frame_sees_all_others(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS, frames=3)
    moved = clip.latents_FCYX.clone()
    moved[2] += 0.3
    other = edit_input(model, SOURCE, TARGET, STEPS, latents_FCYX=moved)
    for layers, is_seen in ((["*.attentions.0"], True), ([], False)):
        change = edited(model, other, dense_layers=layers, sparse_layers="none") - edited(
            model, clip, dense_layers=layers, sparse_layers="none"
        )
        assert [bool(frame > 1e-9) for frame in change.abs().flatten(1).amax(1)] == [is_seen, is_seen, True]


def test_its_rules_share_the_sites_between_them(model: TinyModel) -> None:
    outline = prepared(
        vid2vid_zero,
        model,
        edit_input(model, SOURCE, TARGET, STEPS, frames=2),
        read_params(vid2vid_zero.Params, TABLE, "test"),
    )
    counts = {
        rule.name: rule.select.expect
        for rule in outline.plan.rules
        if rule.select is not None and rule.name.endswith("attention")
    }
    # Stable Diffusion has seven blocks with transformers: 3 down, 1 in the middle, 3 up; 16 transformers in all
    assert (counts["dense attention"], counts["sparse-causal attention"]) == (7, 9)


def test_null_embeddings_guide_from_the_second_half_on(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS, frames=2)
    asked: list[int] = []
    null = model.encode_prompt("a mirror")

    def uncond(index: int) -> torch.Tensor:
        asked.append(index)
        return null

    edited(model, replace(clip, uncond=uncond))
    assert sorted(set(asked)) == [2, 3]
    asked.clear()
    edited(model, replace(clip, uncond=uncond), null_from=0.0)
    assert sorted(set(asked)) == [0, 1, 2, 3]


def test_the_inversion_sees_single_frames_unless_told_otherwise() -> None:
    params = read_params(vid2vid_zero.Params, TABLE, "test")
    assert (params.inflation, params.joins_frames, params.tuning) == ("none", True, None)
    assert read_params(vid2vid_zero.Params, {**TABLE, "plain_inversion": False}, "test").inflation == "dense"


def test_a_layer_that_is_not_there_is_refused(model: TinyModel) -> None:
    with pytest.raises(ModelError, match="dense_layers"):
        edited(model, edit_input(model, SOURCE, TARGET, STEPS, frames=1), dense_layers=["up_blocks.9.*"])
