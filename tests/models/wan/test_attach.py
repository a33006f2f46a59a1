"""Rules inside a Wan transformer against diffusers' own processors: what is not changed stays the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.engine.video_folder import wan_transformer
from vedit.engine.controller import Controller
from vedit.engine.rules import Gather, MapColumns, Plan, Probe, Replace
from vedit.engine.sample import Stream, predict
from vedit.errors import ModelError
from vedit.models.flow import Flow
from vedit.models.sites import Select
from vedit.models.wan.network import WanNetwork

torch.set_num_threads(1)
FRAMES, TOKENS = 3, 7
ON = (True,)


def network(**changes: Any) -> WanNetwork:
    transformer = wan_transformer(num_layers=2, **changes).eval().requires_grad_(False)
    return WanNetwork(transformer, Flow(3.0), text_tokens=TOKENS)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def streams() -> list[Stream]:
    return [
        Stream("src", noise(FRAMES, 4, 8, 6, seed=1), noise(1, TOKENS, 16, seed=2)),
        Stream("tgt", noise(FRAMES, 4, 8, 6, seed=3), noise(1, TOKENS, 16, seed=4)),
    ]


@torch.inference_mode()
def outputs(net: WanNetwork, *rules: Any, probes: tuple[Any, ...] = ()) -> dict[str, Tensor]:
    controller = Controller(net, Plan(rules, probes), ["src", "tgt"], FRAMES, (8, 6), TOKENS)
    with controller.installed():
        given = predict(net, streams(), 700.0, 0, controller, 1)
    return {**given, **controller.store.sums}


def nothing(kind: str, *tensors: str) -> Replace:
    """A rule that acts, and changes nothing."""
    return Replace(Select(kind), "src", ("tgt",), ON, tensors, amount=(0.0,))


@pytest.mark.parametrize("fused", [False, True])
def test_processors_whose_rules_change_nothing_give_what_the_stock_ones_give(fused: bool) -> None:
    net = network()
    if fused:
        net.transformer.fuse_qkv_projections()
    plain = predict(net, streams(), 700.0, 0, None, 1)
    found = outputs(
        net,
        nothing("self", "q", "k", "v"),
        nothing("self", "q_pre", "k_pre"),
        nothing("cross", "q", "k", "v"),
    )
    for name in ("src", "tgt"):
        assert (found[name] - plain[name]).abs().max() < 1e-6
    assert all("WanAttnProcessor" in type(one).__name__ for one in net.transformer.attn_processors.values())


def test_a_transformer_that_reads_a_picture_too_stays_the_same_under_rules() -> None:
    transformer = wan_transformer(
        num_layers=2, in_channels=9, image_dim=20, added_kv_proj_dim=24
    ).eval().requires_grad_(False)  # fmt: skip
    latents, text, picture = noise(2, 9, FRAMES, 8, 6), noise(2, 512, 16), noise(2, 5, 20)
    net = WanNetwork(transformer, Flow(3.0), text_tokens=512)
    controller = Controller(
        net,
        Plan((nothing("self", "q", "k"), nothing("cross", "q", "v"))),
        ["src", "tgt"],
        FRAMES,
        (8, 6),
        512,
    )

    def given() -> Tensor:
        with torch.inference_mode():
            return transformer(latents, torch.tensor([700.0, 700.0]), text, picture, return_dict=False)[0]

    plain = given()
    with controller.installed(), controller.call(0, slice(0, FRAMES)):
        found = given()
    assert (found - plain).abs().max() < 1e-6
    without = transformer(latents, torch.tensor([700.0, 700.0]), text, 0 * picture, return_dict=False)[0]
    assert (without - plain).abs().max() > 1e-4  # the picture does count


def test_a_target_that_takes_all_of_the_source_gives_what_the_source_gives() -> None:
    net = network()
    same = streams()
    same[1].latents, same[1].cond = same[0].latents, same[0].cond
    plain = predict(net, same, 700.0, 0, None, 1)
    assert (
        plain["src"] - plain["tgt"]
    ).abs().max() < 1e-6  # rows of a batch may be added up in another order
    found = outputs(net, Replace(Select("self"), "src", ("tgt",), ON, ("q", "k", "v")))
    other = outputs(net)
    assert (found["src"] - other["src"]).abs().max() < 1e-6  # the source is left alone
    assert (found["tgt"] - other["tgt"]).abs().max() > 1e-3


def test_keys_before_and_behind_the_rotary_positions_replace_alike_at_equal_places() -> None:
    net = network()
    behind = outputs(net, Replace(Select("self"), "src", ("tgt",), ON, ("q", "k")))
    before = outputs(net, Replace(Select("self"), "src", ("tgt",), ON, ("q_pre", "k_pre")))
    assert (behind["tgt"] - before["tgt"]).abs().max() < 1e-6


def test_a_mask_keeps_the_tokens_of_its_frames_and_cells() -> None:
    net = network()
    nowhere, everywhere = torch.zeros(FRAMES, 1, 8, 6), torch.ones(FRAMES, 1, 8, 6)
    whole = Replace(Select("self"), "src", ("tgt",), ON, ("k", "v"))
    kept = [
        outputs(net, Replace(Select("self"), "src", ("tgt",), ON, ("k", "v"), keep=mask))["tgt"]
        for mask in (nowhere, everywhere)
    ]
    assert (kept[0] - outputs(net, whole)["tgt"]).abs().max() < 1e-6
    assert (kept[1] - outputs(net)["tgt"]).abs().max() < 1e-6
    first = everywhere.clone()
    first[1:] = 0
    part = outputs(net, Replace(Select("self"), "src", ("tgt",), ON, ("k", "v"), keep=first))["tgt"]
    assert (part - kept[0]).abs().max() > 1e-4 < (part - kept[1]).abs().max()


def test_each_frame_has_cross_attention_maps_of_its_own_that_sum_to_one() -> None:
    net = network()
    found = outputs(net, probes=(Probe(Select("cross"), "tgt", "maps"),))["maps"]
    assert found.shape == (FRAMES, 12, TOKENS)  # 4x3 patches
    torch.testing.assert_close(found.sum(-1), torch.ones(FRAMES, 12), rtol=0, atol=1e-5)


def test_maps_that_are_edited_into_themselves_change_nothing() -> None:
    net = network()
    edit = MapColumns(Select("cross"), "src", "tgt", lambda source, target, step: target, ON)
    assert (outputs(net, edit)["tgt"] - outputs(net)["tgt"]).abs().max() < 1e-6


def test_processors_and_hooks_are_put_back_whatever_happens() -> None:
    net = network()
    before = dict(net.transformer.attn_processors)
    with pytest.raises(RuntimeError), net.attached(net.sites(), None):  # type: ignore[arg-type]
        assert (
            net.transformer.attn_processors["blocks.0.attn1.processor"]
            is not before["blocks.0.attn1.processor"]
        )
        raise RuntimeError
    assert all(net.transformer.attn_processors[name] is one for name, one in before.items())
    assert not net.transformer.rope._forward_pre_hooks


def test_what_a_whole_clip_has_no_room_for_is_refused_by_name() -> None:
    net = network()
    with pytest.raises(ModelError, match="self sites of this model have no tensor maps"):
        outputs(net, probes=(Probe(Select("self"), "tgt", "maps"),))
    with pytest.raises(ModelError, match="which here sees whole clips"):
        outputs(net, Gather(Select("self"), ("tgt",), ("keyframes",), ON, chosen=lambda step: (0,)))
    with pytest.raises(ModelError, match="conv"):
        outputs(net, Replace(Select("conv"), "src", ("tgt",), ON))


def test_of_two_transformers_the_level_decides_which_is_asked_and_rules_act_in_both() -> None:
    net = network()
    net.transformer_2, net.boundary = wan_transformer(6, num_layers=2).eval().requires_grad_(False), 0.875
    assert net.part_at(875.0) is net.transformer and net.part_at(874.0) is net.transformer_2
    early, late = (predict(net, streams(), level, 0, None, 1)["tgt"] for level in (875.0, 874.0))
    assert (early - late).abs().max() > 1e-3
    rule = Replace(Select("self"), "src", ("tgt",), ON, ("q", "k", "v"))
    assert (outputs(net, rule)["tgt"] - outputs(net)["tgt"]).abs().max() > 1e-4  # 700 is the second's


def test_a_timestep_for_each_token_gives_what_one_for_the_clip_gives() -> None:
    net = network()
    whole = predict(net, streams(), 700.0, 0, None, 1)["tgt"]
    net.by_token = True
    seen: list[Any] = []
    hook = net.transformer.register_forward_pre_hook(lambda module, args: seen.append(args[1].shape))
    assert (predict(net, streams(), 700.0, 0, None, 1)["tgt"] - whole).abs().max() < 1e-5
    hook.remove()
    assert seen == [(2, FRAMES * 12)]
