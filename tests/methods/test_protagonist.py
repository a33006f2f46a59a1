"""Make-A-Protagonist: docs/methods.md 7.5."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.engine.tiny import TinyModel
from tests.methods.inputs import edit_input, last_step, prepared, result
from vedit.engine.controller import Controller
from vedit.engine.rules import Plan
from vedit.engine.sample import Stream, predict
from vedit.errors import UsageError
from vedit.methods import pnp, protagonist
from vedit.methods.base import Picture
from vedit.methods.params import read_params
from vedit.methods.protagonist import surroundings

SOURCE, TARGET = "a cat on a mirror", "a red dog at night"
SETTINGS: dict[str, Any] = {"steps": 3, "guidance": 3.0}


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


def settings(**more: Any) -> Any:
    return read_params(protagonist.Params, {**SETTINGS, **more}, "test")


def mask(kind: str) -> torch.Tensor:
    made = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    if kind == "ones":
        made += 1
    elif kind == "half":
        made[..., :4] = 1
    return made


def test_a_mask_of_ones_without_a_picture_is_plug_and_play(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, TARGET, 3, mask_F1YX=mask("ones"))
    plain = read_params(pnp.Params, SETTINGS, "test")
    for outside in (TARGET, "a fluffy spider"):  # nowhere is outside
        found = result(protagonist, model, clip, settings(sees="none", outside_prompt=outside))
        assert (found - result(pnp, model, clip, plain)).abs().max() < 1e-12


def test_a_mask_of_zeros_gives_the_clip_back(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, TARGET, 3, mask_F1YX=mask("zeros"))
    assert torch.equal(result(protagonist, model, clip, settings(sees="none")), clip.latents_FCYX)
    assert not torch.equal(
        result(protagonist, model, clip, settings(sees="none", hold_until=0.5)), clip.latents_FCYX
    )


def test_outside_the_mask_are_the_clips_own_latents_and_inside_are_others(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, TARGET, 3, mask_F1YX=mask("half"))
    step = last_step(protagonist, model, clip, settings())
    found = step.latents["tgt"]
    assert torch.equal(found[..., 4:], clip.latents_FCYX[..., 4:])
    assert (found[..., :4] - clip.latents_FCYX[..., :4]).abs().max() > 1e-3


def test_text_outside_the_mask_is_that_of_the_other_prompt_token_for_token(model: TinyModel) -> None:
    """At one module of cross-attention, against the two texts attended to one by one."""
    path = "down_blocks.0.attentions.0.transformer_blocks.0.attn2"
    ours, other = model.encode_prompt(TARGET), model.encode_prompt(SOURCE)
    given: dict[str, torch.Tensor] = {}
    module = model.unet.get_submodule(path)
    hook = module.register_forward_hook(lambda module, args, kwargs, out: given.update(x=args[0], out=out), with_kwargs=True)  # fmt: skip
    rule = surroundings(model, other, 1 - mask("half"), (True,))  # type: ignore[arg-type]
    controller = Controller(model, Plan((rule,)), ("tgt",), 2, (8, 8), model.text_tokens)
    x = edit_input(model, SOURCE, TARGET, 3).latents_FCYX
    with controller.installed():
        predict(model, [Stream("tgt", x, ours)], 500, 0, controller, 8)
    hook.remove()

    def attended(text: torch.Tensor) -> torch.Tensor:
        def heads(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.unflatten(-1, (module.heads, -1)).transpose(1, 2)

        text = text.expand(2, -1, -1)
        out = F.scaled_dot_product_attention(heads(module.to_q(given["x"])), heads(module.to_k(text)), heads(module.to_v(text)))  # fmt: skip
        return module.to_out[0](out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    inside = mask("half").flatten(1)[..., None] > 0.5
    expected = torch.where(inside, attended(ours), attended(other))
    assert (given["out"] - expected).abs().max() < 1e-12


def test_a_picture_is_seen_inside_the_mask_alone_and_as_long_as_it_is_to_be(model: TinyModel) -> None:
    from dataclasses import replace

    tokens = torch.randn(1, 4, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    weights = {site.path: torch.randn(2, model.width(site), 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) for site in model.sites() if site.kind == "cross"}  # fmt: skip

    def keys_of(path: str, given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return F.linear(given, weights[path][0].to(given)), F.linear(given, weights[path][1].to(given))

    picture = Picture(tokens, torch.zeros_like(tokens), keys_of, 1.0)
    clip = edit_input(model, SOURCE, TARGET, 3, mask_F1YX=mask("half"))

    def edited(image: Picture | None, **more: Any) -> torch.Tensor:
        request = replace(clip.request, image=image)
        *_, step = protagonist.prepare(model, request, settings(sees="none", **more)).run(clip.window)  # type: ignore[arg-type]
        return step.latents["tgt"]

    plain = edited(None)
    assert not torch.equal(edited(picture), plain)
    assert torch.equal(edited(picture, picture_until=0.0), plain)
    made = protagonist.prepare(model, replace(clip.request, image=picture), settings(sees="none"))  # type: ignore[arg-type]
    (rule,) = (rule for rule in made.plan.rules if rule.name == "image prompt")
    assert rule.mask is not None and rule.mask.shape[-2:] == (8, 8)  # type: ignore[attr-defined]


def test_an_edit_without_a_mask_is_refused(model: TinyModel) -> None:
    with pytest.raises(UsageError, match="replaces the subject in a mask, and there is none"):
        prepared(protagonist, model, edit_input(model, SOURCE, TARGET, 3), settings())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"tune_steps": 5, "sees": "none"}, "tunes frames that see each other"), ({"hold_from": 0.8, "hold_until": 0.2}, "is behind hold_until")],
)  # fmt: skip
def test_settings_that_contradict_each_other_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        settings(**wrong)


def test_it_inverts_and_tunes_as_it_edits() -> None:
    assert settings().inflation == "sparse-causal" and settings().tuning is None and settings().joins_frames
    tuned = settings(tune_steps=200)
    assert tuned.tuning is not None and (tuned.tuning.steps, tuned.tuning.lr) == (200, 3e-5)
    assert not settings(sees="none").joins_frames
