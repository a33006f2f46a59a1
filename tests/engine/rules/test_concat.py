"""Concat: a branch that attends to another beside itself."""

import torch

from tests.engine.rules.site import ALWAYS, FINEST, attention, call, predicted, tensors
from tests.engine.tiny import TinyModel
from vedit.engine.rules import Concat
from vedit.models.sites import Select


def test_the_sources_keys_and_values_stand_behind_the_targets_own() -> None:
    found, before = tensors(), tensors()
    Concat(FINEST, "src", ("tgt",), ALWAYS).apply(found, call())
    for name in "kv":
        assert torch.equal(found[name, "tgt"], torch.cat([before[name, "tgt"], before[name, "src"]], dim=2))
        assert torch.equal(found[name, "src"], before[name, "src"])
    assert found.is_ragged("k") and not found.is_ragged("q")


def test_joining_a_branch_with_itself_leaves_its_attention() -> None:
    found, before = tensors(), tensors()
    Concat(FINEST, "tgt", ("tgt",), ALWAYS).apply(found, call())
    doubled = attention(found["q", "tgt"], found["k", "tgt"], found["v", "tgt"])
    torch.testing.assert_close(
        doubled, attention(before["q", "tgt"], before["k", "tgt"], before["v", "tgt"]), rtol=0, atol=1e-14
    )


def test_in_the_network_only_the_target_changes() -> None:
    model = TinyModel()
    plain, joined = predicted(model), predicted(model, Concat(Select("self"), "src", ("tgt",), ALWAYS))
    assert float((joined["tgt"] - plain["tgt"]).abs().max()) > 1e-5
    torch.testing.assert_close(joined["src"], plain["src"], rtol=0, atol=1e-13)
    itself = predicted(model, Concat(Select("self"), "tgt", ("tgt",), ALWAYS))
    torch.testing.assert_close(itself["tgt"], plain["tgt"], rtol=0, atol=1e-12)
