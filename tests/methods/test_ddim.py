"""DDIM inversion with a new prompt, and SDEdit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.engine.tiny import SIDE, TinyModel, latents
from tests.methods.inputs import edit_input, plain_ddim, result, steps_of
from vedit import methods
from vedit.engine.noise import noise_like
from vedit.errors import UsageError
from vedit.methods import ddim, sdedit
from vedit.methods.params import read_params

STEPS = 5
SOURCE, TARGET = "a cat on a mirror", "a red dog"


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


def params(method: Any, **table: Any) -> Any:
    return read_params(method.Params, {"steps": STEPS, "guidance": 3.0, **table}, "test")


def test_every_method_has_what_the_interface_asks_for() -> None:
    assert {"ddim", "p2p", "pnp", "sdedit"} <= set(methods.names())
    for name in methods.names():
        module = methods.load(name)
        assert module.SUMMARY.endswith(".") and isinstance(module.NEEDS, frozenset)
        assert callable(module.prepare)
        for key, entry in module.Params.model_fields.items():
            assert entry.description and not entry.description.endswith("."), f"{name}: {key}"
        module.Params()  # the defaults are themselves allowed


def test_a_method_that_does_not_exist_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="did you mean sdedit"):
        methods.load("sdedt")


def test_ddim_is_plain_sampling_from_the_inversion(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS)
    torch.testing.assert_close(
        result(ddim, model, clip, params(ddim)), plain_ddim(model, clip, TARGET, 3.0), rtol=0, atol=1e-12
    )
    later = result(ddim, model, clip, params(ddim, start_index=3))
    torch.testing.assert_close(later, plain_ddim(model, clip, TARGET, 3.0, start=3), rtol=0, atol=1e-12)


def test_ddim_with_the_source_prompt_and_many_steps_gives_the_clip_back(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, SOURCE, 50)
    found = result(ddim, model, clip, params(ddim, guidance=1.0))
    error = (found - clip.latents_FCYX).pow(2).mean().sqrt() / clip.latents_FCYX.std()
    assert float(error) < 0.05


def test_ddim_keeps_the_clip_outside_a_mask(model: TinyModel) -> None:
    mask = torch.zeros(2, 1, SIDE, SIDE)
    mask[..., :3] = 1
    clip = edit_input(model, SOURCE, TARGET, STEPS, mask_F1YX=mask)
    found = result(ddim, model, clip, params(ddim))
    outside = (mask == 0).expand_as(found)
    assert torch.equal(found[outside], clip.latents_FCYX[outside]) and bool(
        (found[~outside] != clip.latents_FCYX[~outside]).any()
    )


def test_sdedit_takes_the_last_share_of_the_steps(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS)
    assert [step.index for step in steps_of(sdedit, model, clip, params(sdedit, strength=0.6))] == [2, 3, 4]
    start = 0.0
    for strength in (0.2, 0.6, 1.0):
        moved = float(
            (result(sdedit, model, clip, params(sdedit, strength=strength)) - clip.latents_FCYX).abs().mean()
        )
        assert moved > start
        start = moved
    with pytest.raises(UsageError, match="not a whole step"):
        result(sdedit, model, clip, params(sdedit, strength=0.1))


def test_sdedit_starts_at_the_noise_level_of_its_first_step(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, TARGET, STEPS)
    level = model.schedule.level(clip.timesteps[2])
    noise = noise_like(clip.latents_FCYX, 0, 0)
    started = edit_input(
        model,
        SOURCE,
        TARGET,
        STEPS,
        trajectory=[clip.latents_FCYX] * 2 + [level**0.5 * clip.latents_FCYX + (1 - level) ** 0.5 * noise],
    )
    expected = plain_ddim(model, started, TARGET, 3.0, start=2)
    torch.testing.assert_close(
        result(sdedit, model, clip, params(sdedit, strength=0.6)), expected, rtol=0, atol=1e-12
    )


def test_sdedit_shares_noise_between_frames_unless_told(model: TinyModel) -> None:
    still = latents(1).expand(3, -1, -1, -1).contiguous()
    clip = edit_input(model, SOURCE, TARGET, STEPS, latents_FCYX=still)
    shared = result(sdedit, model, clip, params(sdedit))
    own = result(sdedit, model, clip, params(sdedit, shared_noise=False))
    torch.testing.assert_close(shared[1], shared[0], rtol=0, atol=1e-12)
    assert float((own[1] - own[0]).abs().max()) > 0.1


def test_a_windows_frames_take_the_noise_of_their_number_in_the_clip() -> None:
    clip = torch.zeros(6, 4, 2, 2)
    whole = noise_like(clip, 7, 0, shared=False)
    assert torch.equal(noise_like(clip[4:], 7, 0, shared=False, first_frame=4), whole[4:])
    assert torch.equal(noise_like(clip, 7, 0)[0], noise_like(clip[:1], 7, 0)[0])
    assert not torch.equal(noise_like(clip, 7, 0), noise_like(clip, 8, 0)) and not torch.equal(
        noise_like(clip, 7, 0), noise_like(clip, 7, 1)
    )
    assert 0.5 < float(whole.std()) < 1.5


def test_sdedit_keeps_the_clip_outside_a_mask_and_needs_no_inversion(model: TinyModel) -> None:
    mask = torch.zeros(2, 1, SIDE, SIDE)
    mask[..., :3] = 1
    clip = edit_input(model, SOURCE, TARGET, STEPS, mask_F1YX=mask, trajectory=[])
    found = result(sdedit, model, clip, params(sdedit))
    outside = (mask == 0).expand_as(found)
    assert torch.equal(found[outside], clip.latents_FCYX[outside]) and "inversion" not in sdedit.NEEDS
