"""Replace: whole, masked, in part, and before rotary positions."""

import pytest
import torch

from tests.engine.rules.site import ALWAYS, FINEST, FRAMES, call, tensors
from vedit.engine.rules import Replace
from vedit.models.sites import Select


def test_the_target_gets_the_sources_tensors_and_nobody_else_changes() -> None:
    found, before = tensors(), tensors()
    Replace(FINEST, "src", ("tgt",), ALWAYS).apply(found, call())
    for name in "qk":
        assert torch.equal(found[name, "tgt"], before[name, "src"]) and torch.equal(
            found[name, "src"], before[name, "src"]
        )
    assert torch.equal(found["v", "tgt"], before["v", "tgt"])


def test_a_mask_of_tokens_keeps_the_targets_own_where_it_is_one() -> None:
    found, before = tensors(), tensors()
    mask = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).expand(FRAMES, 1, 2, 2)
    Replace(FINEST, "src", ("tgt",), ALWAYS, ("v",), keep=mask).apply(found, call())
    assert torch.equal(found["v", "tgt"][:, :, [0, 3]], before["v", "tgt"][:, :, [0, 3]])
    assert torch.equal(found["v", "tgt"][:, :, [1, 2]], before["v", "src"][:, :, [1, 2]])


def test_a_mask_of_the_window_is_cut_to_the_frames_of_the_call() -> None:
    found, before = tensors(), tensors()
    mask = torch.zeros(6, 1, 2, 2)
    mask[4] = 1  # the second frame of a call for frames 3, 4, 5
    Replace(FINEST, "src", ("tgt",), ALWAYS, ("v",), keep=mask).apply(
        found, call(frames=slice(3, 6), total=6)
    )
    assert torch.equal(found["v", "tgt"][1], before["v", "tgt"][1]) and torch.equal(
        found["v", "tgt"][0], before["v", "src"][0]
    )


@pytest.mark.parametrize(("step", "share"), [(0, 0.0), (1, 0.25), (2, 1.0)])
def test_an_amount_by_step_mixes_in_proportion(step: int, share: float) -> None:
    found, before = tensors(), tensors()
    Replace(FINEST, "src", ("tgt",), ALWAYS, ("k",), amount=(0.0, 0.25, 1.0)).apply(found, call(step=step))
    own, given = before["k", "tgt"], before["k", "src"]
    torch.testing.assert_close(found["k", "tgt"], (1 - share) * own + share * given, rtol=0, atol=1e-15)
    if share in (0.0, 1.0):
        assert torch.equal(found["k", "tgt"], given if share else own)


def test_its_stage_follows_from_what_it_replaces() -> None:
    assert Replace(FINEST, "src", ("tgt",), ALWAYS).stage == "qkv"
    assert Replace(FINEST, "src", ("tgt",), ALWAYS, ("k_pre",)).stage == "pre"
    features = Replace(Select("conv"), "src", ("tgt",), ALWAYS)
    assert features.stage == "output" and features.writes == {("h", "tgt")}
