"""Uni-Edit on a tiny random Wan: the way back alone where the prompts agree, its formula, and what it costs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.methods.flow import TinyWan, clean, request_for, run
from vedit.engine.sample import Stream, sample
from vedit.errors import UsageError
from vedit.methods import unedit
from vedit.methods.base import Window
from vedit.methods.params import read_params

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model() -> TinyWan:
    return TinyWan()


def params(**values: Any) -> Any:
    return read_params(unedit.Params, {"steps": 10, **values}, "test")


def test_a_prompt_edited_to_itself_is_sampled_back_by_euler(model: TinyWan) -> None:
    found = run(model, unedit, params(alpha=1.0, invert_with="source"), "a red cat", "a red cat")
    timesteps = model.schedule.timesteps(10)
    stored = list(unedit.walk(model, timesteps, clean(), model.encode_prompt("a red cat"), "uni-inv"))
    stream = Stream("src", stored[-1].latents, model.encode_prompt("a red cat"))
    for _ in sample(model, timesteps, [stream]):
        pass
    torch.testing.assert_close(found, stream.latents, rtol=0, atol=1e-5)
    assert (found - clean()).abs().max() < 0.2 < clean().abs().max()


def test_other_words_change_it(model: TinyWan) -> None:
    same = run(model, unedit, params(), "a red cat", "a red cat")
    other = run(model, unedit, params(), "a red cat", "a blue dog")
    assert (other - same).abs().max() > 1e-2


def test_the_step_is_the_published_one() -> None:
    z = torch.zeros(1, 2, 1, 2)
    source = torch.tensor([[1.0, 1.0], [1.0, 1.0]]).reshape(1, 2, 1, 2)
    target = source + torch.tensor([[0.0, 4.0], [0.0, 2.0]]).reshape(1, 2, 1, 2)
    found = unedit.fused(z, source, target, -0.1, 5.0)
    # d is (0, 0) at the first place and (4, 2) at the second; its means 0 and 3 become m = 0 and 1
    expected = [[-0.1, 5 * -0.1 * 2 * 4 - 0.1 * 5], [-0.1, 5 * -0.1 * 2 * 2 - 0.1 * 3]]
    torch.testing.assert_close(found[0, :, 0], torch.tensor(expected))


def test_where_the_mask_is_zero_the_clip_comes_back_to_the_bit(model: TinyWan) -> None:
    mask = torch.zeros(3, 1, 8, 6)
    mask[:, :, :4] = 1
    found = run(model, unedit, params(), "a red cat", "a blue dog", Window(clean(), lambda i: clean(), mask))
    assert torch.equal(found[:, :, 4:], clean()[:, :, 4:])
    assert not torch.equal(found[:, :, :4], clean()[:, :, :4])


@pytest.mark.parametrize("steps, alpha, wanted", [(15, 0.6, 28), (10, 0.8, 25)])
def test_it_takes_three_evaluations_a_level_and_one(
    model: TinyWan, steps: int, alpha: float, wanted: int
) -> None:
    asked: list[int] = []
    hook = model.transformer.register_forward_pre_hook(lambda module, args: asked.append(len(args[0])))
    values = params(steps=steps, alpha=alpha)
    told = unedit.prepare(model, request_for("a red cat", "a blue dog", model, steps), values)
    run(model, unedit, values, "a red cat", "a blue dog")
    hook.remove()
    assert told.evaluations == sum(asked) == wanted


def test_less_than_a_step_is_refused(model: TinyWan) -> None:
    with pytest.raises(UsageError, match="is not a whole step"):
        run(model, unedit, params(alpha=0.05), "a red cat", "a blue dog")
