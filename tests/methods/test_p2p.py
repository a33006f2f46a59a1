"""Prompt-to-Prompt: against the published controllers, and the identities of docs/methods.md 2."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.engine.tiny import SIDE, TinyModel, latents
from tests.methods.inputs import Asked, edit_input, last_step, plain_ddim, prepared, result, steps_of
from vedit.engine.prompts import alignment, column_schedule, equalizer, replacement_map
from vedit.errors import ModelError, UsageError
from vedit.methods import p2p
from vedit.methods.params import read_params
from vedit.models.words import read_prompt

STEPS = 4
SOURCE = "a cat sitting next to a mirror"
SWAPPED = "a Spider-Man sitting next to a mirror"
REFINED = "a red cat sitting next to the mirror at night"


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


def params(**table: Any) -> p2p.Params:
    return read_params(p2p.Params, {"steps": STEPS, "guidance": 3.0, **table}, "test")


class Published:
    """AttentionControlEdit and its heirs of google/prompt-to-prompt, on [src 0, tgt 0, src, tgt] x frames.

    Maps come in as (4 frames heads) x pixels x tokens; the conditional half is split into source and target.
    """

    def __init__(
        self,
        edit: Callable[[Tensor, Tensor], Tensor],
        alpha_NT: Tensor,
        self_steps: tuple[int, int],
        self_tokens: int,
    ) -> None:
        self.edit, self.alpha, self.self_steps, self.self_tokens = edit, alpha_NT, self_steps, self_tokens
        self.step = 0

    def __call__(self, maps: Tensor, is_cross: bool) -> Tensor:
        half = maps.shape[0] // 2
        source, target = maps[half:].chunk(2)
        if is_cross:
            alpha = self.alpha[self.step].to(maps)
            target = self.edit(source, target) * alpha + (1 - alpha) * target
        elif self.self_steps[0] <= self.step < self.self_steps[1] and target.shape[1] <= self.self_tokens:
            target = source
        return torch.cat([maps[:half], source, target])


class PublishedProcessor:
    """Explicit attention, every map shown to a controller."""

    def __init__(self, controller: Published) -> None:
        self.controller = controller

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Any = None,
        **_: Any,
    ) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = (
            attn.head_to_batch_dim(part)
            for part in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        maps = self.controller(
            (q @ k.transpose(-1, -2) * attn.scale).softmax(-1), encoder_hidden_states is not None
        )
        return attn.to_out[0](attn.batch_to_head_dim(maps @ v)) / attn.rescale_output_factor


@torch.no_grad()
def published(model: TinyModel, clip: Asked, guidance: float, controller: Published) -> Tensor:
    """Sample source and target together, one frame after another, with diffusers' scheduler step written out."""
    frames = []
    originals = model.unet.attn_processors
    model.unet.set_attn_processor(PublishedProcessor(controller))
    text = torch.cat(
        [
            model.encode_prompt(""),
            model.encode_prompt(""),
            model.encode_prompt(clip.source_prompt),
            model.encode_prompt(clip.target_prompt),
        ]
    )
    for frame in clip.trajectory(0):
        pair = torch.stack([frame, frame])
        for step, timestep in enumerate(clip.timesteps):
            controller.step = step
            uncond, cond = model.unet(
                torch.cat([pair, pair]), timestep, encoder_hidden_states=text
            ).sample.chunk(2)
            eps = uncond + guidance * (cond - uncond)
            start, end = model.schedule.level(timestep), model.schedule.after(clip.timesteps, step)
            x0 = (pair - (1 - start) ** 0.5 * eps) / start**0.5
            pair = end**0.5 * x0 + (1 - end) ** 0.5 * eps
        frames.append(pair[1])
    model.unet.set_attn_processor(originals)
    return torch.stack(frames)


def refined(model: TinyModel, source: str, target: str) -> Callable[[Tensor, Tensor], Tensor]:
    m, beta = alignment(read_prompt(model.tokenizer, source), read_prompt(model.tokenizer, target))
    return lambda base, own: (
        base[..., m] * beta + own * (1 - beta)
    )  # the published code gathers -1 too, and masks it


