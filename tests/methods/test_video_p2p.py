"""Video-P2P: inflation, tuning and decoupled guidance, by the identities of docs/methods.md 3."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.engine.tiny import TinyModel, latents
from tests.methods.inputs import Asked, edit_input, prepared, result, steps_of
from vedit.engine.inflation import inflated_controller
from vedit.engine.invert import invert
from vedit.engine.null_text import NullText, null_text
from vedit.engine.tune import Tuning, tune
from vedit.errors import UsageError
from vedit.methods import p2p, video_p2p
from vedit.methods.params import read_params

STEPS, GUIDANCE = 3, 3.0
SOURCE, TARGET = "a red cat", "a blue dog"


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


@pytest.fixture(scope="module")
def tuned(model: TinyModel) -> TinyModel:
    """The model tuned for two steps at a large rate: layers over frames act."""
    found = model.inflated()
    for _ in tune(found, latents(3), found.encode_prompt(SOURCE), Tuning(2, 1e-2), "first-frame"):
        pass
    return found


def params(**table: Any) -> video_p2p.Params:
    table = {"steps": STEPS, "guidance": GUIDANCE, "self_max_tokens": 64, **table}
    found: video_p2p.Params = read_params(video_p2p.Params, table, "test")
    return found


def predicted(model: TinyModel, clip: Tensor, inflation: Any = "first-frame") -> Tensor:
    """The network's output for a clip under an inflation."""
    controller = inflated_controller(model, inflation, "src", 1, len(clip), (8, 8))
    assert controller is not None
    with torch.no_grad(), controller.installed(), controller.call(0, slice(0, len(clip))):
        return model.predict(clip, 500, model.encode_prompt(SOURCE).expand(len(clip), -1, -1))


def image(model: TinyModel, clip: Tensor) -> Tensor:
    with torch.no_grad():
        return model.predict(clip, 500, model.encode_prompt(SOURCE).expand(len(clip), -1, -1))


def inflated_clip(
    model: TinyModel, inflation: Any = "first-frame", frames: int = 3, fixed_point: int = 0, **more: Any
) -> Asked:
    """A clip inverted under an inflation."""
    clean, timesteps = latents(frames), model.schedule.timesteps(STEPS)
    controller = inflated_controller(model, inflation, "src", STEPS, frames, (8, 8))
    text = model.encode_prompt(SOURCE)
    steps = invert(model, timesteps, clean, text, controller=controller, fixed_point=fixed_point)
    levels = {level.index: level.latents.clone() for level in steps}
    return edit_input(
        model,
        SOURCE,
        more.pop("target", TARGET),
        STEPS,
        latents_FCYX=clean,
        trajectory=[*(levels[i] for i in range(STEPS)), clean],
        **more,
    )


def test_one_frame_of_an_inflated_network_is_the_image_network_s_bit_for_bit(model: TinyModel) -> None:
    clip = latents(1)
    assert torch.equal(predicted(model.inflated(), clip), image(model, clip))


def test_identical_frames_give_what_one_of_them_gives(model: TinyModel) -> None:
    clip = latents(1)
    found = predicted(model.inflated(), clip.repeat(3, 1, 1, 1))
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    torch.testing.assert_close(found[:1], image(model, clip), rtol=0, atol=1e-12)


def test_frames_see_the_first_alone_and_not_each_other_before_tuning(
    model: TinyModel, tuned: TinyModel
) -> None:
    clip = latents(4)
    mixed = clip[[0, 3, 1, 2]]
    torch.testing.assert_close(
        predicted(model.inflated(), mixed),
        predicted(model.inflated(), clip)[[0, 3, 1, 2]],
        rtol=0,
        atol=1e-12,
    )
    other = torch.cat([clip[:3], clip[3:] + 1])
    change = (predicted(tuned, other) - predicted(tuned, clip)).abs().flatten(1).amax(1)
    assert bool((change > 1e-6).all()), "tuned layers over frames tell every frame of the others"


def test_sparse_causal_attention_of_identical_frames_is_plain_attention(model: TinyModel) -> None:
    clip = latents(1).repeat(3, 1, 1, 1)
    for inflation in ("sparse-causal", "dense", "middle-frame"):
        torch.testing.assert_close(predicted(model, clip, inflation), image(model, clip), rtol=0, atol=1e-12)


def test_an_inflated_network_leaves_the_image_network_as_it_was(model: TinyModel) -> None:
    before = {name: weight.clone() for name, weight in model.unet.state_dict().items()}
    processors = dict(model.unet.attn_processors)
    other, clip = model.inflated(), latents(2)
    list(tune(other, clip, model.encode_prompt(SOURCE), Tuning(1, 1e-2), "first-frame"))
    assert model.unet.attn_processors == processors
    assert all(torch.equal(weight, before[name]) for name, weight in model.unet.state_dict().items())
    after = other.unet.state_dict()
    changed = {name for name, weight in before.items() if not torch.equal(after[name], weight)}
    assert changed == {name for name in before if ".attn1.to_q." in name or ".attn2.to_q." in name}
    shared = {id(weight) for weight in model.unet.parameters()}
    assert sum(id(weight) not in shared for weight in other.unet.parameters()) == len(other.tunable())


def test_no_steps_of_tuning_change_nothing(model: TinyModel) -> None:
    other, fresh = model.inflated(), model.inflated()
    assert list(tune(other, latents(2), model.encode_prompt(SOURCE), Tuning(0), "first-frame")) == []
    assert all(
        torch.equal(a, b)
        for a, b in zip(other.unet.state_dict().values(), fresh.unet.state_dict().values(), strict=True)
    )


