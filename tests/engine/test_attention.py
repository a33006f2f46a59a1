"""The attention engine on a Stable Diffusion UNet in small: sites, identities, and the model left as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.engine.tiny import SIDE, TinyModel, latents, unet
from vedit.engine.controller import Controller
from vedit.engine.rules import MapColumns, Plan, Probe, Replace, step_range
from vedit.engine.sample import Stream, branch_names, predict, sample
from vedit.engine.store import MapSize, MapStore
from vedit.errors import MemoryBudgetError, ModelError, UsageError
from vedit.models.sites import Select, select_sites

ALWAYS = (True,) * 4
TIMESTEP = 501


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


def two(model: TinyModel, frames: int = 2) -> list[Stream]:
    """A source and a target with different latents and prompts, both guided."""
    empty = model.encode_prompt("")
    return [
        Stream("src", latents(frames, 1), model.encode_prompt("a cat"), empty, 3.0),
        Stream("tgt", latents(frames, 2), model.encode_prompt("a red dog"), empty, 3.0),
    ]


def outputs(
    model: TinyModel,
    plan: Plan | None,
    streams: list[Stream] | None = None,
    frames_per_call: int = 8,
    step: int = 0,
) -> tuple[dict[str, Tensor], Any]:
    streams = streams or two(model)
    if plan is None:
        return predict(model, streams, TIMESTEP, step, None, frames_per_call), None
    controller = Controller(model, plan, branch_names(streams), len(streams[0].latents), (SIDE, SIDE), 20)
    with torch.inference_mode(), controller.installed():
        return predict(model, streams, TIMESTEP, step, controller, frames_per_call), controller


def test_stable_diffusion_has_its_32_attention_modules_in_forward_order(model: TinyModel) -> None:
    sites = model.sites()
    attention = [site for site in sites if site.kind not in ("conv", "up")]
    assert sum(site.kind == "up" for site in sites) == 3
    assert [site.layer for site in attention] == list(range(32))
    assert [site.kind for site in attention] == ["self", "cross"] * 16
    blocks = [site.path.split(".attentions")[0] for site in attention[::2]]
    assert blocks == [f"down_blocks.{i}" for i in (0, 0, 1, 1, 2, 2)] + ["mid_block"] + [
        f"up_blocks.{i}" for i in (1, 1, 1, 2, 2, 2, 3, 3, 3)
    ]
    assert [site.scale for site in attention[::2]] == [1, 1, 2, 2, 4, 4, 8, 4, 4, 4, 2, 2, 2, 1, 1, 1]
    assert {site.path for site in attention} == {
        name.removesuffix(".processor") for name in model.unet.attn_processors
    }


def test_sites_come_in_the_order_that_a_forward_pass_visits_them(model: TinyModel) -> None:
    visited: list[str] = []
    sites = model.sites()
    hooks = [
        model.unet.get_submodule(site.path).register_forward_hook(
            lambda *_, path=site.path: visited.append(path)
        )
        for site in sites
    ]
    predict(model, two(model), TIMESTEP, 0, None, 8)
    for hook in hooks:
        hook.remove()
    assert visited == [site.path for site in sites]


def test_the_published_layers_are_found_by_name(model: TinyModel) -> None:
    sites = model.sites()
    assert len(select_sites(sites, Select("cross", scales=(4,), expect=5), "blend")) == 5
    finest = select_sites(sites, Select("self", first_layer=25), "structure")
    assert [site.layer for site in finest] == [26, 28, 30] and all(
        site.path.startswith("up_blocks.3") for site in finest
    )
    (features,) = select_sites(sites, Select("conv", ("up_blocks.1.resnets.1",)), "features")
    assert features.path == "up_blocks.1.resnets.1.conv2"


@pytest.mark.parametrize(
    "select", [Select("self", ("up_blocks.7.*",)), Select("cross", expect=15), Select("self", first_layer=31)]
)
def test_a_selector_that_matches_the_wrong_number_is_an_error(model: TinyModel, select: Select) -> None:
    with pytest.raises(ModelError, match="expected"):
        Controller(model, Plan((Replace(select, "src", ("tgt",), ALWAYS),)), ["src", "tgt"], 1, (8, 8), 20)


def test_a_plan_that_names_a_missing_branch_is_an_error(model: TinyModel) -> None:
    with pytest.raises(UsageError, match="tgt/uncond"):
        Controller(
            model,
            Plan((Replace(Select("self"), "src", ("tgt/uncond",), ALWAYS),)),
            ["src", "tgt"],
            1,
            (8, 8),
            20,
        )


def test_an_empty_plan_equals_the_plain_model_bit_for_bit(model: TinyModel) -> None:
    plain, _ = outputs(model, None)
    planned, _ = outputs(model, Plan())
    assert all(torch.equal(plain[name], planned[name]) for name in plain)


def test_processors_that_no_rule_acts_in_equal_the_plain_model(model: TinyModel) -> None:
    plain, _ = outputs(model, None)
    never = (False,) * 4
    everywhere = Plan(
        (
            Replace(Select("self"), "src", ("tgt",), never),
            MapColumns(Select("cross"), "src", "tgt", lambda s, t, i: s, never),
        )
    )
    planned, _ = outputs(model, everywhere)
    for name in plain:
        torch.testing.assert_close(planned[name], plain[name], rtol=0, atol=1e-13)


def test_a_branch_injected_into_itself_is_the_identity(model: TinyModel) -> None:
    plain, _ = outputs(model, None)
    itself = Plan((
        Replace(Select("self"), "tgt", ("tgt",), ALWAYS, ("q", "k", "v")),
        Replace(Select("conv"), "tgt", ("tgt",), ALWAYS),
        MapColumns(Select("cross"), "tgt", "tgt", lambda source, target, step: source, ALWAYS),
    ))  # fmt: skip
    planned, _ = outputs(model, itself)
    for name in plain:
        torch.testing.assert_close(planned[name], plain[name], rtol=0, atol=1e-13)


def test_replacing_queries_and_keys_equals_replacing_whole_maps(model: TinyModel) -> None:
    plain, _ = outputs(model, None)
    injected, _ = outputs(model, Plan((Replace(Select("self"), "src", ("tgt",), ALWAYS),)))
    replaced, _ = outputs(
        model, Plan((MapColumns(Select("self"), "src", "tgt", lambda source, target, step: source, ALWAYS),))
    )
    torch.testing.assert_close(injected["tgt"], replaced["tgt"], rtol=0, atol=1e-13)
    assert float((injected["tgt"] - plain["tgt"]).abs().max()) > 1e-4  # and it does something
    for other in ("src", "src/uncond", "tgt/uncond"):  # what is only read stays as it is
        torch.testing.assert_close(injected[other], plain[other], rtol=0, atol=1e-13)


def test_replacing_all_of_attention_and_features_with_equal_latents_and_text_gives_the_source(
    model: TinyModel,
) -> None:
    streams = two(model)
    streams[1].latents = streams[0].latents
    everything = Plan((
        Replace(Select("self"), "src", ("tgt",), ALWAYS, ("q", "k", "v")),
        Replace(Select("cross"), "src", ("tgt",), ALWAYS, ("q", "k", "v")),
    ))  # fmt: skip
    found, _ = outputs(model, everything, streams)
    torch.testing.assert_close(found["tgt"], found["src"], rtol=0, atol=1e-13)


def test_a_mask_keeps_the_targets_own_values_where_it_is_one(model: TinyModel) -> None:
    plain, _ = outputs(model, None)
    select, tensors = Select("self", ("up_blocks.3.attentions.2",)), ("v",)
    full, _ = outputs(model, Plan((Replace(select, "src", ("tgt",), ALWAYS, tensors),)))
    ones, zeros = torch.ones(2, 1, SIDE, SIDE), torch.zeros(2, 1, SIDE, SIDE)
    kept, _ = outputs(model, Plan((Replace(select, "src", ("tgt",), ALWAYS, tensors, keep=ones),)))
    gone, _ = outputs(model, Plan((Replace(select, "src", ("tgt",), ALWAYS, tensors, keep=zeros),)))
    torch.testing.assert_close(kept["tgt"], plain["tgt"], rtol=0, atol=1e-13)
    torch.testing.assert_close(gone["tgt"], full["tgt"], rtol=0, atol=1e-13)
    mixed = torch.cat([ones[:1], zeros[:1]])  # frame by frame, also when frames go through singly
    half, _ = outputs(
        model, Plan((Replace(select, "src", ("tgt",), ALWAYS, tensors, keep=mixed),)), frames_per_call=1
    )
    torch.testing.assert_close(
        half["tgt"], torch.stack([plain["tgt"][0], full["tgt"][1]]), rtol=0, atol=1e-13
    )
    conv = Select("conv", ("up_blocks.3.resnets.2",))
    features, _ = outputs(model, Plan((Replace(conv, "src", ("tgt",), ALWAYS, keep=ones),)))
    torch.testing.assert_close(features["tgt"], plain["tgt"], rtol=0, atol=1e-13)


def test_a_network_that_is_streamed_layer_by_layer_gives_the_same() -> None:
    from accelerate import cpu_offload

    model = TinyModel()
    mask = torch.cat([torch.ones(1, 1, SIDE, SIDE), torch.zeros(1, 1, SIDE, SIDE)])
    rules = [Replace(Select(kind), "src", ("tgt",), ALWAYS, ("v",), keep=mask) for kind in ("self", "conv")]
    plan = Plan(
        (*rules, MapColumns(Select("cross"), "src", "tgt", lambda source, target, step: source, ALWAYS))
    )
    whole, _ = outputs(model, plan)
    cpu_offload(model.unet, torch.device("cpu"))
    assert {weight.device.type for weight in model.unet.parameters()} == {"meta"}
    streamed, _ = outputs(model, plan)
    torch.testing.assert_close(streamed["tgt"], whole["tgt"], rtol=0, atol=1e-13)


@pytest.mark.parametrize("frames_per_call", [1, 2, 3])
def test_frames_in_chunks_give_the_same(model: TinyModel, frames_per_call: int) -> None:
    plan = Plan(
        (
            Replace(Select("self"), "src", ("tgt",), ALWAYS),
            Replace(Select("conv", ("up_blocks.1.resnets.1",)), "src", ("tgt",), ALWAYS),
            MapColumns(Select("cross"), "src", "tgt", lambda source, target, step: source, ALWAYS),
        ),
        (Probe(Select("cross", scales=(4,)), "tgt", "maps"),),
    )
    whole, all_maps = outputs(model, plan, two(model, 3))
    parts, part_maps = outputs(model, plan, two(model, 3), frames_per_call)
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=0, atol=1e-13)
    torch.testing.assert_close(part_maps.store.sums["maps"], all_maps.store.sums["maps"], rtol=0, atol=1e-6)


def test_maps_made_frame_by_frame_give_the_same(model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def edit(source: Tensor, target: Tensor, step: int) -> Tensor:
        seen.append(len(source))
        return source * 0.5

    plan = Plan(
        (MapColumns(Select("cross"), "src", "tgt", edit, ALWAYS),),
        (Probe(Select("cross", scales=(4,)), "tgt", "maps"),),
    )
    whole, all_maps = outputs(model, plan, two(model, 3))
    assert set(seen) == {3}
    seen.clear()
    monkeypatch.setattr("vedit.models.attention.MAP_BYTES", 1)
    parts, part_maps = outputs(model, plan, two(model, 3))
    assert set(seen) == {1}
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=0, atol=1e-13)
    torch.testing.assert_close(part_maps.store.sums["maps"], all_maps.store.sums["maps"], rtol=0, atol=1e-6)


def test_a_probe_reads_maps_averaged_over_heads_and_sites_after_the_edit(model: TinyModel) -> None:
    select = Select("cross", scales=(4,))
    _, controller = outputs(model, Plan((), (Probe(select, "src", "src"), Probe(select, "tgt", "tgt"))))
    sums = controller.store.sums
    assert sums["src"].shape == (2, 4, 20)  # 2 x 2 places, 20 tokens
    torch.testing.assert_close(sums["src"].sum(-1), torch.ones(2, 4))
    edited = Plan(
        (MapColumns(select, "src", "tgt", lambda source, target, step: 0 * target + 0.5, ALWAYS),),
        (Probe(select, "tgt", "tgt"),),
    )
    _, controller = outputs(model, edited)
    assert torch.equal(controller.store.sums["tgt"], torch.full((2, 4, 20), 0.5))


def test_probing_changes_no_result(model: TinyModel) -> None:
    plain, _ = outputs(model, None)
    probed, _ = outputs(model, Plan((), (Probe(Select("cross", scales=(2,)), "tgt", "x"),)))
    for name in plain:
        torch.testing.assert_close(probed[name], plain[name], rtol=0, atol=1e-13)


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_itself_again_after_an_edit(fails: bool) -> None:
    net = unet()
    before, processors = (
        {key: value.clone() for key, value in net.state_dict().items()},
        dict(net.attn_processors),
    )
    model = TinyModel(net)
    plain, _ = outputs(model, None)

    def edit(source: Tensor, target: Tensor, step: int) -> Tensor:
        if fails:
            raise RuntimeError("in the middle")
        return source

    plan = Plan((
        MapColumns(Select("cross"), "src", "tgt", edit, ALWAYS),
        Replace(Select("self"), "src", ("tgt",), ALWAYS),
        Replace(Select("conv"), "src", ("tgt",), ALWAYS),
    ))  # fmt: skip
    if fails:
        with pytest.raises(RuntimeError, match="in the middle"):
            outputs(model, plan)
    else:
        outputs(model, plan)
    assert all(net.attn_processors[path] is processor for path, processor in processors.items())
    assert not any(module._forward_hooks for module in net.modules())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    again, _ = outputs(model, None)
    assert all(torch.equal(plain[name], again[name]) for name in plain)


def test_a_run_given_up_in_the_middle_puts_the_model_back() -> None:
    model = TinyModel()
    processors = dict(model.unet.attn_processors)
    streams = two(model)
    controller = Controller(
        model,
        Plan((Replace(Select("self"), "src", ("tgt",), ALWAYS),)),
        branch_names(streams),
        2,
        (SIDE, SIDE),
        20,
    )

    def steps() -> Any:
        with controller.installed():
            yield from sample(model, model.schedule.timesteps(4), streams, controller)

    run = steps()
    next(run)
    assert model.unet.attn_processors != processors
    run.close()
    assert model.unet.attn_processors == processors


def test_half_precision_attends_in_float32_without_nan() -> None:
    model = TinyModel(unet(torch.bfloat16))
    seen: list[torch.dtype] = []

    def edit(source: Tensor, target: Tensor, step: int) -> Tensor:
        seen.append(source.dtype)
        return source * 1e4

    found, _ = outputs(model, Plan((MapColumns(Select("cross"), "src", "tgt", edit, ALWAYS),)))
    assert set(seen) == {torch.float32} and all(
        value.dtype == torch.float32 and bool(value.isfinite().all()) for value in found.values()
    )


def test_a_probe_of_several_map_sizes_is_a_mistake_of_the_method(model: TinyModel) -> None:
    with pytest.raises(AssertionError, match="several sizes"):
        outputs(model, Plan((), (Probe(Select("cross"), "tgt", "x"),)))


def test_step_range_counts_whole_steps() -> None:
    assert step_range(5, 0.2, 0.6) == (False, True, True, False, False)
    assert [sum(step_range(10, 0, share)) for share in (0, 0.3, 0.7, 0.99, 1)] == [0, 3, 7, 9, 10]
    assert sum(step_range(50, 0, 0.29)) == 14  # floor of 14.5


def test_maps_over_the_budget_are_refused_before_anything_runs() -> None:
    with pytest.raises(MemoryBudgetError, match="large"):
        MapStore([MapSize("small", 1, 4, 4), MapSize("large", 8, 4096, 77)], budget=2**20)
    assert MapStore([MapSize("small", 2, 3, 5)]).predicted_bytes() == 120


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (5, 10)])
def test_a_site_has_as_many_tokens_as_its_grid_also_on_odd_sides(
    model: TinyModel, size: tuple[int, int]
) -> None:
    tokens: dict[str, int] = {}
    sites = [site for site in model.sites() if site.kind == "self"]

    def watch(path: str) -> Any:
        return lambda module, inputs: tokens.__setitem__(path, inputs[0].shape[1])

    hooks = [
        model.unet.get_submodule(site.path).register_forward_pre_hook(watch(site.path)) for site in sites
    ]
    text = model.encode_prompt("a cat")
    predict(model, [Stream("tgt", torch.zeros(1, 4, *size, dtype=torch.float64), text)], TIMESTEP, 0, None, 8)
    for hook in hooks:
        hook.remove()
    assert tokens == {site.path: site.grid(size)[0] * site.grid(size)[1] for site in sites}
