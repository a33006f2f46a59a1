"""Plug-and-Play: against the published functions, and the identities of docs/methods.md 4."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.engine.tiny import SIDE, TinyModel
from tests.methods.inputs import Asked, edit_input, plain_ddim, prepared, result, steps_of
from vedit.errors import ModelError, UsageError
from vedit.methods import pnp
from vedit.methods.params import mistakes, read_params

STEPS = 5
SOURCE, TARGET, NEGATIVE = "a cat on a mirror", "a red dog at night", "big"


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


def params(**table: Any) -> pnp.Params:
    return read_params(
        pnp.Params, {"steps": STEPS, "guidance": 3.0, "negative_prompt": NEGATIVE, **table}, "test"
    )


class PublishedAttention:
    """`register_attention_control_efficient` of MichalGeyer/pnp-diffusers: q and k of the source third for
    all.
    """

    def __init__(self) -> None:
        self.injects = False

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Any = None,
        **_: Any,
    ) -> Tensor:
        q, k = attn.to_q(hidden_states), attn.to_k(hidden_states)
        if self.injects:
            third = len(q) // 3
            for part in (q, k):
                part[third : 2 * third] = part[:third]
                part[2 * third :] = part[:third]
        q, k, v = (attn.head_to_batch_dim(part) for part in (q, k, attn.to_v(hidden_states)))
        maps = (q @ k.transpose(-1, -2) * attn.scale).softmax(-1)
        return attn.to_out[0](attn.batch_to_head_dim(maps @ v)) / attn.rescale_output_factor


@torch.no_grad()
def published(
    model: TinyModel, clip: Asked, guidance: float, feature_steps: int, attention_steps: int
) -> Tensor:
    """The loop of pnp.py on [source, uncond, cond], with its layer dictionary."""
    net, frames = model.unet, clip.frames
    control, originals = PublishedAttention(), dict(net.attn_processors)
    injects_features = False

    def hook(module: Any, inputs: Any, output: Tensor) -> Tensor:
        if not injects_features:
            return output
        output = output.clone()
        output[frames : 2 * frames] = output[:frames]
        output[2 * frames :] = output[:frames]
        return output

    handle = net.up_blocks[1].resnets[1].conv2.register_forward_hook(hook)
    for block, places in {1: [1, 2], 2: [0, 1, 2], 3: [0, 1, 2]}.items():
        for place in places:
            net.up_blocks[block].attentions[place].transformer_blocks[0].attn1.processor = control
    text = torch.cat(
        [
            model.encode_prompt(prompt).expand(frames, -1, -1)
            for prompt in (clip.source_prompt, NEGATIVE, clip.target_prompt)
        ]
    )
    x = clip.trajectory(0)
    for step, timestep in enumerate(clip.timesteps):
        control.injects, injects_features = step < attention_steps, step < feature_steps
        _, uncond, cond = net(
            torch.cat([clip.trajectory(step), x, x]), timestep, encoder_hidden_states=text
        ).sample.chunk(3)
        eps = uncond + guidance * (cond - uncond)
        a, b = model.schedule.level(timestep), model.schedule.after(clip.timesteps, step)
        x = b**0.5 * (x - (1 - a) ** 0.5 * eps) / a**0.5 + (1 - b) ** 0.5 * eps
    handle.remove()
    for path, processor in originals.items():
        net.get_submodule(path.removesuffix(".processor")).processor = processor
    return x


@pytest.mark.parametrize(
    ("feature", "attention"), [(0.8, 0.5), (1.0, 1.0), (0.0, 0.0), (0.4, 0.0), (0.0, 0.6)]
)
def test_equals_the_published_functions(model: TinyModel, feature: float, attention: float) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS)
    found = result(pnp, model, clip, params(feature_until=feature, attention_until=attention))
    expected = published(model, clip, 3.0, int(feature * STEPS), int(attention * STEPS))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    plain = plain_ddim(model, clip, TARGET, 3.0, negative=NEGATIVE)
    assert (float((found - plain).abs().max()) > 1e-4) == (
        feature + attention > 0
    )  # nothing injected is plain DDIM


@pytest.mark.parametrize(
    ("feature", "attention", "guidance"), [(0.8, 0.5, 7.5), (1.0, 1.0, 1.0), (1.0, 1.0, 20.0)]
)
def test_the_sampling_trajectory_of_the_same_prompt_is_kept_at_any_guidance(
    model: TinyModel, feature: float, attention: float, guidance: float
) -> None:
    first = edit_input(model, SOURCE, SOURCE, STEPS)
    own = [first.trajectory(0)]
    plain_ddim(model, first, SOURCE, 1.0, keep=own)
    clip = edit_input(model, SOURCE, SOURCE, STEPS, trajectory=own)
    settings = params(
        feature_until=feature, attention_until=attention, guidance=guidance, negative_prompt=SOURCE
    )
    for step in steps_of(pnp, model, clip, settings):
        torch.testing.assert_close(step.latents["tgt"], own[step.index + 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("frames_per_call", [1, 2])
def test_frames_in_chunks_give_the_same(model: TinyModel, frames_per_call: int) -> None:
    whole = result(pnp, model, edit_input(model, SOURCE, TARGET, STEPS, frames=3), params())
    parts = result(
        pnp,
        model,
        edit_input(model, SOURCE, TARGET, STEPS, frames=3, frames_per_call=frames_per_call),
        params(),
    )
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)


def test_starting_later_skips_steps_and_starts_from_the_stored_latents(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS)
    settings = params(start_index=2, feature_until=0.0, attention_until=0.0)
    assert [step.index for step in steps_of(pnp, model, clip, settings)] == [2, 3, 4]
    torch.testing.assert_close(
        result(pnp, model, clip, settings),
        plain_ddim(model, clip, TARGET, 3.0, start=2, negative=NEGATIVE),
        rtol=0,
        atol=1e-12,
    )
    with pytest.raises(UsageError, match="Give 0 to 4"):
        prepared(pnp, model, clip, params(start_index=5))


def test_the_names_of_the_published_codes_and_of_the_thesis_mean_the_same() -> None:
    ours = {
        "feature_until": 0.3,
        "attention_until": 0.2,
        "start_index": 3,
        "structure_from": 1,
        "content_from": 2,
        "motion_from": 0,
        "guidance": 9.0,
    }
    theirs = {
        "pnp_f_t": 0.3,
        "pnp-attn-t": 0.2,
        "ddim_init_latents_t_idx": 3,
        "t2": 1,
        "t0": 2,
        "t1": 0,
        "cfg_txt": 9,
    }
    assert read_params(pnp.Params, ours, "ours") == read_params(pnp.Params, theirs, "theirs")


def test_skipping_layers_leaves_the_finest_structure(model: TinyModel) -> None:
    """`skip_layer_structure = 25` counts self and cross modules in forward order: up_blocks.3 remains."""
    clip = edit_input(model, SOURCE, TARGET, STEPS)
    skipped = params(skip_layer_structure=25, feature_layers=())
    named = params(attention_layers=("up_blocks.3.attentions.*",), feature_layers=())
    assert torch.equal(result(pnp, model, clip, skipped), result(pnp, model, clip, named))
    everywhere = params(skip_layer_structure=25, feature_layers=(), attention_layers=("*",))
    assert torch.equal(result(pnp, model, clip, everywhere), result(pnp, model, clip, named))


def test_structure_starts_at_its_step(model: TinyModel) -> None:
    rules = prepared(pnp, model, edit_input(model, SOURCE, TARGET, STEPS), params(t2=1)).plan.rules
    assert {rule.name: rule.steps for rule in rules} == {
        "features": (False, True, True, True, False),
        "self-attention": (False, True, False, False, False),
    }


@pytest.mark.parametrize(
    "table",
    [
        {"feature_layers": ("up_blocks.9.resnets.1",)},
        {"attention_layers": ("up_blocks.1.attentions.1", "up_blocks.1.attentions.7")},
    ],
)
def test_a_layer_that_the_model_lacks_is_named(model: TinyModel, table: dict[str, Any]) -> None:
    with pytest.raises(ModelError) as caught:
        prepared(pnp, model, edit_input(model, SOURCE, TARGET, STEPS), params(**table))
    assert next(iter(table.values()))[-1] in str(caught.value) and "up_blocks.1" in str(caught.value)


def test_content_needs_a_mask_and_says_so(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS)
    said = prepared(pnp, model, clip, params(t0=0, t1=0)).notes
    assert torch.equal(result(pnp, model, clip, params(t0=0, t1=0)), result(pnp, model, clip, params()))
    assert len(said) == 2 and "no edit mask" in said[0] and "no temporal attention" in said[1]


def test_content_is_injected_outside_the_mask(model: TinyModel) -> None:
    inside = torch.ones(2, 1, SIDE, SIDE)
    clip = edit_input(model, SOURCE, TARGET, STEPS, mask_F1YX=inside)
    torch.testing.assert_close(
        result(pnp, model, clip, params(t0=0)), result(pnp, model, clip, params()), rtol=0, atol=1e-12
    )
    half = inside.clone()
    half[..., : SIDE // 2] = 0
    clip = edit_input(model, SOURCE, TARGET, STEPS, mask_F1YX=half)
    with_content, without = result(pnp, model, clip, params(t0=0)), result(pnp, model, clip, params())
    outside = (half == 0).expand_as(without)
    assert torch.equal(without[outside], clip.latents_FCYX[outside]) and torch.equal(
        with_content[outside], clip.latents_FCYX[outside]
    )
    assert float((with_content - without).abs().max()) > 1e-5


def test_every_mistake_is_reported_with_the_nearest_spelling() -> None:
    found = list(
        mistakes(pnp.Params, {"feature_untl": 0.3, "attention-until": 1.5, "guidance": "much", "steps": 0})
    )
    assert len(found) == 4
    assert any("no key 'feature_untl'; did you mean feature_until?" in line for line in found)
    assert any(
        line.startswith("attention_until = 1.5: input should be less than or equal to 1") for line in found
    )
    assert list(mistakes(pnp.Params, {"feature_layers": 1.5})) == [
        """feature_layers = 1.5: it is a list; in a shell, --set 'feature_layers=["a", "b"]'."""
    ]
    with pytest.raises(UsageError, match=r"here: 1 mistake\.\n  steps = 0"):
        read_params(pnp.Params, {"steps": 0}, "here")


def test_the_outline_counts_three_branches(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS)
    outline = prepared(pnp, model, clip, params())
    assert outline.branches == ("src", "tgt/uncond", "tgt") and outline.evaluations == 3 * STEPS
    assert prepared(pnp, model, clip, params(guidance=1)).branches == ("src", "tgt")
