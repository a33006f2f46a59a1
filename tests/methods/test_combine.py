"""GLP with a forward method: each form against its parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.engine.tiny import TinyModel
from tests.methods.flow import TinyWan, request_for
from tests.methods.inputs import edit_input, last_step, plain_ddim, prepared, result, steps_of, trajectory_of
from vedit.engine.classify import foreseen_better
from vedit.engine.inflation import inflated_controller
from vedit.engine.invert import invert
from vedit.errors import ModelError, UsageError
from vedit.methods import combine, dds, glp, p2p
from vedit.methods.params import mistakes, read_params

STEPS = 4
SOURCE, TARGET = "a cat on a mirror", "a dog on a mirror"
QUICK = {"iterations": 6, "lr": 0.2, "w1": 1.0, "w2": 1.0}
NOTHING = {
    "p2p": {"cross_replace": 0.0, "self_replace": 0.0},
    "pnp": {"feature_until": 0.0, "attention_until": 0.0},
    "masactrl": {"start_step": STEPS},
    "fatezero": {"cross_replace": 0.0, "self_replace": 0.0, "frame_attention": "none"},
    "flatten": {"sees": "none", "track_until": 0.0, "feature_until": 0.0, "attention_until": 0.0},
}


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


def params(**table: Any) -> combine.Params:
    return read_params(combine.Params, {"steps": STEPS, "guidance": 3.0, "glp": QUICK, **table}, "test")


@pytest.mark.parametrize("forward", sorted(NOTHING))
@pytest.mark.parametrize("start", [0, 2])
def test_sequential_inverts_what_glp_made_and_samples_from_there(
    model: TinyModel, forward: str, start: int
) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS)
    settings = params(forward=forward, start_index=start, **{forward: NOTHING[forward]})
    made = result(glp, model, clip, settings.backward)
    again = edit_input(
        model, SOURCE, TARGET, STEPS, trajectory=trajectory_of(model, made, TARGET, clip.timesteps)
    )
    steps = list(steps_of(combine, model, clip, settings))
    torch.testing.assert_close(
        steps[-1].latents["tgt"], plain_ddim(model, again, TARGET, 3.0, start=start), rtol=0, atol=1e-10
    )
    assert len(steps) == prepared(combine, model, clip, settings).total == 6 + 2 * (STEPS - start)


@pytest.mark.parametrize("start", [0, 2])
def test_glps_result_is_inverted_as_finely_as_the_clip(model: TinyModel, start: int) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS)
    settings = params(forward="p2p", start_index=start, inversion_steps=5 * STEPS, **NOTHING)
    made = result(glp, model, clip, settings.backward)
    fine = model.schedule.timesteps(5 * STEPS)
    levels = {
        level.timestep: level.latents for level in invert(model, fine, made, model.encode_prompt(TARGET))
    }
    steps = list(steps_of(combine, model, clip, settings))
    inverted = steps[6 : len(steps) - (STEPS - start)]
    assert [step.timestep for step in inverted] == sorted(t for t in fine if t <= clip.timesteps[start])
    torch.testing.assert_close(inverted[-1].latents["tgt"], levels[clip.timesteps[start]], rtol=0, atol=1e-10)
    assert len(steps) == prepared(combine, model, clip, settings).total
    assert f"and {len(inverted)} of inversion" in prepared(combine, model, clip, settings).about[0]


@pytest.mark.parametrize("forward", ["p2p", "pnp"])
def test_the_forward_method_reads_the_clips_own_inversion(model: TinyModel, forward: str) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS)
    assert (
        float(
            (
                result(combine, model, clip, params(forward=forward))
                - result(combine, model, clip, params(forward=forward, **{forward: NOTHING[forward]}))
            )
            .abs()
            .max()
        )
        > 1e-4
    )
    *_, step = steps_of(combine, model, clip, params(forward=forward))
    assert torch.equal(step.latents["src"], clip.latents_FCYX)


@pytest.mark.parametrize("forward", ["fatezero", "flatten"])
def test_glps_result_is_inverted_as_its_frames_will_see_each_other(model: TinyModel, forward: str) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS)
    seeing = {"fatezero": {"frame_attention": "sparse-causal"}, "flatten": {"sees": "sparse-causal"}}[forward]
    settings = params(forward=forward, start_index=1, **{forward: seeing})
    assert settings.inflation == "sparse-causal" and settings.joins_frames
    made, levels = result(glp, model, clip, settings.backward), clip.timesteps[1:]
    seen = inflated_controller(model, "sparse-causal", "src", len(levels), len(made), clip.request.size)
    *_, last = invert(model, levels, made, model.encode_prompt(TARGET), controller=seen)
    then = combine.FORWARD[forward].prepare(model, clip.request, settings.onward)
    *_, wanted = then.run(replace(clip.window, begin=last.latents))
    assert torch.equal(result(combine, model, clip, settings), wanted.latents["tgt"])


@pytest.mark.parametrize("forward", ["p2p", "pnp"])
def test_in_loop_without_injection_is_glp(model: TinyModel, forward: str) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS)
    settings = params(forward=forward, form="in-loop", **{forward: NOTHING[forward]})
    assert torch.equal(result(combine, model, clip, settings), result(glp, model, clip, settings.backward))
    injecting = params(forward=forward, form="in-loop")
    assert (
        float(
            (result(combine, model, clip, injecting) - result(glp, model, clip, settings.backward))
            .abs()
            .max()
        )
        > 1e-5
    )
    assert prepared(combine, model, clip, injecting).total == 6


def test_in_loop_with_equal_prompts_is_the_source(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, SOURCE, STEPS)
    found = result(
        combine,
        model,
        clip,
        params(form="in-loop", forward="p2p", p2p={"cross_replace": 1.0, "self_replace": 1.0}),
    )
    torch.testing.assert_close(found, clip.latents_FCYX, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("forward", "table"),
    [
        ("p2p", {"cross_replace": 0.3, "self_replace": 0.3}),
        ("pnp", {"feature_until": 0.3, "attention_until": 0.3}),
    ],
)
def test_in_loop_rules_act_at_the_noisy_timesteps(
    model: TinyModel, forward: str, table: dict[str, float]
) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS)
    settings = params(form="in-loop", forward=forward, glp={**QUICK, "iterations": 80}, **{forward: table})
    drawn = [dds.timestep_of(settings.backward, clip, iteration, 1000) for iteration in range(80)]
    rules = prepared(combine, model, clip, settings).plan.rules
    assert len(rules) == 2
    for rule in rules:
        assert list(rule.steps) == [timestep >= 700 for timestep in drawn]


def test_mistakes_in_inner_tables_are_reported_with_their_table() -> None:
    (found,) = mistakes(combine.Params, {"glp": {"iteratons": 3}, "pnp": {"steps": 20, "attention_until": 2}})
    assert (
        "glp: no key 'iteratons'; did you mean iterations?" in found
        and "pnp: attention_until = 2" in found
        and "pnp: steps is set for the whole" in found
    )
    with pytest.raises(UsageError, match="local blend needs sampling"):
        params(form="in-loop", p2p={"blend_words": ["cat"]})
    with pytest.raises(UsageError, match=r'"masactrl" needs sampling.* it takes p2p or pnp'):
        params(form="in-loop", forward="masactrl")
    with pytest.raises(UsageError, match='base = "sdedit" begins with the noised clip'):
        params(forward="tokenflow", tokenflow={"base": "sdedit"})


def test_a_mistake_of_the_forward_method_shows_before_the_optimisation(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS)
    with pytest.raises(UsageError, match="does not occur"):
        next(steps_of(combine, model, clip, params(forward="p2p", p2p={"equalizer": {"dragon": 2.0}})))


@pytest.mark.parametrize("form", ["sequential", "in-loop"])
@pytest.mark.parametrize("forward", ["p2p", "pnp"])
def test_masks_and_attention_are_handed_over_in_both_forms(model: TinyModel, form: str, forward: str) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS, wants_attention=True)
    masked = {
        **QUICK,
        "iterations": 3,
        "mask_words": ["cat"],
        "mask_scales": [1],
        "mask_threshold": 0.9,
        "mask_after": 1,
    }
    settings = params(form=form, forward=forward, glp=masked)
    outline = prepared(combine, model, clip, settings)
    assert outline.makes_mask and outline.held_bytes > 0
    last = last_step(combine, model, clip, settings)
    assert last.mask is not None and 0 < int(last.mask.sum()) < last.mask.numel()
    assert {"src/cat", "tgt/dog"} <= last.attention.keys()
    assert all(bool(maps.isfinite().all()) and float(maps.max()) > 0 for maps in last.attention.values())


@pytest.mark.parametrize(("source", "words"), [(SOURCE, ("cat", "dog")), (TARGET, ("dog",))])
def test_words_of_the_object_are_those_of_glps_mask_and_of_the_local_blend_after_it(
    model: TinyModel, source: str, words: tuple[str, ...]
) -> None:
    clip = edit_input(model, source, TARGET, STEPS)
    short = {"forward": "p2p", "start_index": 2}
    glp_table = {**QUICK, "mask_after": 2}
    mine = params(**short, glp=glp_table, object_words=words)
    masked = {**glp_table, "mask_words": [words[0]]}
    named = params(**short, glp=masked, p2p={"blend_words": list(words)})
    assert torch.equal(
        last_step(combine, model, clip, mine).latents["tgt"], result(combine, model, clip, named)
    )
    inside = params(form="in-loop", forward="p2p", glp=glp_table, object_words=words)
    same = params(form="in-loop", forward="p2p", glp=masked)
    assert torch.equal(result(combine, model, clip, inside), result(combine, model, clip, same))


@pytest.mark.parametrize(("forward", "key"), [("masactrl", "object_words"), ("fatezero", "blend_words")])
def test_words_of_the_object_are_those_that_the_forward_method_has_for_it(
    model: TinyModel, forward: str, key: str
) -> None:
    request = edit_input(model, SOURCE, TARGET, STEPS).request
    told = combine.told(model, request, params(forward=forward, object_words=["cat", "dog"]))
    assert getattr(told, forward) == {key: ["cat", "dog"]} and told.glp["mask_words"] == ["cat"]


def test_a_word_of_neither_prompt_is_refused(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS)
    with pytest.raises(UsageError, match="'bird' does not occur"):
        prepared(combine, model, clip, params(object_words=["bird"], glp={**QUICK, "mask_after": 2}))


def test_on_a_model_of_clips_the_forward_method_is_p2p() -> None:
    wan = TinyWan()
    request = request_for("a red cat", "a blue cat", wan, STEPS)
    with pytest.raises(ModelError, match="forward = pnp injects") as refused:
        combine.prepare(wan, request, params(forward="pnp"))
    assert "--set forward=p2p" in str(refused.value)
    for form in ("sequential", "choice", "in-loop"):
        made = combine.prepare(wan, request, params(forward="p2p", form=form))
        assert made.total > 0


@pytest.mark.parametrize("margin", [0.0, 1000.0])
def test_a_choice_keeps_the_forward_method_alone_or_behind_glp(model: TinyModel, margin: float) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS, frames=3)
    settings = params(form="choice", forward="p2p", choice_margin=margin)
    steps = list(steps_of(combine, model, clip, settings))
    behind = settings.model_copy(update={"form": "sequential"})
    parts = [result(p2p, model, clip, settings.alone), result(combine, model, clip, behind)]
    texts = model.encode_prompt(TARGET), model.encode_prompt(SOURCE)
    first, second = (foreseen_better(model, part, texts, seed=clip.seed) for part in parts)
    torch.testing.assert_close(
        steps[-1].latents["tgt"], parts[1 if second > margin * first else 0], rtol=0, atol=1e-12
    )
    made = prepared(combine, model, clip, settings)
    assert len(steps) == made.total == STEPS + prepared(combine, model, clip, behind).total + 1
    assert settings.joins_frames, "a clip makes one choice"
