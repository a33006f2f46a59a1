"""TokenFlow: against the published loop, and the identities of docs/methods.md 6."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.tokenflow_loop import published
from tests.engine.tiny import SIDE, TinyModel, latents
from tests.methods.inputs import Asked, edit_input, prepared, result, steps_of
from vedit.methods import pnp, tokenflow
from vedit.methods.params import read_params
from vedit.methods.tokenflow import KeyFrames, direction, nearest_tokens

STEPS = 4
SOURCE, TARGET, NEGATIVE = "a cat on a mirror", "a red dog at night", "big"


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


def params(**table: Any) -> tokenflow.Params:
    settings = {"steps": STEPS, "guidance": 3.0, "negative_prompt": NEGATIVE, "key_every": 2, **table}
    found: tokenflow.Params = read_params(tokenflow.Params, settings, "test")
    return found


def keys_of(clip: Asked, settings: tokenflow.Params) -> KeyFrames:
    return KeyFrames(clip.frames, settings.key_every, settings.max_keyframes, clip.seed)


def edited(model: TinyModel, clip: Asked, **table: Any) -> Tensor:
    return result(tokenflow, model, clip, params(**table))


@pytest.mark.parametrize(("feature", "attention"), [(0.8, 0.5), (1.0, 1.0), (0.0, 0.0)])
def test_the_reference_blend_equals_the_published_loop(
    model: TinyModel, feature: float, attention: float
) -> None:
    clip, settings = (
        edit_input(model, SOURCE, TARGET, STEPS, frames=6),
        params(blend="reference", feature_until=feature, attention_until=attention),
    )
    levels = [
        (model.schedule.level(timestep), model.schedule.after(clip.timesteps, step))
        for step, timestep in enumerate(clip.timesteps)
    ]
    expected = published(
        model.unet,
        clip.trajectory,
        clip.timesteps,
        levels,
        [model.encode_prompt(prompt) for prompt in (SOURCE, NEGATIVE, TARGET)],
        keys_of(clip, settings).chosen,
        every=2,
        guidance=3.0,
        feature_steps=int(feature * STEPS),
        attention_steps=int(attention * STEPS),
    )
    torch.testing.assert_close(result(tokenflow, model, clip, settings), expected, rtol=0, atol=1e-12)


def test_one_frame_that_is_its_own_keyframe_is_plug_and_play(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS, frames=1)
    plain = read_params(pnp.Params, {"steps": STEPS, "guidance": 3.0, "negative_prompt": NEGATIVE}, "test")
    torch.testing.assert_close(
        edited(model, clip, key_every=1), result(pnp, model, clip, plain), rtol=0, atol=1e-12
    )


def test_equal_frames_stay_equal(model: TinyModel) -> None:
    clip = edit_input(
        model, SOURCE, TARGET, STEPS, latents_FCYX=latents(1).expand(5, -1, -1, -1).contiguous()
    )
    found = edited(model, clip)
    torch.testing.assert_close(found, found[:1].expand_as(found), rtol=0, atol=1e-12)


def test_keyframes_everywhere_give_the_pass_of_the_keyframes(model: TinyModel) -> None:
    """With every frame a keyframe the edit is Plug-and-Play with attention extended over all frames."""
    from vedit.engine.rules import Gather
    from vedit.methods.sampled import Texts, branches_of, sampled
    from vedit.models.sites import Select

    clip, settings = edit_input(model, SOURCE, TARGET, STEPS, frames=3), params(key_every=1)
    texts, branches = Texts(model, clip.request, settings), branches_of(3.0, "src")
    injected = pnp.injections(model, settings, branches[1:], clip.request, range(STEPS), STEPS)
    everywhere = Gather(Select("self"), branches[1:], ("all",), (True,) * STEPS, order=1)
    joint = sampled(
        model,
        clip.request,
        lambda window: [texts.replayed(window, window.trajectory(0)), texts.guided(window, window.at(0))],
        branches,
        lambda window: (*injected.rules(window), everywhere),
    )
    *_, last = joint.run(clip.window)
    torch.testing.assert_close(
        result(tokenflow, model, clip, settings), last.latents["tgt"], rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(
    ("frames_per_call", "blend", "max_keyframes"), [(1, "paper", 16), (3, "paper", 2), (2, "reference", 3)]
)
def test_frames_in_chunks_give_the_same(
    model: TinyModel, frames_per_call: int, blend: str, max_keyframes: int
) -> None:
    whole, parts = (
        edit_input(model, SOURCE, TARGET, 2, frames=6, frames_per_call=size) for size in (6, frames_per_call)
    )
    table = {"steps": 2, "blend": blend, "max_keyframes": max_keyframes}
    torch.testing.assert_close(
        edited(model, parts, **table), edited(model, whole, **table), rtol=0, atol=1e-12
    )


def test_more_keyframes_than_may_attend_to_each_other_change_only_the_later_parts(model: TinyModel) -> None:
    """The first part has attended to itself either way; with room for all there are no parts."""
    clip = edit_input(model, SOURCE, TARGET, 1, frames=8)
    capped, free = (edited(model, clip, steps=1, max_keyframes=most) for most in (2, 16))
    assert float((capped - free).abs().max()) > 1e-6
    torch.testing.assert_close(edited(model, clip, steps=1, max_keyframes=4), free, rtol=0, atol=1e-12)


def test_a_keyframe_finds_itself_and_tiles_do_not_change_what_is_nearest() -> None:
    x, y = torch.randn(2, 50, 6, generator=torch.Generator().manual_seed(3)).unbind(0)
    assert torch.equal(nearest_tokens(x, direction(x)), torch.arange(50))
    expected = torch.nn.functional.cosine_similarity(y[:, None], x[None], dim=-1).argmax(-1)
    for tile in (1, 400, 10**6):
        assert torch.equal(nearest_tokens(y, direction(x), tile), expected)


def test_the_first_of_equally_near_tokens_is_taken() -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert nearest_tokens(3 * x, direction(x), 8).tolist() == [0, 1, 0]


def test_frames_take_from_both_sides_by_true_distance() -> None:
    keys = KeyFrames(16, 8, 16, seed=5)
    first, second = keys.chosen(0)
    assert 0 <= first < 8 <= second < 16 and len({keys.chosen(step) for step in range(8)}) > 4
    assert keys.neighbours(first, 0) == ((first, 1.0),) and keys.neighbours(15, 0) == ((second, 1.0),)
    if first:
        assert keys.neighbours(0, 0) == ((first, 1.0),)
    (before, near), (after, far) = keys.neighbours(first + 1, 0)
    assert (
        (before, after) == (first, second) and near + far == 1 and far == pytest.approx(1 / (second - first))
    )


def test_the_published_weights_look_at_the_middles_of_the_stretches() -> None:
    """sigmoid(d2 / (d1 + d2)): 0.73 at the middle of a stretch, and never less than 0.62."""
    keys = KeyFrames(16, 8, 16)
    shares = [keys.published(frame, 0)[0][1] for frame in range(8, 16)]
    assert shares[4] == pytest.approx(0.731, abs=1e-3) and min(shares) == pytest.approx(0.622, abs=3e-2)
    assert keys.published(3, 0) == ((keys.chosen(0)[0], 1.0),)


def test_keyframes_do_not_depend_on_the_length_of_the_clip() -> None:
    assert KeyFrames(40, 8, 16, seed=1).chosen(3)[:2] == KeyFrames(16, 8, 16, seed=1).chosen(3)


def test_parts_of_the_keyframes_leave_room_for_those_before_them() -> None:
    keys = KeyFrames(11, 1, 4)
    assert [len(group) for group in keys.groups(0)] == [4, 2, 2, 2, 1]
    assert tuple(key for group in keys.groups(0) for key in group) == keys.chosen(0) == tuple(range(11))


def test_sdedit_starts_from_the_clip_with_the_noise_of_its_inversion(model: TinyModel) -> None:
    clip, settings = edit_input(model, SOURCE, TARGET, STEPS), params(base="sdedit", strength=0.5)
    begun = tokenflow.noised(model, clip.request, clip.window, 0)
    torch.testing.assert_close(
        begun, clip.trajectory(0), rtol=0, atol=1e-12
    )  # at the noisiest level it is the inversion's own
    assert [step.index for step in steps_of(tokenflow, model, clip, settings)] == [2, 3]
    names = [rule.name for rule in prepared(tokenflow, model, clip, settings).plan.rules]
    assert names == ["extended attention", "keyframe features", "propagation"]


def test_what_is_held_does_not_grow_with_the_clip() -> None:
    from vedit.engine.rules.rule import Shape
    from vedit.methods.tokenflow import propagation

    def held(total: int) -> int:
        rules = propagation(KeyFrames(total, 8, 4), ("src", "tgt/uncond", "tgt"), (True,), "paper")
        return sum(rule.bytes(Shape(total, SIDE * SIDE, SIDE * SIDE, 8, 16)) for rule in rules)

    assert held(8) < held(16) < held(64) == held(6400)