@pytest.mark.parametrize(
    ("kind", "target", "table"),
    [
        ("swap", "a dog sitting next to a mirror", {}),
        ("swap of many pieces", SWAPPED, {"compat": True}),
        ("swap of many pieces by words", SWAPPED, {}),
        ("refine", REFINED, {}),
        ("reweight", SOURCE, {"mode": "reweight", "equalizer": {"cat": 4.0, "mirror": -2.0}}),
        ("refine and reweight", REFINED, {"equalizer": {"red": 6.0}}),
        ("per-word steps", REFINED, {"cross_replace": {"default_": 0.5, "cat": (0.25, 1.0), "night": 0.0}}),
    ],
)
def test_equals_the_published_controllers(
    model: TinyModel, kind: str, target: str, table: dict[str, Any]
) -> None:
    clip = edit_input(model, SOURCE, target, STEPS)
    settings = params(
        source_branch="resample", self_replace=0.5, self_max_tokens=16, **{"cross_replace": 0.75, **table}
    )
    one, two = read_prompt(model.tokenizer, SOURCE), read_prompt(model.tokenizer, target)
    c = equalizer(two, settings.equalizer).double()
    if kind.startswith("swap"):
        mapper = replacement_map(one, two, compat=settings.compat).double()
        edit = lambda base, own: torch.einsum("hpw,wn->hpn", base, mapper) * c
    elif "refine" in kind or kind == "per-word steps":
        inner = refined(model, SOURCE, target)
        edit = lambda base, own: inner(base, own) * c
    else:
        edit = lambda base, own: base * c
    controller = Published(edit, column_schedule(two, STEPS, settings.cross_replace), (0, 2), 16)
    expected = published(model, clip, 3.0, controller)
    found = result(p2p, model, clip, settings)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    plain = plain_ddim(model, clip, target, 3.0)
    assert float((found - plain).abs().max()) > 1e-4  # the edit of maps does something


@pytest.mark.parametrize("mode", ["swap", "refine"])
@pytest.mark.parametrize(("cross", "own"), [(0.0, 0.5), (0.5, 0.25), (1.0, 1.0)])
def test_equal_prompts_give_the_source(model: TinyModel, mode: str, cross: float, own: float) -> None:
    clip = edit_input(model, SOURCE, SOURCE, STEPS)
    settings = params(mode=mode, cross_replace=cross, self_replace=own, source_branch="resample")
    *_, step = steps_of(p2p, model, clip, settings)
    torch.testing.assert_close(step.latents["tgt"], step.latents["src"], rtol=0, atol=1e-12)


