"""The generator as a family: sampled and inverted by the engine, and rules at its sites."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from tests.models.unet3d.test_unet3d import SMALL
from vedit.engine.controller import Controller
from vedit.engine.invert import invert
from vedit.engine.rules import Plan, Replace
from vedit.engine.sample import Stream, predict, sample
from vedit.errors import ModelError
from vedit.models.alpha_bar import cosine
from vedit.models.sites import Select
from vedit.models.unet3d.model import UNet3DNetwork
from vedit.models.unet3d.unet3d import UNet3D

FRAMES, WIDTH = 3, SMALL["text_width"]


def network() -> UNet3DNetwork:
    torch.manual_seed(0)
    unet = UNet3D(**SMALL).double().eval().requires_grad_(False)
    torch.nn.init.normal_(unet.out.weight, std=0.005)  # it starts at zero, which would hide everything
    for name, weight in unet.named_parameters():
        if "from_text" in name or "from_time" in name:  # as well
            torch.nn.init.normal_(weight, std=0.2)
    made = UNet3DNetwork(unet, cosine(1000, "epsilon"))
    made.network_dtype = torch.float64
    return made


def clip(seed: int) -> Tensor:
    return torch.randn(FRAMES, 3, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def text(seed: int) -> Tensor:
    return torch.randn(1, 1, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_clip_is_sampled_as_the_formula_of_ddim_says_with_guidance_from_the_learnt_null_text() -> None:
    model, x = network(), clip(1)
    timesteps = model.schedule.timesteps(3)
    *_, last = sample(
        model, timesteps, [Stream("clip", clip(1), text(2), model.empty, 2.5)], frames_per_call=1
    )
    drop = torch.tensor([True, False])
    for index, timestep in enumerate(timesteps):
        both = torch.stack([x, x]).transpose(1, 2)
        null, said = model.network(
            both, torch.tensor([timestep] * 2), text(2)[0].repeat(2, 1), drop_B=drop
        ).transpose(1, 2)
        eps = null + 2.5 * (said - null)
        (a, b), (a_s, b_s) = (
            model.schedule.shares(model.schedule.level(timestep)),
            model.schedule.shares(model.schedule.after(timesteps, index)),
        )
        x = a_s * (x - b * eps) / a + b_s * eps
    torch.testing.assert_close(last.latents["clip"], x, rtol=0, atol=1e-11)


def test_fixed_point_inversion_returns_to_the_clip() -> None:
    model, timesteps = network(), cosine(1000, "epsilon").timesteps(8)
    *_, noise = invert(model, timesteps, clip(1), text(2), fixed_point=9)
    *_, back = sample(model, timesteps, [Stream("src", noise.latents, text(2))])
    torch.testing.assert_close(back.latents["src"], clip(1), rtol=0, atol=1e-6)


def test_sites_are_found_in_forward_order() -> None:
    model = network()
    seen: list[str] = []
    sites = model.sites()
    for site in sites:
        module = model.network.get_submodule(site.path)
        module.register_forward_hook(lambda *_, path=site.path: seen.append(path))
    predict(model, [Stream("a", clip(1), text(1))], 500, 0, None, 8)
    assert sorted(seen) == sorted(site.path for site in sites)
    assert [path for path in seen if "temporal" in path or path == "stem_attention"] == [
        site.path for site in sites if site.kind == "temporal"
    ]
    assert [site.layer for site in sites if site.kind != "conv"] == list(
        range(sum(site.kind != "conv" for site in sites))
    )


ALL = {"temporal": ("q_pre", "k_pre"), "self": ("q", "k", "v"), "conv": ("h",)}


@pytest.mark.parametrize("kind", ALL)
def test_tensors_of_a_like_branch_change_nothing_and_those_of_another_do(kind: str) -> None:
    model = network()
    rule = Replace(Select(kind), "src", ("tgt",), (True,), tensors=ALL[kind])

    def outputs(target: Tensor, *rules: Replace) -> dict[str, Tensor]:
        streams = [Stream("src", clip(1), text(1)), Stream("tgt", target, text(3))]
        controller = Controller(model, Plan(rules), ("src", "tgt"), FRAMES, (8, 8), 1)
        with controller.installed():
            return predict(model, streams, 500, 0, controller, 1)

    plain, moved = outputs(clip(2)), outputs(clip(2), rule)
    torch.testing.assert_close(moved["src"], plain["src"], rtol=0, atol=1e-13)
    assert float((moved["tgt"] - plain["tgt"]).abs().max()) > 1e-6
    alike = [Stream(name, clip(1), text(1)) for name in ("src", "tgt")]
    controller = Controller(model, Plan((rule,)), ("src", "tgt"), FRAMES, (8, 8), 1)
    with controller.installed():
        same = predict(model, alike, 500, 0, controller, 1)
    torch.testing.assert_close(same["tgt"], predict(model, alike, 500, 0, None, 1)["tgt"], rtol=0, atol=1e-13)


def test_queries_after_the_turn_of_positions_cannot_be_named() -> None:
    model = network()
    rule = Replace(Select("temporal"), "src", ("tgt",), (True,))
    with pytest.raises(ModelError, match="no tensor k, q"):
        Controller(model, Plan((rule,)), ("src", "tgt"), FRAMES, (8, 8), 1)


def test_checkpointing_keeps_fewer_activations_and_gives_the_same_gradient() -> None:
    model = network()
    kept, gradients = [], []
    for is_on in (False, True):
        embedding = text(4).requires_grad_(True)
        sizes: list[int] = []

        def keep(tensor: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with model.checkpointing() if is_on else nullcontext():
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                loss = model.predict(clip(3)[None], 400, embedding).pow(2).sum()
            kept.append(sum(sizes))
            loss.backward()
        gradients.append(embedding.grad)
    assert torch.equal(gradients[0], gradients[1]) and gradients[0].abs().max() > 0
    assert kept[1] < kept[0] / 2
    assert not any("forward" in vars(module) for module in model.network.modules())
