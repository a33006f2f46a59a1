"""Sites of the video UNets and rules at them, on tiny random networks of the true classes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.engine import tiny
from tests.engine.motion import TinyFirstFrame, TinyMotion, TinySpatioTemporal
from vedit.engine.controller import Controller
from vedit.engine.rules import Override, Plan, Replace
from vedit.engine.sample import Stream, predict
from vedit.models.sites import Select

FRAMES = 3
NETWORKS = {"animatediff": TinyMotion, "i2vgen-xl": TinyFirstFrame, "svd": TinySpatioTemporal}
OVER_FRAMES = {
    "animatediff": "motion_modules",
    "i2vgen-xl": "temp_attentions",
    "svd": "temporal_transformer_blocks",
}


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(kind: str) -> Any:
    return NETWORKS[kind]()


def streams(model: Any) -> list[Stream]:
    picture = torch.linspace(-1, 1, 3 * 16 * 16, dtype=torch.float64).reshape(3, 16, 16)
    shown = [model.show(part, FRAMES)[0] if model.sees_picture else None for part in (picture, -picture)]
    return [
        Stream(name, tiny.latents(FRAMES, seed), model.encode_prompt(text), shown=seen)
        for name, seed, text, seen in (("src", 1, "a cat", shown[0]), ("tgt", 2, "a red dog", shown[1]))
    ]


def answer(model: Any, *rules: Any) -> dict[str, torch.Tensor]:
    control = Controller(model, Plan(rules), ("src", "tgt"), FRAMES, (tiny.SIDE, tiny.SIDE), tiny.LENGTH)
    with control.installed(), torch.no_grad():
        return predict(model, streams(model), 500, 0, control, 8)


@pytest.fixture(scope="module")
def plain(model: Any) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return predict(model, streams(model), 500, 0, None, 8)


def test_layers_over_frames_are_found_by_name_beside_those_of_stable_diffusion(model: Any, kind: str) -> None:
    sites = model.sites()
    named = {path: module for path, module in model.unet.named_modules() if path.endswith(("attn1", "attn2"))}
    over = {path for path in named if OVER_FRAMES[kind] in path or "transformer_in" in path}
    if kind == "svd":  # the second of a layer over frames sees the picture
        named = {path: module for path, module in named.items() if path not in over or path.endswith("attn1")}
        over &= set(named)
    assert {site.path for site in sites if site.kind == "temporal"} == over and over
    within = {path for path in named if ".attentions." in path} - over
    assert {site.path for site in sites if site.kind in ("self", "cross")} == within
    pictures = [(site.path, site.kind, site.scale) for site in tiny.TinyModel().sites()]
    alike = [
        (site.path.replace(".spatial_res_block", ""), site.kind, site.scale)
        for site in sites
        if site.kind != "temporal"
    ]
    assert alike == pictures, "what sees frames has the names, the order and the sizes of Stable Diffusion's"


def test_sites_stand_in_the_order_that_a_call_visits_them(model: Any) -> None:
    seen: list[str] = []
    modules = dict(model.unet.named_modules())
    hooks = [
        modules[site.path].register_forward_hook(lambda *_, path=site.path: seen.append(path))
        for site in model.sites()
    ]
    with torch.no_grad():
        predict(model, streams(model)[:1], 500, 0, None, 8)
    for hook in hooks:
        hook.remove()
    assert seen == [site.path for site in model.sites()]


def test_processors_at_which_no_rule_acts_change_nothing(model: Any, plain: dict[str, torch.Tensor]) -> None:
    before = dict(model.unet.attn_processors)
    idle = [
        Replace(Select(kind), "src", ("tgt",), (False,), name=kind) for kind in ("self", "cross", "temporal")
    ]
    found = answer(model, *idle)
    for branch, output in plain.items():
        torch.testing.assert_close(found[branch], output, rtol=0, atol=1e-12)
    assert dict(model.unet.attn_processors) == before


def test_a_rule_over_frames_is_given_a_row_of_frames_for_each_pixel(model: Any) -> None:
    shapes: dict[str, tuple[int, ...]] = {}

    def look(tensors: Any, call: Any) -> torch.Tensor:
        out = tensors["out", "tgt"]
        shapes[call.site.path] = tuple(out.shape)
        return out

    answer(model, Override(Select("temporal"), "tgt", look, (True,)))
    temporal = [site for site in model.sites() if site.kind == "temporal"]
    assert len(shapes) == len(temporal)
    for site in temporal:
        rows, columns = site.grid((tiny.SIDE, tiny.SIDE))
        assert (shapes[site.path][0], shapes[site.path][2]) == (rows * columns, FRAMES)


def test_queries_and_keys_of_another_branch_over_frames_are_those_it_has(
    model: Any, plain: dict[str, torch.Tensor]
) -> None:
    rule = Replace(Select("temporal"), "src", ("tgt",), (True,))
    found = answer(model, rule)
    assert torch.equal(found["src"], plain["src"])
    assert float((found["tgt"] - plain["tgt"]).abs().max()) > 1e-6
    first = next(site for site in model.sites() if site.kind == "temporal")
    kept: dict[tuple[str, str], torch.Tensor] = {}

    def keep(tensors: Any, call: Any) -> torch.Tensor:
        kept.update({(part, branch): tensors[part, branch] for part in "qkv" for branch in ("src", "tgt")})
        return tensors["out", "tgt"]

    answer(model, rule, Override(Select("temporal", (first.path,), expect=1), "tgt", keep, (True,)))
    assert torch.equal(kept["q", "src"], kept["q", "tgt"]) and torch.equal(kept["k", "src"], kept["k", "tgt"])
    assert not torch.equal(kept["v", "src"], kept["v", "tgt"])


def test_each_branch_is_shown_a_picture_of_its_own() -> None:
    model = TinyFirstFrame()
    moving = streams(model)
    with torch.no_grad():
        both = predict(model, moving, 500, 0, None, 8)
        moving[1].shown = moving[0].shown
        alike = predict(model, moving, 500, 0, None, 8)
    torch.testing.assert_close(both["src"], alike["src"], rtol=0, atol=1e-12)
    assert float((both["tgt"] - alike["tgt"]).abs().max()) > 1e-6


def test_what_a_call_takes_is_counted_on_a_copy_without_contents(model: Any) -> None:
    from vedit.engine.memory import network_peak

    plan = Plan((Replace(Select("temporal"), "src", ("tgt",), (True,)),))
    peaks = [network_peak(model, plan, ("src", "tgt"), frames, (tiny.SIDE, tiny.SIDE)) for frames in (2, 4)]
    assert 0 < peaks[0] < peaks[1]
