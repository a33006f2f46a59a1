"""UniEdit: docs/methods.md 7.6."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.engine import tiny
from tests.engine.motion import TinyMotion
from tests.methods.inputs import edit_input, prepared, result
from vedit.engine.rules import Replace
from vedit.errors import ModelError, UsageError
from vedit.methods import ddim, uniedit
from vedit.methods.params import read_params

SOURCE, TARGET = "a cat on a mirror", "a red dog at night"
STEPS = 5
SETTINGS: dict[str, Any] = {"steps": STEPS, "guidance": 3.0}
OFF = {"structure_until": 0.0, "content_until": 0.0}


@pytest.fixture(scope="module")
def model() -> TinyMotion:
    return TinyMotion()


@pytest.fixture(scope="module")
def clip(model: TinyMotion) -> Any:
    return edit_input(model, SOURCE, TARGET, STEPS, frames=3)


def settings(**more: Any) -> Any:
    return read_params(uniedit.Params, {**SETTINGS, **more}, "test")


def half() -> torch.Tensor:
    """A mask of the left half of every frame."""
    mask = torch.zeros(3, 1, tiny.SIDE, tiny.SIDE)
    mask[..., : tiny.SIDE // 2] = 1
    return mask


def rules(model: TinyMotion, clip: Any, **more: Any) -> list[Replace]:
    plan = prepared(uniedit, model, clip, settings(**more)).plan
    return [rule for rule in plan.rules if isinstance(rule, Replace)]


def test_without_injections_it_is_plain_sampling(model: TinyMotion, clip: Any) -> None:
    plain = result(ddim, model, clip, read_params(ddim.Params, SETTINGS, "test"))
    found = result(uniedit, model, clip, settings(**OFF))
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-12)


def test_a_motion_branch_that_equals_the_target_is_void(model: TinyMotion, clip: Any) -> None:
    """Both take the source's layout, and neither its content: what one lends the other it has."""
    layout = {"structure_until": 0.4, "content_until": 0.0}
    alone = result(uniedit, model, clip, settings(**layout))
    beside = result(uniedit, model, clip, settings(**layout, edits="motion"))
    torch.testing.assert_close(beside, alone, rtol=0, atol=1e-12)
    plain = result(uniedit, model, clip, settings(**OFF))
    assert float((alone - plain).abs().max()) > 1e-6, "the layout is not void"


def test_motion_is_lent_once_the_branches_differ(model: TinyMotion, clip: Any) -> None:
    content = {"structure_until": 0.4, "content_until": 1.0, "content_layer": 10, "edits": "motion"}
    with_motion = result(uniedit, model, clip, settings(**content))
    without = result(uniedit, model, clip, settings(**content, motion_until=0.0))
    assert float((with_motion - without).abs().max()) > 1e-6


def test_everything_of_the_source_and_its_own_prompt_gives_the_clip(model: TinyMotion) -> None:
    clip = edit_input(model, SOURCE, SOURCE, STEPS, frames=3)
    more = {"guidance": 1.0, "edits": "motion", "structure_until": 1.0, "content_until": 1.0}
    with_all = result(uniedit, model, clip, settings(**more))
    plain = result(ddim, model, clip, read_params(ddim.Params, {**SETTINGS, "guidance": 1.0}, "test"))
    error = float((with_all - clip.latents_FCYX).pow(2).mean().sqrt())
    assert error < float((plain - clip.latents_FCYX).pow(2).mean().sqrt()) + 1e-12


def test_a_mask_of_ones_leaves_no_content_to_take_and_one_of_zeros_gives_the_clip(model: TinyMotion) -> None:
    def masked(mask: torch.Tensor, **more: Any) -> torch.Tensor:
        clip = edit_input(model, SOURCE, TARGET, STEPS, frames=3, mask_F1YX=mask)
        return result(uniedit, model, clip, settings(**more))

    whole, none = torch.ones(3, 1, tiny.SIDE, tiny.SIDE), torch.zeros(3, 1, tiny.SIDE, tiny.SIDE)
    without = edit_input(model, SOURCE, TARGET, STEPS, frames=3)
    torch.testing.assert_close(masked(whole), result(uniedit, model, without, settings()), rtol=0, atol=1e-12)
    assert torch.equal(masked(none), without.latents_FCYX)


