"""DDS and GLP: the identities of docs/methods.md 5, through the whole loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.engine.tiny import SIDE, TinyModel, latents, unet
from tests.methods.inputs import Asked, edit_input, last_step, prepared, steps_of
from vedit.engine.noise import noise_like
from vedit.engine.rules import Plan
from vedit.engine.sample import Step
from vedit.errors import ModelError, UsageError, VeditError
from vedit.methods import dds, glp
from vedit.methods.params import read_params
from vedit.methods.sampled import Texts, bound

SOURCE, TARGET = "a cat on a mirror", "a red dog"
COUNT = 4
ALONE = (0.0, 1.0, 0.0)


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


def clip_of(model: TinyModel, source: str = SOURCE, target: str = TARGET, **more: Any) -> Asked:
    return edit_input(model, source, target, 2, trajectory=[], **more)


def run(method: Any, model: TinyModel, clip: Asked, **table: Any) -> Tensor:
    return last_of(method, model, clip, **table).latents["tgt"]


def last_of(method: Any, model: TinyModel, clip: Asked, **table: Any) -> Step:
    params = read_params(
        method.Params,
        {"iterations": COUNT, "guidance": 3.0, "lr": 0.07, "w1": 2.0, "w2": 2.0, **table},
        "test",
    )
    return last_step(method, model, clip, params)


def score_of(model: TinyModel, clip: Asked, params: Any) -> dds.Score:
    """The gradients of a clip, by themselves."""
    branches = ("src/uncond", "src", "tgt/uncond", "tgt")
    controller = bound(model, clip.request, Plan(), branches, clip.frames)
    return dds.Score(Texts(model, clip.request, params), clip.window, controller, params)


@torch.no_grad()
def by_hand(model: TinyModel, clip: Asked, guidance: float, lr: float) -> Tensor:
    """The delta denoising score written out, with the draws of the method."""
    source = z = clip.latents_FCYX
    empty, old, new = (
        model.encode_prompt(text).expand(len(z), -1, -1)
        for text in ("", clip.source_prompt, clip.target_prompt)
    )
    for iteration in range(COUNT):
        timestep = dds.timestep_of(dds.Params(), clip, iteration, 1000)
        noise = noise_like(z, clip.seed, 2, iteration)
        a = model.schedule.level(timestep)
        eps = []
        for base, text in ((source, old), (z, new)):
            noisy = a**0.5 * base + (1 - a) ** 0.5 * noise
            none, cond = (
                model.unet(noisy, timestep, encoder_hidden_states=part).sample for part in (empty, text)
            )
            eps.append(none + guidance * (cond - none))
        z = z - lr * (eps[1] - eps[0])
    return z


def test_dds_equals_its_formula(model: TinyModel) -> None:
    clip = clip_of(model)
    torch.testing.assert_close(
        run(dds, model, clip, w1=1.0), by_hand(model, clip, 3.0, 0.07), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("method", [dds, glp])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_no_edit_is_the_source_exactly(model: TinyModel, method: Any, guidance: float) -> None:
    clip = clip_of(model, target=SOURCE)
    assert torch.equal(run(method, model, clip, guidance=guidance), clip.latents_FCYX)


def test_a_window_of_one_without_purification_of_latents_is_dds_bit_for_bit(model: TinyModel) -> None:
    clip = clip_of(model)
    one = run(glp, model, clip, window=1, omega=ALONE, gamma=0.0, purify_latents=False)
    assert torch.equal(one, run(dds, model, clip))
    assert not torch.equal(one, clip.latents_FCYX)


def test_ablations_are_dds_and_three_others(model: TinyModel) -> None:
    clip = clip_of(model)
    found = {name: run(glp, model, clip, **switches) for name, switches in glp.ABLATIONS.items()}
    assert torch.equal(found["DDS"], run(dds, model, clip))
    names = list(found)
    assert all(not torch.equal(found[a], found[b]) for place, a in enumerate(names) for b in names[:place])


def test_all_axes_step_along_the_windows_mean(model: TinyModel) -> None:
    clip = clip_of(model)
    params = read_params(
        glp.Params,
        {"iterations": 2, "guidance": 3.0, "energy": 1.0, "gamma": 0, "purify_latents": False},
        "test",
    )
    score = score_of(model, clip, params)
    with torch.inference_mode():
        _, first = score.gradient(clip.latents_FCYX, 0)
        moved = clip.latents_FCYX - 0.07 * 2 * first
        _, second = score.gradient(moved, 1)
    *_, step = steps_of(glp, model, clip, params)
    torch.testing.assert_close(
        step.latents["tgt"], moved - 0.07 * 2 * (first + second) / 2, rtol=0, atol=1e-10
    )


def test_no_noise_and_all_axes_end_at_the_mean_of_the_last_latents(model: TinyModel) -> None:
    clip = clip_of(model)
    params = read_params(
        glp.Params,
        {"iterations": COUNT, "guidance": 3.0, "latent_window": 2, "latent_energy": 1.0, "latent_noise": 0.0},
        "test",
    )
    plain = params.model_copy(update={"purify_latents": False})
    steps = [step.latents["tgt"] for step in steps_of(glp, model, clip, plain)]
    *_, last = steps_of(glp, model, clip, params)
    torch.testing.assert_close(last.latents["tgt"], (steps[-1] + steps[-2]) / 2, rtol=0, atol=1e-10)


def test_the_text_term_switched_off_leaves_the_geometric_pull(model: TinyModel) -> None:
    mask = torch.zeros(2, 1, SIDE, SIDE, dtype=torch.float64)
    mask[..., :4] = 1
    clip = clip_of(model, mask_F1YX=mask)
    params = read_params(dds.Params, {"iterations": COUNT, "lr": 0.07, "w1": 0.0, "w2": 2.0}, "test")
    score = score_of(model, clip, params)
    z = clip.latents_FCYX + 1
    for iteration in range(COUNT):
        z = dds.moved(score, z, torch.randn_like(z), mask, iteration)
    left = (z - clip.latents_FCYX).mean((0, 1, 2))
    assert left.tolist() == pytest.approx([1.0] * 4 + [(1 - 0.07 * 2) ** COUNT] * 4)


def test_a_mask_holds_the_background(model: TinyModel) -> None:
    mask = torch.zeros(2, 1, SIDE, SIDE, dtype=torch.float64)
    mask[..., :4] = 1
    for method in (dds, glp):
        held = run(method, model, clip_of(model, mask_F1YX=mask), lr=0.3) - latents()
        free = run(method, model, clip_of(model), lr=0.3) - latents()
        assert float(held[..., 4:].abs().mean()) < float(free[..., 4:].abs().mean())


def test_frames_that_are_equal_stay_equal_with_shared_noise_only(model: TinyModel) -> None:
    still = latents(1).expand(3, -1, -1, -1).contiguous()
    shared = run(glp, model, clip_of(model, latents_FCYX=still))
    own = run(glp, model, clip_of(model, latents_FCYX=still), shared_noise=False)
    torch.testing.assert_close(shared[1], shared[0], rtol=0, atol=1e-9)
    assert float((own[1] - own[0]).abs().max()) > 1e-4


@pytest.mark.parametrize("method", [dds, glp])
def test_frames_in_chunks_give_the_same(model: TinyModel, method: Any) -> None:
    whole = run(method, model, clip_of(model, frames=3))
    parts = run(method, model, clip_of(model, frames=3, frames_per_call=2))
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-9)


def test_the_empty_prompt_as_reference_is_the_direction_of_guidance(model: TinyModel) -> None:
    clip = clip_of(model)
    found = run(dds, model, clip, reference="uncond", iterations=1, w1=1.0)
    timestep = dds.timestep_of(dds.Params(), clip, 0, 1000)
    a = model.schedule.level(timestep)
    noisy = a**0.5 * clip.latents_FCYX + (1 - a) ** 0.5 * noise_like(clip.latents_FCYX, 0, 2, 0)
    cond, none = (
        model.unet(noisy, timestep, encoder_hidden_states=model.encode_prompt(text).expand(2, -1, -1)).sample
        for text in (TARGET, "")
    )
    torch.testing.assert_close(found, clip.latents_FCYX - 0.07 * (cond - none), rtol=0, atol=1e-12)
    assert torch.equal(found, run(dds, model, clip, reference="uncond", iterations=1, w1=1.0, guidance=1.0))
    assert prepared(dds, model, clip, dds.Params(reference="uncond")).branches == ("tgt/uncond", "tgt")


def test_drawn_timesteps_stay_in_their_range_and_follow_the_seed(model: TinyModel) -> None:
    params = dds.Params(t_min=100, t_max=110)
    drawn = [dds.timestep_of(params, clip_of(model), iteration, 1000) for iteration in range(60)]
    assert set(drawn) == set(range(100, 110))
    assert drawn != [
        dds.timestep_of(params, clip_of(model, seed=1), iteration, 1000) for iteration in range(60)
    ]


def test_the_step_size_may_fall_along_a_cosine() -> None:
    params = dds.Params(lr=0.1, lr_decay="cosine", iterations=4)
    assert [dds.rate(params, iteration) for iteration in (0, 2)] == pytest.approx([0.1, 0.05])
    assert dds.rate(dds.Params(lr=0.1), 3) == 0.1


def test_gradients_that_are_not_numbers_stop_the_run_at_the_third() -> None:
    broken = TinyModel(unet(seed=1))
    broken.unet.conv_out.weight.data.fill_(float("nan"))
    seen = 0
    with pytest.raises(
        VeditError,
        match=r"not finite, the third time in a row \(iteration 3, timestep \d+, network in float64\)",
    ):
        for step in steps_of(
            glp, broken, clip_of(broken), read_params(glp.Params, {"iterations": 9}, "test")
        ):
            seen += 1
            assert torch.equal(step.latents["tgt"], latents())  # what is not a number moves nothing
    assert seen == 2


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"lr": 0.5, "w2": 2.0}, "overshoots"),
        ({"t_min": 500, "t_max": 400}, "not below"),
        ({"omega": (1, 0, 1)}, "no weight"),
        ({"omega": (1, -1, 1)}, "omega"),
        ({"window": 3, "period": 4}, "longer than the window"),
        ({"energy": 0}, "energy"),
    ],
)
def test_settings_that_cannot_work_are_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_params(glp.Params, table, "test")


def test_the_callers_code_between_steps_is_not_in_inference_mode(model: TinyModel) -> None:
    for method in (dds, glp):
        for _ in steps_of(
            method, model, clip_of(model), read_params(method.Params, {"iterations": 1}, "test")
        ):
            assert not torch.is_inference_mode_enabled()


def test_the_outline_counts_four_evaluations_an_iteration(model: TinyModel) -> None:
    clip = clip_of(model)
    assert prepared(glp, model, clip, glp.Params()).evaluations == 2000
    assert prepared(glp, model, clip, glp.Params(guidance=1)).evaluations == 1000
    assert "no edit mask" in prepared(glp, model, clip, glp.Params()).notes[0]


@pytest.mark.parametrize("method", [dds, glp])
def test_a_mask_of_the_user_s_alone_is_not_put_upon_itself(model: TinyModel, method: Any) -> None:
    half = torch.full((2, 1, SIDE, SIDE), 0.375, dtype=torch.float64)  # cells that a mask covers in part
    assert last_of(method, model, clip_of(model, mask_F1YX=half)).mask is None


@pytest.mark.parametrize("method", [dds, glp])
def test_words_of_the_source_make_the_mask_that_pulls_the_rest_back(model: TinyModel, method: Any) -> None:
    clip = clip_of(model)
    table = {
        "mask_words": ["cat"],
        "mask_scales": [1],
        "mask_threshold": 0.9,
        "mask_after": 2,
        "lr": 0.2,
        "w2": 4.0,
        "purify_latents": False,
    }
    if method is dds:
        table.pop("purify_latents")
    last = last_of(method, model, clip, **table)
    found, mask = last.latents["tgt"], last.mask
    assert mask is not None
    mask = mask.bool()
    assert mask.shape == (clip.frames, 1, *clip.size) and 0 < int(mask.sum()) < mask.numel()
    free = run(method, model, clip, **{**table, "mask_words": []})
    moved, before = ((result - clip.latents_FCYX).abs() for result in (found, free))
    outside = (~mask).expand_as(found)
    assert float(moved[outside].mean()) < 0.7 * float(before[outside].mean())


def test_a_mask_of_words_lies_inside_the_user_s(model: TinyModel) -> None:
    user = torch.zeros(2, 1, SIDE, SIDE)
    user[..., :3] = 1
    table = {"mask_words": ["cat"], "mask_scales": [1], "mask_threshold": 0.0, "mask_after": 1}
    mask = last_of(dds, model, clip_of(model, mask_F1YX=user), **table).mask
    assert mask is not None and torch.equal(mask.bool(), user.bool())


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"mask_words": ["cat"], "reference": "uncond"}, "leaves out"),
        ({"mask_words": ["cat"], "mask_after": 99}, "leaves none of"),
        ({"mask_words": ["zebra"], "mask_after": 1}, "'zebra' does not occur"),
    ],
)
def test_mask_words_that_cannot_be_are_refused(model: TinyModel, table: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(dds, model, clip_of(model), **table)


def test_gradients_that_stay_broken_name_frame_iteration_and_dtype(
    model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = model.unet.forward

    def broken(sample: Tensor, *args: Any, **more: Any) -> Any:
        made = plain(sample, *args, **more)
        made.sample[1] = float("nan")
        return made

    monkeypatch.setattr(model.unet, "forward", broken)
    with pytest.raises(
        ModelError,
        match=r"gradient of frame 12 is not finite.*\(iteration 3, timestep \d+, network in float64\)",
    ):
        run(dds, model, clip_of(model, first_frame=10), iterations=4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("axes", "lost"), [("joined", 0.1), ("union", 0.02)]
)  # joined rows drop a share of weak frames
def test_two_hundred_iterations_with_a_falling_rate_keep_their_edit(
    model: TinyModel, axes: str, lost: float
) -> None:
    """Settled latents: the last purification must not take the edit for noise."""
    clip = clip_of(model)
    table = {
        "iterations": 200,
        "lr": 0.2,
        "lr_decay": "cosine",
        "guidance": 3.0,
        "w1": 2.0,
        "w2": 2.0,
        "axes": axes,
    }
    found = {}
    for last in (True, False):
        *_, step = steps_of(
            glp, model, clip, read_params(glp.Params, {**table, "purify_latents": last}, "test")
        )
        found[last] = step.latents["tgt"] - clip.latents_FCYX
    assert float(found[False].norm()) > 0.1 * float(clip.latents_FCYX.norm())  # there is an edit
    assert float((found[True] - found[False]).norm()) < lost * float(found[False].norm())


def test_a_run_that_one_direction_rules_says_so(model: TinyModel) -> None:
    said: list[str] = []
    clip = clip_of(model, warn=said.append)
    run(glp, model, clip, window=3, kmax=1, iterations=6)
    assert len(said) == 1 and "a single direction held the gradients in 100 % of the full windows" in said[0]
    for table in ({"energy": 1.0}, {"kmax": 1, "gamma": 0.0}, {"kmax": 1, "purify_gradients": False}):
        run(glp, model, clip, **{"window": 3, "iterations": 6, **table})
    assert len(said) == 1
