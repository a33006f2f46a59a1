"""FateZero, and Edit-A-Video's carried mask: the identities of docs/methods.md 7.2 and 7.4."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.engine.tiny import TinyModel, latents
from tests.methods.inputs import Asked, edit_input, last_step, plain_ddim, prepared, result
from vedit.engine.inflation import inflated_controller
from vedit.engine.invert import invert
from vedit.errors import UsageError
from vedit.methods import edit_a_video, fatezero, p2p
from vedit.methods.edit_a_video import carried, first_columns
from vedit.methods.params import read_params

STEPS = 3
SOURCE, TARGET = "a red cat", "a blue dog"
TABLE: dict[str, Any] = {"steps": STEPS, "guidance": 3.0, "self_max_tokens": 64, "blend_scales": [1, 2]}


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


@pytest.fixture(scope="module")
def clip(model: TinyModel) -> Asked:
    return edit_input(model, SOURCE, TARGET, STEPS, frames=3)


def edited(model: TinyModel, clip: Asked, method: Any = fatezero, **table: Any) -> torch.Tensor:
    return result(method, model, clip, read_params(method.Params, {**TABLE, **table}, "test"))


def alone(**table: Any) -> dict[str, Any]:
    """Settings with which frames see only themselves."""
    return {"frame_attention": "none", **table}


def test_without_a_place_of_its_own_it_is_the_whole_replacement_of_prompt_to_prompt(
    model: TinyModel, clip: Asked
) -> None:
    shares = {"cross_replace": 0.7, "self_replace": 0.7}
    wanted = edited(model, clip, p2p, **shares)
    for table in (
        {},
        {"shape_words": ["cat"], "shape_threshold": 1.5},
        {"shape_words": ["cat"], "shape_threshold": 1.0},
    ):
        torch.testing.assert_close(
            edited(model, clip, **alone(**shares, **table)), wanted, rtol=0, atol=1e-12
        )


def test_where_the_mask_is_everything_self_attention_is_left_alone_bit_for_bit(
    model: TinyModel, clip: Asked
) -> None:
    plain = edited(model, clip, **alone(self_replace=0.0))
    assert torch.equal(
        edited(model, clip, **alone(self_replace=1.0, shape_words=["cat"], shape_threshold=0.0)), plain
    )
    assert not torch.equal(edited(model, clip, **alone(self_replace=1.0)), plain)


def test_a_mask_in_part_lies_between(model: TinyModel, clip: Asked) -> None:
    some = edited(model, clip, **alone(self_replace=1.0, shape_words=["cat"], shape_threshold=0.8))
    for other in (alone(self_replace=0.0), alone(self_replace=1.0)):
        assert not torch.equal(some, edited(model, clip, **other))


def test_equal_prompts_without_guidance_sample_the_clip_s_own_trajectory(
    model: TinyModel, clip: Asked
) -> None:
    same = replace(clip, target_prompt=SOURCE)
    free = edited(model, same, **alone(guidance=1.0, cross_replace=0.0, self_replace=0.0))
    torch.testing.assert_close(free, plain_ddim(model, same, SOURCE, 1.0), rtol=0, atol=1e-12)
    kept = edited(model, same, **alone(guidance=1.0, cross_replace=1.0, self_replace=1.0))
    error, plain = (
        float((found - clip.latents_FCYX).pow(2).mean())
        for found in (kept, plain_ddim(model, same, SOURCE, 1.0))
    )
    assert error < 1.5 * plain


def test_frames_see_the_middle_one(model: TinyModel) -> None:
    """A frame but the middle one changes no other; the middle one changes all."""
    clean = latents(3)
    params = read_params(fatezero.Params, {**TABLE, "shape_words": ["cat"]}, "test")

    def run(changed: int | None) -> torch.Tensor:
        moved = clean.clone()
        if changed is not None:
            moved[changed] += 0.3
        controller = inflated_controller(model, "middle-frame", "src", STEPS, 3, (8, 8))
        timesteps = model.schedule.timesteps(STEPS)
        levels = {
            level.index: level.latents
            for level in invert(model, timesteps, moved, model.encode_prompt(SOURCE), controller=controller)
        }
        stored = [*(levels[index] for index in range(STEPS)), moved]
        return result(
            fatezero,
            model,
            edit_input(model, SOURCE, TARGET, STEPS, trajectory=stored, latents_FCYX=moved),
            params,
        )

    before = run(None)
    for changed, others in ((0, [False, True, True]), (1, [False, False, False])):
        same = (run(changed) - before).abs().flatten(1).amax(1) < 1e-12
        assert same.tolist() == others


def test_the_masks_cost_an_evaluation_a_step_which_is_told(model: TinyModel, clip: Asked) -> None:
    counts = [
        prepared(fatezero, model, clip, read_params(fatezero.Params, {**TABLE, **table}, "test")).evaluations
        for table in ({}, {"shape_words": ["cat"]})
    ]
    assert counts == [3 * STEPS, 4 * STEPS]


def test_a_word_that_is_not_in_the_source_is_refused(model: TinyModel, clip: Asked) -> None:
    with pytest.raises(UsageError, match="dog"):
        edited(model, clip, shape_words=["dog"])


def test_a_mask_that_carries_nothing_is_fatezero_s(model: TinyModel, clip: Asked) -> None:
    table = {"shape_words": ["cat"], "shape_threshold": 0.8, "self_replace": 1.0}
    wanted = edited(model, clip, frame_attention="sparse-causal", **table)
    torch.testing.assert_close(
        edited(model, clip, edit_a_video, carry=0.0, **table), wanted, rtol=0, atol=1e-12
    )
    assert (edited(model, clip, edit_a_video, carry=1.0, **table) - wanted).abs().max() > 1e-6


def test_a_carried_mask_lies_where_frames_look_at_the_first_one_s() -> None:
    """Frame 2 looks one place to the left: the first frame's mask arrives one place to the right."""
    mask = torch.zeros(2, 1, 1, 4)
    mask[0, 0, 0, 1] = 1
    shift = torch.eye(4).roll(1, 0)
    found = carried(mask, torch.stack([torch.eye(4), 0.5 * shift]), (1, 4), 1.0)
    assert found[:, 0, 0].tolist() == [[0, 1, 0, 0], [0, 0, 1, 0]]
    assert carried(mask, torch.stack([torch.eye(4), shift]), (1, 4), 0.25)[1, 0, 0].tolist() == [
        0,
        0,
        0.25,
        0,
    ]
    ones = torch.ones(2, 1, 1, 4)
    torch.testing.assert_close(carried(ones, torch.rand(2, 4, 4), (1, 4), 0.7), ones)


def test_columns_of_the_first_frame_are_those_of_the_whole_softmax() -> None:
    q, k = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 10, 4)
    wanted = (q @ k.transpose(-1, -2) / 2).softmax(-1)[..., :5].mean(1)
    torch.testing.assert_close(first_columns(q, k), wanted)


def test_tuned_on_the_clip_it_edits_on_layers_over_frames(model: TinyModel, clip: Asked) -> None:
    outline = prepared(
        edit_a_video, model, clip, read_params(edit_a_video.Params, {**TABLE, "shape_words": ["cat"]}, "test")
    )
    assert {"attention over frames", "sparse-causal attention"} <= {rule.name for rule in outline.plan.rules}
    step = last_step(
        edit_a_video,
        model.inflated(),
        clip,
        read_params(edit_a_video.Params, {**TABLE, "shape_words": ["cat"]}, "test"),
    )
    assert bool(step.latents["tgt"].isfinite().all())
