"""FLATTEN: docs/methods.md 7.8."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.engine.tiny import TinyModel, latents
from tests.methods.inputs import edit_input, prepared, result
from vedit.engine.rules import AlongTracks
from vedit.methods import flatten, pnp
from vedit.methods.params import read_params

SOURCE, TARGET = "a cat on a mirror", "a red dog at night"
SETTINGS: dict[str, Any] = {"steps": 3, "guidance": 3.0}


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


def settings(**more: Any) -> Any:
    return read_params(flatten.Params, {**SETTINGS, **more}, "test")


def moving(frames: int) -> torch.Tensor:
    """The same picture, two pixels further right in each frame, (F, 3, Y, X) in [-1, 1]."""
    noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3)) - 0.5
    smooth = torch.nn.functional.avg_pool2d(noise, 9, 1, 4)[0] * 4
    return torch.stack([smooth.roll(2 * place, -1) for place in range(frames)]).clamp(-1, 1)


@pytest.mark.parametrize("more", [{}, {"track_until": 0.0}])
def test_tracks_of_one_token_or_none_are_plug_and_play(model: TinyModel, more: dict[str, Any]) -> None:
    clip = edit_input(model, SOURCE, TARGET, 3, frames=3)  # without pixels no motion is known
    plain = read_params(pnp.Params, {**SETTINGS, "feature_until": 0.8, "attention_until": 0.8}, "test")
    found = result(flatten, model, clip, settings(sees="none", **more))
    assert torch.equal(found, result(pnp, model, clip, plain))


def test_frames_that_see_all_others_are_those_of_an_inversion_of_the_same_kind() -> None:
    assert [settings(sees=sees).inflation for sees in ("dense", "sparse-causal", "none")] == [
        "dense",
        "sparse-causal",
        "none",
    ]
    assert settings(sees="none").joins_frames, "tracks join frames all the same"


@pytest.mark.parametrize("likeness", ["output", "keys"])
def test_tracks_act_alike_however_many_frames_are_allowed_in_a_call(model: TinyModel, likeness: str) -> None:
    clips = [
        edit_input(model, SOURCE, TARGET, 3, frames=4, pixels_F3YX=moving(4), frames_per_call=size)
        for size in (4, 1)
    ]
    found = [result(flatten, model, clip, settings(likeness=likeness)) for clip in clips]
    assert torch.equal(found[0], found[1])
    without = result(flatten, model, clips[0], settings(track_until=0.0))
    assert float((found[0] - without).abs().max()) > 1e-6


def test_a_clip_of_one_picture_shown_four_times_stays_one(model: TinyModel) -> None:
    alike = latents(1).expand(4, -1, -1, -1).contiguous()
    clip = edit_input(
        model, SOURCE, TARGET, 3, latents_FCYX=alike, pixels_F3YX=moving(1).expand(4, -1, -1, -1)
    )
    found = result(flatten, model, clip, settings())
    torch.testing.assert_close(found, found[:1].expand_as(found), rtol=0, atol=1e-12)


def test_as_published_tracks_are_at_the_finest_grid_alone(model: TinyModel) -> None:
    def layers(**more: Any) -> set[float]:
        plan = prepared(flatten, model, edit_input(model, SOURCE, TARGET, 3), settings(**more)).plan
        (rule,) = [rule for rule in plan.rules if isinstance(rule, AlongTracks)]
        assert rule.select is not None
        return {site.scale for site in model.sites() if rule.select.matches(site)}

    assert layers(compat=True) == {min(layers())} and len(layers()) > 1