def test_without_guidance_equal_prompts_and_a_replayed_sampling_trajectory_give_that_trajectory(
    model: TinyModel,
) -> None:
    clip = edit_input(model, SOURCE, SOURCE, STEPS)
    own = [clip.trajectory(0)]
    plain_ddim(model, clip, SOURCE, 1.0, keep=own)
    replaying = edit_input(model, SOURCE, SOURCE, STEPS, trajectory=own)
    found = result(p2p, model, replaying, params(guidance=1.0, cross_replace=0.5, self_replace=1.0))
    torch.testing.assert_close(found, own[-1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("source_branch", ["replay", "resample"])
def test_no_replacement_at_all_is_plain_ddim(model: TinyModel, source_branch: str) -> None:
    clip = edit_input(model, SOURCE, SWAPPED, STEPS)
    found = result(p2p, model, clip, params(cross_replace=0.0, self_replace=0.0, source_branch=source_branch))
    torch.testing.assert_close(found, plain_ddim(model, clip, SWAPPED, 3.0), rtol=0, atol=1e-12)


def test_the_source_branch_is_not_touched(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, SWAPPED, STEPS)
    *_, step = steps_of(p2p, model, clip, params(source_branch="resample", equalizer={"spider-man": 6.0}))
    torch.testing.assert_close(step.latents["src"], plain_ddim(model, clip, SOURCE, 3.0), rtol=0, atol=1e-12)
    *_, step = steps_of(p2p, model, clip, params())
    assert torch.equal(step.latents["src"], clip.latents_FCYX)  # a replayed source ends at the clip itself


def test_an_equalizer_of_ones_changes_nothing(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, REFINED, STEPS)
    assert torch.equal(
        result(p2p, model, clip, params(equalizer={"red": 1.0, "cat": 1.0})),
        result(p2p, model, clip, params()),
    )


def test_reweighting_rows_are_not_normalised() -> None:
    edit = p2p.ColumnEdit(torch.tensor([1.0, 4.0]), torch.ones(1, 2))
    assert edit(torch.full((1, 1, 1, 2), 0.5), torch.zeros(1, 1, 1, 2), 0).flatten().tolist() == [0.5, 2.0]


def test_an_inserted_word_never_takes_the_column_that_index_minus_one_means() -> None:
    edit = p2p.ColumnEdit(
        torch.ones(2), torch.ones(1, 2), m_T=torch.tensor([0, -1]), beta_T=torch.tensor([1.0, 0.0])
    )
    source = torch.tensor([[[[0.25, float("nan")]]]])
    assert edit(source, torch.tensor([[[[0.5, 0.5]]]]), 0).flatten().tolist() == [0.25, 0.5]


@pytest.mark.parametrize("frames_per_call", [1, 2])
def test_frames_in_chunks_give_the_same(model: TinyModel, frames_per_call: int) -> None:
    table = {"blend_words": ("cat", "spider-man"), "blend_threshold": 0.8}
    whole = result(p2p, model, edit_input(model, SOURCE, SWAPPED, STEPS, frames=3), params(**table))
    parts = result(
        p2p,
        model,
        edit_input(model, SOURCE, SWAPPED, STEPS, frames=3, frames_per_call=frames_per_call),
        params(**table),
    )
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)


def test_a_local_blend_that_is_everywhere_is_the_identity_and_one_nowhere_gives_the_source(
    model: TinyModel,
) -> None:
    clip = edit_input(model, SOURCE, SWAPPED, STEPS)
    everywhere = params(blend_words=("cat",), blend_threshold=0.0, start_blend=0.0)
    torch.testing.assert_close(
        result(p2p, model, clip, everywhere), result(p2p, model, clip, params()), rtol=0, atol=1e-12
    )
    nowhere = params(blend_words=("cat",), blend_threshold=1.0, start_blend=0.0)
    assert torch.equal(result(p2p, model, clip, nowhere), clip.latents_FCYX)


def test_a_local_blend_keeps_the_clip_outside_the_mask_bit_for_bit(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, SWAPPED, STEPS, wants_attention=True)
    last = last_step(
        p2p, model, clip, params(blend_words=("cat", "Spider-Man"), blend_threshold=0.9, blend_scales=(2,))
    )
    found, mask = last.latents["tgt"], last.mask
    assert mask is not None
    assert (
        mask.shape == (2, 1, SIDE, SIDE)
        and bool(mask.flatten(1).any(1).all())
        and not bool(mask.flatten(1).all(1).any())
    )
    outside = ~mask.expand_as(found)
    assert torch.equal(found[outside], clip.latents_FCYX[outside])
    assert bool((found[~outside] != clip.latents_FCYX[~outside]).any())
    assert last.attention["tgt/Spider-Man"].shape == (2, 1, SIDE // 2, SIDE // 2)
    inverted = result(
        p2p,
        model,
        clip,
        params(blend_words=("cat", "Spider-Man"), blend_threshold=0.9, blend_scales=(2,), blend_invert=True),
    )
    assert not torch.equal(found, inverted)


def test_subtracted_words_and_a_mask_of_the_user_take_places_away(model: TinyModel) -> None:
    def mask(user: Tensor | None = None, **table: Any) -> Tensor:
        clip = edit_input(model, SOURCE, SWAPPED, STEPS, mask_F1YX=user)
        found = last_step(p2p, model, clip, params(blend_words=("cat",), blend_scales=(1,), **table)).mask
        assert found is not None
        return found

    whole = mask(blend_threshold=0.7)
    fewer = mask(blend_threshold=(0.7, 0.7), subtract_words=("mirror",))
    half = torch.zeros(2, 1, SIDE, SIDE)
    half[..., : SIDE // 2] = 1
    assert bool((fewer <= whole).all()) and int(fewer.sum()) < int(whole.sum())
    assert torch.equal(mask(half, blend_threshold=0.0), half > 0)


def test_a_users_mask_alone_keeps_the_clip_outside(model: TinyModel) -> None:
    mask = torch.zeros(2, 1, SIDE, SIDE)
    mask[..., 2:5, 2:5] = 1
    clip = edit_input(model, SOURCE, SWAPPED, STEPS, mask_F1YX=mask)
    found = result(p2p, model, clip, params())
    outside = (mask == 0).expand_as(found)
    assert torch.equal(found[outside], clip.latents_FCYX[outside]) and not torch.equal(
        found, clip.latents_FCYX
    )


def test_masks_that_stay_empty_are_warned_of(model: TinyModel) -> None:
    said: list[str] = []
    clip = edit_input(model, SOURCE, SWAPPED, STEPS, warn=said.append)
    result(p2p, model, clip, params(blend_words=("cat",), blend_threshold=1.0, start_blend=0.0))
    assert len(said) == 1 and "empty" in said[0]


@pytest.mark.parametrize(
    ("target", "table", "message"),
    [
        (REFINED, {"mode": "swap"}, r"different lengths(.*\n)+Try --set mode=refine"),
        (SWAPPED, {"equalizer": {"spidrman": 2}}, "did you mean"),
        (SWAPPED, {"blend_words": ("dragon",)}, r"does not occur in either prompt\.\nTheir words are"),
        (SWAPPED, {"cross_replace": {"dragon": 0.5}}, "does not occur"),
        (SWAPPED, {"self_max_tokens": 0.5}, "self_max_tokens"),
        (SWAPPED, {"blend_scales": (16,)}, "expected at least one"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(
    model: TinyModel, target: str, table: dict[str, Any], message: str
) -> None:
    clip = edit_input(model, SOURCE, target, STEPS)
    with pytest.raises((UsageError, ModelError), match=message):
        next(iter(steps_of(p2p, model, clip, params(**{"blend_words": ("cat",), **table}))))


def test_the_outline_says_what_will_happen(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, REFINED, STEPS)
    outline = prepared(p2p, model, clip, params(equalizer={"red": 2}, cross_replace=0.5))
    assert outline.branches == ("src", "tgt/uncond", "tgt") and outline.evaluations == 3 * STEPS
    assert [rule.name for rule in outline.plan.rules] == ["cross-attention (refine)", "self-attention"]
    assert outline.plan.rules[0].steps == (True, True, False, False)
    assert outline.about == ("refine: new red, the, at, night; dropped a", "re-weight: red x 2")


def test_self_attention_is_taken_over_at_coarse_modules_only(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, SWAPPED, STEPS)
    rules = prepared(p2p, model, clip, params(self_max_tokens=SIDE * SIDE // 4)).plan.rules
    assert rules[1].select.scales == (2, 4, 8) and rules[1].targets == ("tgt",)
    with pytest.raises(UsageError, match="leaves no self-attention module"):
        prepared(
            p2p,
            model,
            edit_input(model, SOURCE, SWAPPED, STEPS, latents_FCYX=latents().repeat(1, 1, 4, 4)),
            params(self_max_tokens=3),
        )


def test_a_source_that_is_sampled_again_still_leaves_the_clip_outside_a_user_s_mask(model: TinyModel) -> None:
    mask = torch.zeros(2, 1, SIDE, SIDE)
    mask[..., 2:5, 2:5] = 1
    clip = edit_input(model, SOURCE, SWAPPED, STEPS, mask_F1YX=mask)
    *_, step = steps_of(p2p, model, clip, params(source_branch="resample"))
    outside = (mask == 0).expand_as(clip.latents_FCYX)
    assert torch.equal(step.latents["tgt"][outside], clip.latents_FCYX[outside])
    assert not torch.equal(
        step.latents["src"], clip.latents_FCYX
    )  # guided sampling of the source has drifted
    inside = mask.bool().expand_as(clip.latents_FCYX)
    assert float((step.latents["tgt"] - clip.latents_FCYX)[inside].abs().max()) > 1e-3
    blended = params(source_branch="resample", blend_words=("cat",), blend_threshold=0.0, start_blend=0.0)
    *_, step = steps_of(p2p, model, clip, blended)
    # a local blend mixes with the branch that it was made from
    assert torch.equal(step.latents["tgt"][outside], step.latents["src"][outside])


def test_where_a_word_looked_is_the_mean_over_steps(model: TinyModel) -> None:
    """The source is fed the same latents at the same timestep twice: the mean of two steps is the map of one."""
    clean = latents(2)
    stored = [clean] * 3
    seen = []
    for timesteps in ([501], [501, 501]):
        clip = Asked(clean, stored.__getitem__, timesteps, SOURCE, SWAPPED, wants_attention=True)
        last = last_step(p2p, model, clip, params(steps=len(timesteps), guidance=1.0))
        seen.append(last.attention["src/cat"])
    torch.testing.assert_close(seen[1], seen[0], rtol=0, atol=1e-6)
    assert 0 < float(seen[0].max()) < 1


@pytest.mark.parametrize("start", [0, 1])
def test_a_blend_in_the_first_step_fits_its_mask_whichever_step_that_is(start: int) -> None:
    model = TinyModel()
    clip = edit_input(model, "a cat on a mirror", "a dog on a mirror", 4)
    params = read_params(
        p2p.Params,
        {
            "steps": 4,
            "start_index": start,
            "blend_words": ["cat", "dog"],
            "blend_scales": [1],
            "start_blend": 0.0,
        },
        "test",
    )
    generator = torch.Generator().manual_seed(3)
    pixels = torch.rand(2, 3, *(4 * side for side in clip.request.size), generator=generator) * 2 - 1
    window = dataclasses.replace(clip.window, pixels_F3YX=pixels)
    steps = list(prepared(p2p, model, clip, params).run(window))
    assert len(steps) == 4 - start and all(step.fine is not None for step in steps)
