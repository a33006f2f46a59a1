"""KV-Lock on a tiny random Wan: what the lock reads and writes, when it holds, and what is left alone."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.methods.flow import TinyWan, clean, request_for, run
from vedit.errors import UsageError
from vedit.methods import kvlock, sdedit
from vedit.methods.base import Window
from vedit.methods.params import read_params

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model() -> TinyWan:
    return TinyWan()


def params(**values: Any) -> Any:
    return read_params(kvlock.Params, {"steps": 6, "guidance": 4.0, **values}, "test")


def masked(rows: int) -> Window:
    mask = torch.zeros(3, 1, 8, 6)
    mask[:, :, :rows] = 1
    return Window(clean(), lambda index: clean(), mask)


def edit(model: TinyWan, window: Window, **values: Any) -> Tensor:
    return run(model, kvlock, params(**values), "a red cat", "a blue dog", window)


def test_outside_the_mask_the_clip_comes_back_to_the_bit(model: TinyWan) -> None:
    found = edit(model, masked(4))
    assert torch.equal(found[:, :, 4:], clean()[:, :, 4:])
    assert (found[:, :, :4] - clean()[:, :, :4]).abs().max() > 0.1
    assert torch.equal(edit(model, masked(0)), clean())


def test_without_locked_steps_it_is_sdedit_in_the_mask(model: TinyWan) -> None:
    theirs = read_params(
        sdedit.Params, {"steps": 6, "guidance": 4.0, "strength": 0.5, "shared_noise": False}, "test"
    )
    expected = run(model, sdedit, theirs, "a red cat", "a blue dog", masked(4))
    found = edit(model, masked(4), lock_steps=0, strength=0.5)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert (edit(model, masked(4), lock_steps=3, strength=0.5) - expected).abs().max() > 1e-4


def test_the_lock_writes_the_targets_keys_and_values_in_the_last_steps_alone(model: TinyWan) -> None:
    asked = request_for("a red cat", "a blue dog", model, 6, has_mask=True)
    told = kvlock.prepare(model, asked, params(lock_steps=2, lock_layer=1))
    lock = told.plan.rules[0]
    assert lock.writes == {(part, branch) for part in "kv" for branch in ("tgt", "tgt/uncond")}
    assert lock.reads == {("k", "src"), ("v", "src")} and lock.steps == (False,) * 4 + (True,) * 2
    assert [site.path for site in model.sites() if lock.select.matches(site)] == ["blocks.1.attn1"]
    assert told.branches == ("src", "tgt/uncond", "tgt") and told.evaluations == 18


def test_a_mask_of_everything_leaves_the_lock_without_effect(model: TinyWan) -> None:
    torch.testing.assert_close(
        edit(model, masked(8), lock_steps=4), edit(model, masked(8), lock_steps=0), rtol=0, atol=1e-5
    )


def test_what_is_unsure_inside_the_mask_holds_on_to_the_clip() -> None:
    mask = torch.zeros(1, 1, 1, 2)
    mask[..., 0] = 1
    steps = deque(torch.tensor(value).reshape(1, 1, 1, 2) for value in ([0.0, 9.0], [0.2, -9.0]))
    assert kvlock.locked_by(steps, mask, 0.01) == pytest.approx(1.0)  # a variance of .01
    assert kvlock.locked_by(steps, mask, 0.04) == pytest.approx(0.25)
    assert kvlock.locked_by(deque([steps[0]]), mask, 0.04) == 1.0


@pytest.mark.parametrize(
    "amount, weight, adapt", [(0.5, 4.0, 1.0), (1.0, 8.0, 1.0), (0.0, 2.0, 0.5), (1.0, 4.0, 0.0)]
)
def test_guidance_follows_the_lock_as_far_as_adapt_says(amount: float, weight: float, adapt: float) -> None:
    assert kvlock.adapted(4.0, adapt, amount) == weight


def test_guidance_that_would_be_one_keeps_its_branch() -> None:
    assert kvlock.adapted(2.0, 0.5, 0.0) != 1.0 == pytest.approx(kvlock.adapted(2.0, 0.5, 0.0), abs=1e-5)


def test_no_mask_and_a_layer_that_is_not_there_are_refused(model: TinyWan) -> None:
    with pytest.raises(UsageError, match="nothing says where that is"):
        run(model, kvlock, params(), "a red cat", "a blue dog")
    with pytest.raises(UsageError, match="Give 0 to 1"):
        edit(model, masked(4), lock_layer=2)
