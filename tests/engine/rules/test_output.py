"""BlendOut and Override: what attention gives."""

import torch

from tests.engine.rules.site import ALWAYS, FINEST, FRAMES, HEADS, TOKENS, call, predicted, tensors
from tests.engine.tiny import TinyModel
from vedit.engine.rules import BlendOut, Call, MapColumns, Override, Tensors
from vedit.models.sites import Select

SELF = Select("self")


def with_output() -> tuple[Tensors, torch.Tensor]:
    found = tensors()
    out = torch.randn(2, FRAMES, HEADS, TOKENS, 5, generator=torch.Generator().manual_seed(2))
    found.put("out", out)
    return found, out


def test_a_soft_mask_blends_token_by_token() -> None:
    found, out = with_output()
    share = torch.tensor([1.0, 0.0, 0.25, 0.5])[None, None, :, None]
    BlendOut(FINEST, "src", "tgt", lambda where: share, ALWAYS).apply(found, call())
    torch.testing.assert_close(found["out", "tgt"], share * out[1] + (1 - share) * out[0])
    assert torch.equal(found["out", "tgt"][:, :, 0], out[1][:, :, 0]) and torch.equal(
        found["out", "tgt"][:, :, 1], out[0][:, :, 1]
    )


def test_a_mask_of_ones_keeps_the_target_and_one_of_zeros_gives_the_source() -> None:
    for value, branch in ((1.0, 1), (0.0, 0)):
        found, out = with_output()
        BlendOut(FINEST, "src", "tgt", torch.full((FRAMES, 1, 4, 4), value), ALWAYS).apply(found, call())
        assert torch.equal(found["out", "tgt"], out[branch])


def test_blending_outputs_equals_blending_rows_of_maps_over_shared_values() -> None:
    model, share = TinyModel(), 0.25
    values = (True,) * 4
    from vedit.engine.rules import Replace

    same_values = Replace(SELF, "src", ("tgt",), values, ("v",))
    by_output = predicted(
        model, same_values, BlendOut(SELF, "src", "tgt", lambda where: torch.tensor(share), values)
    )
    by_maps = predicted(
        model,
        same_values,
        MapColumns(
            SELF, "src", "tgt", lambda source, target, step: share * target + (1 - share) * source, values
        ),
    )
    torch.testing.assert_close(by_output["tgt"], by_maps["tgt"], rtol=0, atol=1e-12)


def test_an_override_is_given_the_modules_input_and_what_it_kept() -> None:
    found, _ = with_output()
    memory: dict[str, torch.Tensor] = {}

    def make(here: Tensors, where: Call) -> torch.Tensor:
        where.memory["x"] = here["x", "tgt"]
        return torch.zeros_like(here["out", "tgt"])

    Override(FINEST, "tgt", make, ALWAYS).apply(found, call(memory=memory))
    assert not found["out", "tgt"].any() and memory["x"].shape == (FRAMES, TOKENS, 10)


def test_an_override_may_see_keyframes_first() -> None:
    model, seen = TinyModel(), list[tuple[bool, list[int]]]()

    def make(here: Tensors, where: Call) -> torch.Tensor:
        seen.append((where.is_key_pass, where.numbers))
        if where.is_key_pass:
            where.memory["first"] = here["out", "tgt"][:1]
        return where.memory["first"].expand_as(here["out", "tgt"])

    rule = Override(FINEST, "tgt", make, ALWAYS, reach="keyframes", chosen=lambda step: (0, 2))
    predicted(model, rule, frames_per_call=2)
    assert seen == [(True, [0, 2]), (False, [0, 1]), (False, [2])]
