"""MasaCtrl: against the published functions, and the identities of docs/methods.md 7.1."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.engine.tiny import TinyModel
from tests.methods.inputs import Asked, edit_input, plain_ddim, prepared, result, steps_of
from vedit.errors import UsageError
from vedit.methods import masactrl
from vedit.methods.params import read_params

STEPS = 4
SOURCE, TARGET, NEGATIVE = "a cat on a mirror", "a red cat at night", "big"


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


def params(**table: Any) -> masactrl.Params:
    settings = {"steps": STEPS, "guidance": 3.0, "negative_prompt": NEGATIVE, "start_step": 1, **table}
    found: masactrl.Params = read_params(masactrl.Params, settings, "test")
    return found


class PublishedAttention:
    """`MutualSelfAttentionControl.forward` for one self-attention module; [src, tgt] uncond, then [src, tgt] cond, each F frames."""

    def __init__(self, union: bool = False) -> None:
        self.acts, self.union, self.masks = False, union, None

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Any = None,
        attention_mask: Any = None,
        **_: Any,
    ) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for part in (attn.to_q(hidden_states), attn.to_k(hidden_states), attn.to_v(hidden_states))
        )
        rows = []
        for (q_s, q_t), (k_s, k_t), (v_s, v_t) in zip(
            *(tuple(half.chunk(2) for half in part.chunk(2)) for part in (q, k, v)), strict=True
        ):
            keys, values = (
                (k_t, v_t)
                if not self.acts
                else (torch.cat([k_s, k_t], 2), torch.cat([v_s, v_t], 2))
                if self.union
                else (k_s, v_s)
            )
            rows += [attended(q_s, k_s, v_s, attn.scale), attended(q_t, keys, values, attn.scale)]
        out = torch.cat(rows).transpose(1, 2).flatten(2)
        return attn.to_out[0](out) / attn.rescale_output_factor


def attended(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    return (q @ k.transpose(-1, -2) * scale).softmax(-1) @ v


@torch.no_grad()
def published(
    model: TinyModel, clip: Asked, guidance: float, start_step: int, start_layer: int, union: bool
) -> Tensor:
    """The loop of `MasaCtrlPipeline` with `ref_intermediate_latents`."""
    net, frames = model.unet, clip.frames
    paths = [site.path for site in model.sites() if site.kind == "self"]
    before = {path: net.get_submodule(path).processor for path in paths}
    controls = {path: PublishedAttention(union) for path in paths}
    for path, control in controls.items():
        net.get_submodule(path).processor = control
    text = torch.cat(
        [
            model.encode_prompt(prompt).expand(frames, -1, -1)
            for prompt in (NEGATIVE, NEGATIVE, clip.source_prompt, clip.target_prompt)
        ]
    )
    x = clip.trajectory(0)
    for step, timestep in enumerate(clip.timesteps):
        for place, path in enumerate(paths):
            controls[path].acts = step >= start_step and place >= start_layer
        pair = torch.cat([clip.trajectory(step), x])
        uncond, cond = net(torch.cat([pair, pair]), timestep, encoder_hidden_states=text).sample.chunk(2)
        eps = (uncond + guidance * (cond - uncond))[frames:]
        a, b = model.schedule.level(timestep), model.schedule.after(clip.timesteps, step)
        x = b**0.5 * (x - (1 - a) ** 0.5 * eps) / a**0.5 + (1 - b) ** 0.5 * eps
    for path, processor in before.items():
        net.get_submodule(path).processor = processor
    return x


@pytest.mark.parametrize(
    ("start_step", "start_layer", "union"), [(1, 10, False), (0, 0, False), (2, 10, True)]
)
def test_equals_the_published_functions(
    model: TinyModel, start_step: int, start_layer: int, union: bool
) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS)
    found = result(masactrl, model, clip, params(start_step=start_step, start_layer=start_layer, union=union))
    torch.testing.assert_close(
        found, published(model, clip, 3.0, start_step, start_layer, union), rtol=0, atol=1e-12
    )


def test_starting_behind_the_last_step_is_plain_sampling(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS)
    plain = plain_ddim(model, clip, TARGET, 3.0, negative=NEGATIVE)
    torch.testing.assert_close(
        result(masactrl, model, clip, params(start_step=STEPS)), plain, rtol=0, atol=1e-12
    )
    assert float((result(masactrl, model, clip, params(start_step=STEPS - 1)) - plain).abs().max()) > 1e-6


@pytest.mark.parametrize("union", [False, True])
def test_the_same_prompt_on_its_own_trajectory_gives_the_source(model: TinyModel, union: bool) -> None:
    first = edit_input(model, SOURCE, SOURCE, STEPS)
    own = [first.trajectory(0)]
    plain_ddim(model, first, SOURCE, 3.0, keep=own, negative=NEGATIVE)
    clip = edit_input(model, SOURCE, SOURCE, STEPS, trajectory=own)
    for step in steps_of(masactrl, model, clip, params(union=union)):
        torch.testing.assert_close(step.latents["tgt"], own[step.index + 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("union", [False, True])
def test_a_mask_of_everything_is_no_mask(model: TinyModel, union: bool) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS)
    masked = result(masactrl, model, clip, params(object_words="cat", object_threshold=0.0, union=union))
    torch.testing.assert_close(masked, result(masactrl, model, clip, params(union=union)), rtol=0, atol=1e-12)


def test_object_asks_object_and_the_rest_the_rest(model: TinyModel) -> None:
    """One attention under a mask of queries and keys equals the published two, merged by the target's mask."""
    generator = torch.Generator().manual_seed(1)
    q, k, v = torch.randn(3, 2, 2, 12, 4, generator=generator, dtype=torch.float64).unbind(0)
    of_source, of_target = torch.rand(2, 2, 1, 12, 1, generator=generator).gt(0.5).unbind(0)
    closed = torch.where(of_target == of_source.transpose(-1, -2), 0.0, float("-inf")).double()
    once = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=closed)
    halves = [
        (
            (q @ k.transpose(-1, -2) * 4**-0.5).masked_fill(
                (of_source if asked else ~of_source).logical_not().transpose(-1, -2), -1e300
            )
        ).softmax(-1)
        @ v
        for asked in (True, False)
    ]
    torch.testing.assert_close(once, torch.where(of_target, *halves), rtol=0, atol=1e-12)


def test_masks_change_the_edit_and_do_not_depend_on_the_calls(model: TinyModel) -> None:
    settings = params(object_words="cat", object_threshold=0.5)
    whole, parts = (
        result(
            masactrl,
            model,
            edit_input(model, SOURCE, TARGET, STEPS, frames=3, frames_per_call=size),
            settings,
        )
        for size in (3, 2)
    )
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)
    plain = result(masactrl, model, edit_input(model, SOURCE, TARGET, STEPS, frames=3), params())
    assert float((whole - plain).abs().max()) > 1e-6


def test_without_guidance_two_branches_do(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS)
    assert prepared(masactrl, model, clip, params(guidance=1)).branches == ("src", "tgt")
    assert prepared(masactrl, model, clip, params()).evaluations == 4 * STEPS


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"start_layer": 16}, "Give 0 to 15"),
        ({"object_words": "kat"}, "'kat' does not occur in either prompt"),
        ({"object_words": "night"}, "none of them occurs in the source prompt"),
        ({"start_index": STEPS}, "Give 0 to 3"),
    ],
)
def test_what_does_not_fit_is_named(model: TinyModel, table: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        prepared(masactrl, model, edit_input(model, SOURCE, TARGET, STEPS), params(**table))
    assert said in str(caught.value)
