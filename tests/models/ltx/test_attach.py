"""Rules inside an LTX-Video transformer against diffusers' own processors: what is not changed stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.engine.video_folder import ltx_transformer
from vedit.engine.controller import Controller
from vedit.engine.rules import MapColumns, Plan, Probe, Replace
from vedit.engine.sample import Stream, predict
from vedit.errors import ModelError
from vedit.models.flow import Flow
from vedit.models.ltx.network import Grid, LTXNetwork
from vedit.models.sites import Select

torch.set_num_threads(1)
FRAMES, TOKENS, WORDS = 3, 7, (4, 5)  # tokens of the texts that stand for something
ON = (True,)


def network(**changes: Any) -> LTXNetwork:
    transformer = ltx_transformer(num_layers=2, **changes).eval().requires_grad_(False)
    return LTXNetwork(transformer, Flow(3.0), TOKENS, Grid(rate=10.0))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def text(seed: int, words: int) -> Tensor:
    made = noise(1, TOKENS, 16, seed=seed)
    made[:, words:] = 0
    return made


def streams() -> list[Stream]:
    return [
        Stream("src", noise(FRAMES, 4, 4, 3, seed=1), text(2, WORDS[0])),
        Stream("tgt", noise(FRAMES, 4, 4, 3, seed=3), text(4, WORDS[1])),
    ]


@torch.inference_mode()
def outputs(net: LTXNetwork, *rules: Any, probes: tuple[Any, ...] = ()) -> dict[str, Tensor]:
    controller = Controller(net, Plan(rules, probes), ["src", "tgt"], FRAMES, (4, 3), TOKENS)
    with controller.installed():
        given = predict(net, streams(), 700.0, 0, controller, 1)
    return {**given, **controller.store.sums}


def nothing(kind: str, *tensors: str) -> Replace:
    """A rule that acts, and changes nothing."""
    return Replace(Select(kind), "src", ("tgt",), ON, tensors, amount=(0.0,))


def test_the_network_is_asked_as_the_pipeline_asks_it() -> None:
    net = network()
    latents, words = noise(2, FRAMES, 4, 4, 3), torch.cat([text(2, 4), text(4, 5)])
    mask = torch.tensor([[1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0, 0]])
    with torch.no_grad():
        expected = net.transformer(
            latents.transpose(1, 2).flatten(2).transpose(1, 2), words, torch.tensor([700.0, 700.0]), mask,
            num_frames=FRAMES, height=4, width=3, rope_interpolation_scale=(8 / 10, 32, 32), return_dict=False,
        )[0]  # fmt: skip
        found = net.predict(latents, 700.0, words)
    back = expected.unflatten(1, (FRAMES, 4, 3)).permute(0, 1, 4, 2, 3)
    torch.testing.assert_close(found, back, rtol=0, atol=1e-6)


def test_processors_whose_rules_change_nothing_give_what_the_stock_ones_give() -> None:
    net = network()
    plain = predict(net, streams(), 700.0, 0, None, 1)
    found = outputs(
        net,
        nothing("self", "q", "k", "v"),
        nothing("self", "q_pre", "k_pre"),
        nothing("cross", "q", "k", "v"),
    )
    for name in ("src", "tgt"):
        assert (found[name] - plain[name]).abs().max() < 1e-6
    assert all("LTXVideoAttn" in type(one).__name__ for one in net.transformer.attn_processors.values())


def test_maps_leave_out_what_the_text_does_not_say_and_changed_into_themselves_change_nothing() -> None:
    net = network()
    found = outputs(net, probes=(Probe(Select("cross"), "tgt", "maps"),))["maps"]
    assert found.shape == (FRAMES, 12, TOKENS)  # a token for each of 4x3 entries
    assert bool((found[..., WORDS[1] :] == 0).all())
    torch.testing.assert_close(found.sum(-1), torch.ones(FRAMES, 12), rtol=0, atol=1e-5)
    edit = MapColumns(Select("cross"), "src", "tgt", lambda source, target, step: target, ON)
    plain = predict(net, streams(), 700.0, 0, None, 1)
    assert (outputs(net, edit)["tgt"] - plain["tgt"]).abs().max() < 1e-6


def test_a_target_that_takes_queries_keys_and_values_of_the_source_is_another() -> None:
    net = network()
    behind = outputs(net, Replace(Select("self"), "src", ("tgt",), ON, ("q", "k")))
    before = outputs(net, Replace(Select("self"), "src", ("tgt",), ON, ("q_pre", "k_pre")))
    assert (behind["tgt"] - before["tgt"]).abs().max() < 1e-6  # they lie at equal places
    plain = predict(net, streams(), 700.0, 0, None, 1)
    assert (
        (behind["src"] - plain["src"]).abs().max() < 1e-6 < 1e-4 < (behind["tgt"] - plain["tgt"]).abs().max()
    )


def test_frames_a_second_and_the_first_frame_s_length_decide_where_tokens_lie() -> None:
    even = Grid(rate=10.0).coordinates(3, 1, 2, torch.device("cpu"))
    assert even[0, 0].tolist() == pytest.approx([0, 0, 0.8, 0.8, 1.6, 1.6])
    assert even[0, 2].tolist() == [0, 32] * 3
    late = Grid(rate=10.0, is_causal=True).coordinates(3, 1, 2, torch.device("cpu"))
    assert late[0, 0].tolist() == pytest.approx([0, 0, 0.1, 0.1, 0.9, 0.9])
    net = network()
    slow = predict(net, streams(), 700.0, 0, None, 1)["tgt"]
    net.grid = Grid(rate=30.0)
    assert (predict(net, streams(), 700.0, 0, None, 1)["tgt"] - slow).abs().max() > 1e-4


def test_processors_and_hooks_are_put_back_whatever_happens() -> None:
    net = network()
    before = dict(net.transformer.attn_processors)
    with pytest.raises(RuntimeError), net.attached(net.sites(), None):  # type: ignore[arg-type]
        raise RuntimeError
    assert all(net.transformer.attn_processors[name] is one for name, one in before.items())
    assert not net.transformer.rope._forward_pre_hooks


def test_its_sites_are_two_in_each_block_and_maps_of_a_whole_clip_are_refused() -> None:
    net = network()
    paths = [site.path for site in net.sites()]
    assert paths[:2] == ["transformer_blocks.0.attn1", "transformer_blocks.0.attn2"] and len(paths) == 4
    with pytest.raises(ModelError, match="self sites of this model have no tensor maps"):
        outputs(net, probes=(Probe(Select("self"), "tgt", "maps"),))
