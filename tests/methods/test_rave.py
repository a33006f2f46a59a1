"""RAVE: docs/methods.md 7.14."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.engine.tiny import TinyModel, latents
from tests.methods.inputs import edit_input, prepared, result
from vedit.errors import UsageError
from vedit.methods import ddim, pnp, rave
from vedit.methods.params import read_params
from vedit.methods.rave import Grids

SOURCE, TARGET = "a cat on a mirror", "a red dog at night"
SETTINGS: dict[str, Any] = {"steps": 3, "guidance": 3.0}


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


def params(**table: Any) -> rave.Params:
    found: rave.Params = read_params(rave.Params, {**SETTINGS, **table}, "test")
    return found


def test_grids_of_one_frame_are_the_base(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, TARGET, 3, frames=3)
    for base in (pnp, ddim):
        found = result(rave, model, clip, params(grid=1, base=base.__name__.rpartition(".")[2]))
        expected = result(base, model, clip, read_params(base.Params, SETTINGS, "test"))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("frames", "side"), [(4, 2), (5, 2), (3, 2), (10, 3)])
def test_frames_come_back_from_their_grids(frames: int, side: int) -> None:
    clip, grids = latents(frames), Grids(frames, side, 1, 0)
    laid = grids.laid(clip)
    assert laid.shape == (-(-frames // side**2), 4, 8 * side, 8 * side)
    assert torch.equal(laid[0, :, :8, 8:16], clip[grids.places[1]])  # row by row
    assert torch.equal(grids.taken(laid), clip)


def test_every_step_shuffles_anew() -> None:
    assert len({tuple(Grids(9, 3, 0, step).order) for step in range(6)}) == 6


def test_a_grid_is_one_picture_to_the_network(model: TinyModel) -> None:
    """One step of plain sampling on a grid is that of a picture four times as large."""
    clip = edit_input(model, SOURCE, TARGET, 1, frames=4)
    grids = Grids(4, 2, 0, 0)
    large = replace(
        edit_input(model, SOURCE, TARGET, 1, frames=1),
        latents_FCYX=grids.laid(clip.latents_FCYX),
        trajectory=lambda index: grids.laid(clip.trajectory(index)),
    )
    found = result(rave, model, clip, params(steps=1, grid=2, base="ddim"))
    expected = result(ddim, model, large, read_params(ddim.Params, {**SETTINGS, "steps": 1}, "test"))
    torch.testing.assert_close(found, grids.taken(expected), rtol=0, atol=1e-12)


def test_calls_do_not_matter_and_frames_act_on_each_other(model: TinyModel) -> None:
    whole, parts = (edit_input(model, SOURCE, TARGET, 3, frames=6, frames_per_call=size) for size in (8, 1))
    found = result(rave, model, whole, params(grid=2))
    torch.testing.assert_close(result(rave, model, parts, params(grid=2)), found, rtol=0, atol=1e-12)
    assert params(grid=2).joins_frames
    assert float((found - result(rave, model, whole, params(grid=1))).abs().max()) > 1e-6


def test_the_source_stays_outside_a_mask(model: TinyModel) -> None:
    mask = torch.zeros(4, 1, 8, 8)
    mask[..., :4] = 1
    clip = edit_input(model, SOURCE, TARGET, 2, frames=4, mask_F1YX=mask)
    found = result(rave, model, clip, params(steps=2, grid=2))
    assert torch.equal(found[..., 4:], clip.latents_FCYX[..., 4:])
    assert not torch.equal(found[..., :4], clip.latents_FCYX[..., :4])


def test_maps_of_words_cannot_be_shown(model: TinyModel) -> None:
    clip = edit_input(model, SOURCE, TARGET, 3, wants_attention=True)
    with pytest.raises(UsageError, match="grids of frames"):
        prepared(rave, model, clip, params())
