"""Gather and Scatter: frames that attend to frames, in one call or in passes."""

from __future__ import annotations

import pytest
import torch

from tests.engine.rules.site import ALWAYS, FINEST, FRAMES, HEADS, TOKENS, attention, call, predicted, tensors
from tests.engine.tiny import TinyModel
from vedit.engine.rules import Gather, Scatter
from vedit.engine.rules.rule import Shape
from vedit.models.sites import Select


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


def test_frames_attend_to_the_first_frame_and_themselves() -> None:
    found, before = tensors(), tensors()
    Gather(FINEST, ("tgt",), ("first", "own"), ALWAYS).apply(
        found, call(is_key_pass=True, keyframes=(0, 1, 2))
    )
    keys = before["k", "tgt"]
    for frame in range(FRAMES):
        expected = torch.cat([keys[0], keys[frame]], dim=1)
        assert torch.equal(found["k", "tgt"][frame], expected)
    assert torch.equal(found["k", "src"], before["k", "src"]) and torch.equal(
        found["q", "tgt"], before["q", "tgt"]
    )


def test_the_frame_before_the_first_is_the_first() -> None:
    found, before = tensors(), tensors()
    Gather(FINEST, ("tgt",), ("previous",), ALWAYS, ("v",)).apply(found, call())
    assert torch.equal(found["v", "tgt"], before["v", "tgt"][[0, 0, 1]])


def test_all_frames_are_one_set_of_tokens() -> None:
    found, before = tensors(), tensors()
    Gather(FINEST, ("tgt",), ("all",), ALWAYS).apply(found, call())
    dense = attention(found["q", "tgt"], found["k", "tgt"], found["v", "tgt"])
    q, k, v = (before[name, "tgt"].transpose(0, 1).reshape(HEADS, FRAMES * TOKENS, -1) for name in "qkv")
    torch.testing.assert_close(
        dense.transpose(0, 1).reshape(HEADS, FRAMES * TOKENS, -1), attention(q, k, v), rtol=0, atol=1e-13
    )


def test_an_index_tensor_names_the_frames_of_each_frame() -> None:
    found, before = tensors(), tensors()
    Gather(FINEST, ("tgt",), torch.tensor([[2, -1], [0, -1], [1, 1]]), ALWAYS, ("k",)).apply(found, call())
    keys = before["k", "tgt"]
    for frame, pair in enumerate(((2, 0), (0, 1), (1, 1))):
        assert torch.equal(found["k", "tgt"][frame], torch.cat([keys[pair[0]], keys[pair[1]]], dim=1))


def test_own_tokens_alone_change_nothing(model: TinyModel) -> None:
    plain = predicted(model)
    itself = predicted(model, Gather(Select("self"), ("tgt",), ("own",), ALWAYS))
    torch.testing.assert_close(itself["tgt"], plain["tgt"], rtol=0, atol=1e-13)


@pytest.mark.parametrize("frames_per_call", [1, 2, 3])
def test_keyframes_in_a_pass_of_their_own_equal_one_call_of_all_frames(
    model: TinyModel, frames_per_call: int
) -> None:
    every_frame = Select("self")
    index = torch.tensor([[0, 2]] * FRAMES)
    in_one = predicted(model, Gather(every_frame, ("tgt",), index, ALWAYS))
    keyed = Gather(every_frame, ("tgt",), ("keyframes",), ALWAYS, chosen=lambda step: (0, 2))
    assert (keyed.frames, tuple(keyed.keyframes(0))) == ("keyframes", (0, 2))
    in_passes = predicted(model, keyed, frames_per_call=frames_per_call)
    # keyframes attend to keyframes in their pass as all frames do: the same numbers in other batches
    torch.testing.assert_close(in_passes["tgt"], in_one["tgt"], rtol=0, atol=1e-12)
    assert float((in_one["tgt"] - predicted(model)["tgt"]).abs().max()) > 1e-5


def test_the_first_frame_is_reached_from_every_call(model: TinyModel) -> None:
    rule = Gather(Select("self"), ("tgt",), ("first",), ALWAYS)
    whole = predicted(
        model, Gather(Select("self"), ("tgt",), torch.zeros(FRAMES, 1, dtype=torch.long), ALWAYS)
    )
    torch.testing.assert_close(
        predicted(model, rule, frames_per_call=1)["tgt"], whole["tgt"], rtol=0, atol=1e-12
    )


def test_what_is_held_for_keyframes_is_counted() -> None:
    rule = Gather(FINEST, ("tgt",), ("keyframes",), ALWAYS, chosen=lambda step: (0, 2))
    assert rule.bytes(Shape(frames=8, queries=64, keys=64, width=8, sites=3)) == 2 * 2 * 3 * 64 * 8 * 4
    assert Gather(FINEST, ("tgt",), ("all",), ALWAYS).bytes(Shape(8, 64, 64, 8, 3)) == 0


def test_scatter_takes_each_tokens_output_from_another_token() -> None:
    found = tensors()
    out = torch.randn(2, FRAMES, HEADS, TOKENS, 5, generator=torch.Generator().manual_seed(3))
    found.put("out", out)
    index = torch.stack(
        [torch.randint(0, FRAMES, (FRAMES, TOKENS)), torch.randint(0, TOKENS, (FRAMES, TOKENS))], -1
    )
    Scatter(FINEST, ("tgt",), lambda grid: index, ALWAYS).apply(found, call())
    for frame in range(FRAMES):
        for token in range(TOKENS):
            from_frame, from_token = index[frame, token].tolist()
            assert torch.equal(found["out", "tgt"][frame, :, token], out[1, from_frame, :, from_token])
    assert torch.equal(found["out", "src"], out[0])


def test_scattering_every_token_to_itself_is_the_identity(model: TinyModel) -> None:
    def itself(grid: tuple[int, int]) -> torch.Tensor:
        tokens = grid[0] * grid[1]
        frames = torch.arange(FRAMES)[:, None].expand(-1, tokens)
        return torch.stack([frames, torch.arange(tokens).expand(FRAMES, -1)], -1)

    found = predicted(model, Scatter(Select("self"), ("tgt",), itself, ALWAYS))
    torch.testing.assert_close(found["tgt"], predicted(model)["tgt"], rtol=0, atol=1e-13)