def test_rules_are_those_of_the_published_scripts(model: TinyMotion, clip: Any) -> None:
    steps = 50
    long = edit_input(model, SOURCE, TARGET, steps, frames=3, trajectory=[clip.latents_FCYX] * (steps + 1),
                      mask_F1YX=half())  # fmt: skip
    made = {"structure_until": 0.5, "steps": steps}
    found = {rule.name: rule for rule in rules(model, long, **made)}
    assert set(found) == {f"{what} of src{mark}" for what in ("layout", "content outside the mask")
                          for mark in ("", "/uncond")}  # fmt: skip
    assert found["content outside the mask of src"].tensors == ("v",)
    assert [sum(rule.steps) for rule in found.values()] == [25] * 4

    moved = {"edits": "motion", "structure_until": 0.3, "content_from": 0.08, "content_until": 1.0,
             "content_layer": 10, "steps": steps}  # fmt: skip
    found = {rule.name: rule for rule in rules(model, long, **moved) if not rule.name.endswith("/uncond")}
    assert found["layout of src"].targets == ("mot", "tgt") and sum(found["layout of src"].steps) == 15
    content, queries = found["content outside the mask of src"], found["queries inside the mask of mot"]
    assert (content.tensors, queries.tensors) == (("k", "v"), ("q",))
    assert [step for step, acts in enumerate(content.steps) if acts] == [*range(4, 50)]
    modules = [site for site in model.sites() if content.select.matches(site)]
    assert len(modules) == 6 and all("up_blocks" in site.path for site in modules)
    motion = found["motion of mot"]
    assert motion.select.kind == "temporal" and motion.tensors == ("q", "k") and all(motion.steps)


def test_motion_inside_a_mask_comes_from_the_pixels_inside(model: TinyMotion) -> None:
    """Attention over frames has a pixel for a row: those outside the mask keep their queries."""
    import dataclasses

    from vedit.engine.rules import Call
    from vedit.models.tensors import Tensors

    clip = edit_input(model, SOURCE, TARGET, STEPS, frames=3, mask_F1YX=half())
    made = uniedit.Injections(model, settings(edits="motion"), STEPS, ("",)).rules(clip.window)
    rule = next(rule for rule in made if rule.name == "motion of mot")
    site = next(site for site in model.sites() if site.kind == "temporal" and site.scale == 1)
    grid = (tiny.SIDE, tiny.SIDE)
    call = dataclasses.replace(Call(0, slice(0, 3), 3), site=site, grid=grid)
    rows = tiny.SIDE * tiny.SIDE
    own, given = torch.zeros(rows, 2, 3, 4), torch.ones(rows, 2, 3, 4)
    tensors = Tensors({name: torch.stack([given, own]) for name in "qk"}, {"mot": 0, "tgt": 1})
    rule.apply(tensors, call)
    taken = tensors["q", "tgt"].reshape(*grid, -1)
    assert bool(taken[:, : tiny.SIDE // 2].eq(1).all()) and bool(taken[:, tiny.SIDE // 2 :].eq(0).all())


def test_a_change_of_appearance_without_a_mask_says_that_no_content_is_taken(
    model: TinyMotion, clip: Any
) -> None:
    (note,) = prepared(uniedit, model, clip, settings()).notes
    assert "no edit mask" in note
    assert prepared(uniedit, model, clip, settings(edits="motion")).notes == ()


def test_layers_and_steps_that_are_not_there_are_refused(model: TinyMotion, clip: Any) -> None:
    with pytest.raises(ModelError, match="motion_layers"):
        prepared(uniedit, model, clip, settings(edits="motion", motion_layers=("temp_attentions",)))
    with pytest.raises(UsageError, match="content_layer 99"):
        prepared(uniedit, model, clip, settings(edits="motion", content_layer=99))
    with pytest.raises(UsageError, match="start_index"):
        prepared(uniedit, model, clip, settings(start_index=STEPS))
