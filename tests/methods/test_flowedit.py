"""FlowEdit on a tiny random Wan: what must leave the clip, what must equal sampling, and what it asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.methods.flow import TinyWan, clean, request_for, run
from vedit import methods
from vedit.engine import sample as sample_module
from vedit.errors import ModelError, UsageError
from vedit.methods import flowedit, sdedit
from vedit.methods.base import Window
from vedit.methods.params import read_params

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model() -> TinyWan:
    return TinyWan()


def params(**values: Any) -> Any:
    return read_params(flowedit.Params, {"steps": 6, "n_max": 4, **values}, "test")


def edit(model: TinyWan, source: str, target: str, window: Window | None = None, **values: Any) -> Tensor:
    return run(model, flowedit, params(**values), source, target, window)


def test_equal_prompts_and_weights_leave_the_clip(model: TinyWan) -> None:
    found = edit(model, "a red cat", "a red cat", guidance=5.0, source_guidance=5.0)
    assert (found - clean()).abs().max() < 1e-6


@pytest.mark.parametrize("more", [{}, {"kappa": 1.0}, {"zeta": 0.01}, {"noise": "fixed"}, {"n_avg": 2}])
def test_other_words_change_it_under_all_settings(model: TinyWan, more: dict[str, Any]) -> None:
    assert (edit(model, "a red cat", "a blue dog", **more) - clean()).abs().max() > 1e-2


def test_no_levels_leave_the_clip_to_the_bit(model: TinyWan) -> None:
    assert torch.equal(edit(model, "a red cat", "a blue dog", n_max=0), clean())


@pytest.mark.parametrize("n", [2, 4])
def test_levels_that_are_all_sampled_are_sdedit_to_the_bit(model: TinyWan, n: int) -> None:
    ours = edit(model, "a red cat", "a blue dog", n_max=n, n_min=n, guidance=4.0)
    theirs = read_params(
        sdedit.Params, {"steps": 6, "strength": n / 6, "guidance": 4.0, "shared_noise": False}, "test"
    )
    assert torch.equal(ours, run(model, sdedit, theirs, "a red cat", "a blue dog"))


def test_flowalign_without_its_pull_is_flowedit_away_from_the_source_prompt(model: TinyWan) -> None:
    align = edit(model, "a red cat", "a blue dog", guidance=7.0, away_from="source")
    plain = edit(
        model, "a red cat", "a blue dog", guidance=7.0, negative_prompt="a red cat", source_guidance=1.0
    )
    torch.testing.assert_close(align, plain, rtol=0, atol=1e-6)


def test_where_the_mask_is_zero_every_bit_is_the_clip_s(model: TinyWan) -> None:
    mask = torch.zeros(3, 1, 8, 6)
    mask[:, :, :4] = 1
    for n_min in (0, 2):
        window = Window(clean(), lambda index: clean(), mask)
        found = edit(model, "a red cat", "a blue dog", window, n_min=n_min)
        assert torch.equal(found[:, :, 4:], clean()[:, :, 4:])
        assert not torch.equal(found[:, :, :4], clean()[:, :, :4])


def test_the_seed_decides_and_averages_share_their_draws(model: TinyWan) -> None:
    first, again = (edit(model, "a red cat", "a blue dog", n_avg=1) for _ in range(2))
    assert torch.equal(first, again)
    other = run(model, flowedit, params(), "a red cat", "a blue dog", seed=1)
    assert not torch.equal(first, other)
    one, two = (edit(model, "a red cat", "a blue dog", n_max=1, n_avg=n) for n in (1, 2))
    assert not torch.equal(one, two)


def test_the_network_is_told_whole_timesteps_and_steps_lie_between_exact_levels() -> None:
    model = TinyWan(whole=True)
    told: list[float] = []
    model.transformer.register_forward_pre_hook(lambda module, args: told.append(float(args[1][0])))
    edit(model, "a red cat", "a blue dog")
    exact = model.schedule.timesteps(6)[2:]
    assert told == [float(int(t)) for t in exact] != exact


def test_evaluations_are_counted_as_they_are_made(model: TinyWan) -> None:
    asked: list[int] = []
    hook = model.transformer.register_forward_pre_hook(lambda module, args: asked.append(len(args[0])))
    for values in ({}, {"n_avg": 3}, {"n_min": 2}, {"source_guidance": 1.0}, {"away_from": "source"}):
        asked.clear()
        told = flowedit.prepare(model, request_for("a red cat", "a blue dog", model, 6), params(**values))
        edit(model, "a red cat", "a blue dog", **values)
        assert told.evaluations == sum(asked), values
    hook.remove()


def test_a_network_that_does_not_follow_a_flow_is_refused(model: TinyWan) -> None:
    from tests.engine.tiny import TinyModel

    other = TinyModel()
    asked = replace(
        request_for("a red cat", "a blue dog", model, 6), timesteps=tuple(other.schedule.timesteps(6))
    )
    with pytest.raises(ModelError, match="trained by flow matching"):
        flowedit.prepare(other, asked, params())


@pytest.mark.parametrize(
    "values, says",
    [
        ({"n_max": 7}, "more than steps"),
        ({"n_min": 5}, "more than n_max"),
        ({"contrast": 2.0}, "needs n_avg"),
        ({"mean_free": 0.5}, "zeta is 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        params(**values)


def test_unipc_takes_the_steps_of_an_edit_and_of_sampling(model: TinyWan) -> None:
    for more in ({"n_max": 1}, {}):
        euler, unipc = (
            edit(model, "a red cat", "a blue dog", solver=solver, **more) for solver in ("euler", "unipc")
        )
        far = (euler - unipc).abs().max()
        assert far < 1e-6 if more else 1e-4 < far < (euler - clean()).abs().max()
    same = edit(model, "a red cat", "a red cat", guidance=5.0, source_guidance=5.0, solver="unipc")
    assert (same - clean()).abs().max() < 1e-5
    n = 3
    ours = edit(model, "a red cat", "a blue dog", n_max=n, n_min=n, guidance=4.0, solver="unipc")
    theirs = {"steps": 6, "strength": n / 6, "guidance": 4.0, "shared_noise": False, "solver": "unipc"}
    settings = read_params(sdedit.Params, theirs, "test")
    assert torch.equal(ours, run(model, sdedit, settings, "a red cat", "a blue dog"))
    with pytest.raises(UsageError, match="zeta"):
        params(zeta=0.1, solver="unipc")


@pytest.mark.parametrize("method", ["flowedit", "sdedit", "kvlock", "p2p"])
def test_a_second_transformer_is_guided_by_a_weight_of_its_own(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = TinyWan()
    model.transformer_2, model.boundary = TinyWan().transformer, 0.6
    module = methods.load(method)
    seen: list[float] = []
    own = sample_module.guided

    def spied(cond: Tensor, uncond: Tensor, scale: float) -> Tensor:
        seen.append(scale)
        return own(cond, uncond, scale)

    monkeypatch.setattr(sample_module, "guided", spied)
    own_settings = {
        "flowedit": {"n_max": 4, "source_guidance": 1.0},
        "sdedit": {"strength": 1.0},
    }
    settings = {"steps": 6, "guidance": 4.0, "guidance_2": 3.0, **own_settings.get(method, {})}
    values = read_params(module.Params, settings, "test")
    mask = torch.ones(3, 1, 8, 6)
    asked: list[bool] = []
    ready = model.part_at
    monkeypatch.setattr(model, "part_at", lambda t: asked.append(ready(t) is model.transformer_2) or ready(t))
    run(model, module, values, "a red cat", "a blue cat", Window(clean(), lambda index: clean(), mask))
    assert {3.0, 4.0} == set(seen)
    assert seen == [3.0 if late else 4.0 for late in asked for _ in range(len(seen) // len(asked))]
    with pytest.raises(UsageError, match="guidance_2 = 3 needs guidance above 1"):
        read_params(module.Params, {**settings, "guidance": 1.0}, "test")
