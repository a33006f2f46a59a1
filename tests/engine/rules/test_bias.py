"""Bias and KeyMask: what is added to the logits, in fused attention and in explicit maps."""

from __future__ import annotations

import pytest
import torch

from tests.engine.rules.site import (
    ALWAYS,
    BRANCHES,
    FINEST,
    FRAMES,
    TOKENS,
    attention,
    call,
    predicted,
    tensors,
)
from tests.engine.tiny import TinyModel
from vedit.engine.rules import Bias, KeyMask, MapColumns, Rule, Tensors
from vedit.engine.rules.rule import Call, Stage
from vedit.models.attention import attend
from vedit.models.sites import Select


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


class One:
    """A controller of one module."""

    def __init__(self, *rules: Rule) -> None:
        self.rules, self.branches = rules, dict(BRANCHES)

    def acting(self, path: str, stage: Stage) -> list[Rule]:
        return [rule for rule in self.rules if rule.stage == stage]

    def apply(self, rules: list[Rule], path: str, found: Tensors, frames: slice | None = None) -> None:
        for rule in rules:
            rule.apply(found, call(frames=frames or slice(0, FRAMES)))


def attended(*rules: Rule) -> torch.Tensor:
    found, one = tensors(), One(*rules)
    one.apply(one.acting("", "qkv"), "", found)
    return attend(one, "", found, scale=1.0)


MASK = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [1.0, 1.0]]])[:, None]
SAME = MapColumns(FINEST, "tgt", "tgt", lambda source, target, step: target, ALWAYS)  # asks for explicit maps


@pytest.mark.parametrize("more", [(), (SAME,)], ids=["fused", "explicit"])
def test_a_key_mask_lets_a_branch_see_only_the_keys_inside(more: tuple[Rule, ...]) -> None:
    plain, masked, before = attended(), attended(KeyMask(FINEST, ("tgt",), MASK, ALWAYS), *more), tensors()
    assert torch.equal(masked[0], plain[0])
    for frame, keys in ((0, [0, 2]), (2, [1, 2, 3])):
        q, k, v = (before[name, "tgt"][frame] for name in "qkv")
        torch.testing.assert_close(masked[1, frame], attention(q, k[:, keys], v[:, keys]), rtol=0, atol=1e-13)
    torch.testing.assert_close(
        masked[1, 1], plain[1, 1], rtol=0, atol=1e-13
    )  # an empty mask shuts nobody out


def test_attention_over_inside_and_outside_is_two_masked_calls(model: TinyModel) -> None:
    inside, outside = (
        attended(KeyMask(FINEST, ("tgt",), MASK, ALWAYS)),
        attended(KeyMask(FINEST, ("tgt",), 1 - MASK, ALWAYS)),
    )
    before = tensors()
    logits = before["q", "tgt"] @ before["k", "tgt"].transpose(-1, -2)
    open_FK = MASK.flatten(1)[:, None, None, :] > 0
    weight = torch.where(open_FK, logits.exp(), 0).sum(-1, keepdim=True) / logits.exp().sum(-1, keepdim=True)
    joined = weight * inside[1] + (1 - weight) * outside[1]
    torch.testing.assert_close(joined[[0, 2]], attended()[1][[0, 2]], rtol=0, atol=1e-13)


@pytest.mark.parametrize("more", [(), (SAME,)], ids=["fused", "explicit"])
def test_a_bias_is_added_to_the_logits(more: tuple[Rule, ...]) -> None:
    values = torch.randn(
        FRAMES, 1, TOKENS, TOKENS, generator=torch.Generator().manual_seed(4), dtype=torch.float64
    )
    found, before = attended(Bias(FINEST, ("tgt",), lambda call: values, ALWAYS), *more), tensors()
    expected = attention(before["q", "tgt"], before["k", "tgt"], before["v", "tgt"], values)
    torch.testing.assert_close(found[1], expected, rtol=0, atol=1e-13)


def test_biases_with_an_order_add_up() -> None:
    first, second = (
        Bias(FINEST, ("tgt",), lambda call, by=by: torch.full((1, 1, 1, TOKENS), by), ALWAYS, order=order)
        for by, order in ((1.0, 0), (2.0, 1))
    )
    torch.testing.assert_close(
        attended(first, second)[1], attended()[1], rtol=0, atol=1e-13
    )  # even logits shift nothing
    found = tensors()
    for rule in (first, second):
        rule.apply(found, call())
    assert torch.equal(found.get("bias", "tgt"), torch.full((1, 1, 1, TOKENS), 3.0, dtype=torch.float64))


def test_a_bias_of_zero_changes_no_result_of_the_network(model: TinyModel) -> None:
    def zero(where: Call) -> torch.Tensor:
        return torch.zeros(1, 1, 1, where.grid[0] * where.grid[1])

    found = predicted(model, Bias(Select("self"), ("tgt",), zero, ALWAYS), frames_per_call=2)
    torch.testing.assert_close(found["tgt"], predicted(model)["tgt"], rtol=0, atol=1e-12)