def test_tuning_lowers_the_loss_on_its_clip(model: TinyModel) -> None:
    steps = list(
        tune(
            model.inflated(), latents(2), model.encode_prompt(SOURCE), Tuning(20, 1e-2, seed=1), "first-frame"
        )
    )
    fresh = [
        step.loss
        for step in tune(
            model.inflated(),
            latents(2),
            model.encode_prompt(SOURCE),
            Tuning(20, 1e-12, seed=1),
            "first-frame",
        )
    ]
    assert sum(step.loss for step in steps[10:]) < sum(fresh[10:])


def test_tuning_that_was_stopped_goes_on_bit_for_bit(model: TinyModel) -> None:
    text, clip, settings = model.encode_prompt(SOURCE), latents(2), Tuning(4, 1e-3)
    whole, resumed = model.inflated(), model.inflated()
    state: dict[str, Tensor] = {}
    for step in tune(whole, clip, text, settings, "first-frame"):
        if step.index == 1:
            state = {name: tensor.clone() for name, tensor in step.state.items()}
    list(tune(resumed, clip, text, settings, "first-frame", done=2, state=state))
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.unet.state_dict().values(), resumed.unet.state_dict().values(), strict=True)
    )


def test_the_source_samples_back_to_the_clip_on_the_network_it_was_inverted_on(tuned: TinyModel) -> None:
    clip, other = (inflated_clip(tuned, inflation, fixed_point=9) for inflation in ("first-frame", "none"))
    plain = params(source_branch="resample", inner_steps=0, guidance=1.0, cross_replace=0.0, self_replace=0.0)
    *_, step = steps_of(video_p2p, tuned, clip, plain)
    *_, wrong = steps_of(video_p2p, tuned, other, plain)
    error, missed = (
        float((found.latents["src"] - clip.latents_FCYX).pow(2).mean()) for found in (step, wrong)
    )
    assert error < 0.25 * missed, "the inversion of the image network is another's"


@pytest.mark.parametrize("over", ["temporal", "frame", "both"])
def test_equal_prompts_give_equal_branches(tuned: TinyModel, over: str) -> None:
    clip = inflated_clip(tuned, target=SOURCE)
    *_, step = steps_of(video_p2p, tuned, clip, params(inner_steps=0, self_over=over))
    assert torch.equal(step.latents["src"], step.latents["tgt"])


def test_taking_over_attention_over_frames_is_not_that_within_them(tuned: TinyModel) -> None:
    clip = inflated_clip(tuned)
    found = {
        over: result(video_p2p, tuned, clip, params(inner_steps=0, self_over=over, self_replace=1.0))
        for over in ("temporal", "frame", "both")
    }
    assert not torch.equal(found["temporal"], found["frame"]) and not torch.equal(
        found["both"], found["frame"]
    )


def optimised(model: TinyModel, clip: Asked, inner_steps: int) -> Asked:
    controller = inflated_controller(model, "first-frame", "src", STEPS, clip.frames, (8, 8))
    settings = NullText(GUIDANCE, inner_steps=inner_steps, early_stop=0.0)
    text, empty = model.encode_prompt(SOURCE), model.encode_prompt("")
    steps = list(
        null_text(model, clip.timesteps, clip.trajectory, text, empty, settings, controller=controller)
    )
    return replace(clip, uncond=lambda index: steps[index].embedding)


def test_decoupled_guidance_with_equal_embeddings_is_plain_guidance(tuned: TinyModel) -> None:
    clip = inflated_clip(tuned)
    assert torch.equal(
        result(video_p2p, tuned, optimised(tuned, clip, 0), params()),
        result(video_p2p, tuned, clip, params()),
    )


def test_null_embeddings_hold_the_source_and_leave_the_target_its_empty_prompt(tuned: TinyModel) -> None:
    clip = inflated_clip(tuned)
    free = params(cross_replace=0.0, self_replace=0.0)
    *_, plain = steps_of(video_p2p, tuned, clip, free)
    *_, held = steps_of(video_p2p, tuned, optimised(tuned, clip, 4), free)
    errors = [float((step.latents["src"] - clip.latents_FCYX).pow(2).mean()) for step in (plain, held)]
    assert errors[1] < errors[0]
    assert torch.equal(plain.latents["tgt"], held.latents["tgt"])


def test_untuned_on_one_frame_it_is_prompt_to_prompt(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS, frames=1)
    table = {
        "steps": STEPS,
        "guidance": GUIDANCE,
        "cross_replace": 0.5,
        "self_replace": 0.5,
        "self_max_tokens": 64,
        "source_branch": "replay",
    }
    plain = result(p2p, model, clip, read_params(p2p.Params, table, "test"))
    assert torch.equal(result(video_p2p, model, clip, params(**table, self_over="frame")), plain)


def test_words_that_do_not_swap_are_refused_with_their_counts(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, "a big blue dog", STEPS, frames=1)
    with pytest.raises(UsageError, match=r"3 words.*4|equal"):
        prepared(video_p2p, model, clip, params(mode="swap"))


@pytest.mark.parametrize(
    "table, is_wanted",
    [({}, True), ({"inner_steps": 0}, False), ({"guidance": 1.0}, False), ({"source_branch": "replay"}, False),
     ({"source_branch": "replay", "null_text": "both"}, True), ({"null_text": "none"}, False)],
)  # fmt: skip
def test_null_embeddings_are_optimised_where_something_reads_them(
    table: dict[str, Any], is_wanted: bool
) -> None:
    assert (params(**table).null is not None) == is_wanted


def test_another_step_count_than_that_of_the_null_embeddings_is_refused() -> None:
    with pytest.raises(UsageError, match="inversion_steps = 6"):
        params(inversion_steps=6)
    assert params(inversion_steps=6, inner_steps=0).null is None
