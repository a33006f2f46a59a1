"""ControlNets against diffusers' own pipeline, on tiny networks of the true classes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import numpy as np
import torch

from tests.engine.beside import controlnet
from tests.engine.folder import write_folder
from tests.engine.sdxl import write_sdxl
from vedit.engine.memory import network_peak
from vedit.engine.rules import Plan
from vedit.engine.sample import Stream, predict
from vedit.errors import ModelError
from vedit.models.load import load_model
from vedit.models.sd.control import Controlled, Controls, Net, load_net, pictures_of
from vedit.models.sd.model import Model

SIZE = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    found = load_model(str(folder), device="cpu")
    assert isinstance(found, Model)
    return found


@pytest.fixture(scope="module")
def nets(model: Model) -> list[Net]:
    return [Net(controlnet(model.unet, seed), str(seed)) for seed in (4, 5)]


def shown(count: int = 4, seed: int = 2, size: int = SIZE) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def latents(frames: int = 2, side: int = 8) -> torch.Tensor:
    return torch.randn(frames, 4, side, side, generator=torch.Generator().manual_seed(1))


def with_nets(model: Any, *parts: tuple[Net, float], count: int = 4) -> Any:
    from dataclasses import replace

    made = [
        Controlled(net, weight, pictures_of(shown(count, place), model.scale), {"weight": weight, "sha256": net.sha256, "clip_sha256": str(place)})
        for place, (net, weight) in enumerate(parts)
    ]  # fmt: skip
    return replace(model, controls=Controls(made))


def asked(model: Any, x: torch.Tensor, prompt: str = "a red cat", **more: Any) -> torch.Tensor:
    with torch.inference_mode():
        stream = Stream("src", x, model.encode_prompt(prompt))
        return predict(model, [stream], 500, 0, None, more.get("frames_per_call", 8))["src"]


def of_pipeline(model: Any, nets: Any, weights: Any, x: torch.Tensor, prompt: str) -> torch.Tensor:
    """The noise prediction of diffusers' pipeline in a single step, by what it hands its scheduler."""
    from diffusers import DDIMScheduler, MultiControlNetModel, StableDiffusionControlNetPipeline

    heard: list[torch.Tensor] = []

    class Listening(DDIMScheduler):
        def set_timesteps(self, *args: Any, **kwargs: Any) -> None:
            super().set_timesteps(*args, **kwargs)
            self.timesteps = torch.tensor([500])

        def step(self, output: Any, *args: Any, **kwargs: Any) -> Any:
            heard.append(output)
            return super().step(output, *args, **kwargs)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = StableDiffusionControlNetPipeline(
            vae=model.vae, text_encoder=model.text_encoder, tokenizer=model.tokenizer, unet=model.unet,
            controlnet=nets[0] if len(nets) == 1 else MultiControlNetModel(nets), scheduler=Listening(), safety_checker=None,
            feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
        pipe.set_progress_bar_config(disable=True)
        for place in range(len(x)):
            pictures = [torch.from_numpy(shown(4, number)[place : place + 1]).movedim(-1, 1).float() / 255 for number in range(len(nets))]  # fmt: skip
            pipe(
                prompt, image=pictures if len(nets) > 1 else pictures[0], latents=x[place : place + 1], num_inference_steps=1, guidance_scale=1.0,
                controlnet_conditioning_scale=list(weights) if len(nets) > 1 else weights[0], output_type="latent", height=SIZE, width=SIZE,
            )  # fmt: skip
    return torch.cat(heard)


@pytest.mark.parametrize("weights", [(0.7,), (0.7, 0.4)], ids=["one", "two"])
def test_the_noise_foreseen_is_the_pipelines(
    model: Model, nets: list[Net], weights: tuple[float, ...]
) -> None:
    used = nets[: len(weights)]
    ours = asked(with_nets(model, *zip(used, weights, strict=True)), latents())
    theirs = of_pipeline(model, [net.module for net in used], weights, latents(), "a red cat")
    assert (ours - theirs).abs().max() < 1e-5 < (ours - asked(model, latents())).abs().max()


def test_a_weight_of_zero_is_no_controlnet_bit_for_bit(model: Model, nets: list[Net]) -> None:
    controlled = with_nets(model, (nets[0], 0.0))
    assert torch.equal(asked(controlled, latents()), asked(model, latents()))
    assert "control" not in controlled.identity() and "control" in with_nets(model, (nets[0], 1.0)).identity()


def test_frames_go_by_their_own_pictures_however_they_are_called(model: Model, nets: list[Net]) -> None:
    controlled, x = with_nets(model, (nets[0], 1.0)), latents(4)
    whole = asked(controlled, x)
    assert (whole - asked(controlled, x, frames_per_call=1)).abs().max() < 1e-5
    with controlled.controls.at(2):
        later = asked(controlled, x[2:])
    assert (later - whole[2:]).abs().max() < 1e-5 < (asked(controlled, x[2:]) - later).abs().max()


def test_each_branch_goes_by_the_pictures_of_its_frames(model: Model, nets: list[Net]) -> None:
    controlled, x = with_nets(model, (nets[0], 1.0)), latents(2)
    texts = {
        name: controlled.encode_prompt(prompt)
        for name, prompt in (("src", "a red cat"), ("tgt", "a blue dog"))
    }
    with torch.inference_mode():
        both = predict(controlled, [Stream(name, x, text) for name, text in texts.items()], 500, 0, None, 8)
    for name, prompt in (("src", "a red cat"), ("tgt", "a blue dog")):
        assert (both[name] - asked(controlled, x, prompt)).abs().max() < 1e-5


def test_grids_of_frames_go_by_grids_of_pictures(model: Model, nets: list[Net]) -> None:
    controlled, order = with_nets(model, (nets[0], 1.0)), [2, 0, 3, 1]
    grid = torch.cat([torch.cat([latents(4)[place] for place in row], -1) for row in (order[:2], order[2:])], -2)[None]  # fmt: skip
    laid = np.concatenate([np.concatenate([shown(4, 0)[place] for place in row], 1) for row in (order[:2], order[2:])], 0)  # fmt: skip
    with controlled.controls.tiled(order, 2):
        found = asked(controlled, grid)
    from dataclasses import replace

    same = replace(model, controls=Controls([Controlled(nets[0], 1.0, pictures_of(laid[None], model.scale))]))
    assert (found - asked(same, grid)).abs().max() < 1e-5


def test_damaged_weights_of_a_controlnet_are_told_of_with_its_own_option(
    model: Model, tmp_path: Path
) -> None:
    controlnet(model.unet, 4).save_pretrained(tmp_path / "net")
    weights = tmp_path / "net" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="the weights cannot be loaded") as error:
        load_net("net", tmp_path / "net", model)
    assert "--control" in error.value.next_step and "--model" not in str(error.value)


def test_memory_counts_the_networks_beside(model: Model, nets: list[Net]) -> None:
    controlled = with_nets(model, (nets[0], 1.0), (nets[0], 0.5))
    own = sum(weight.numel() * weight.element_size() for weight in nets[0].module.parameters())
    assert controlled.network_bytes() == model.network_bytes() + own  # once, however often it is asked
    peaks = [network_peak(one, Plan(), ("src",), 2, (8, 8)) for one in (model, controlled)]
    assert peaks[0] < peaks[1]


def test_sdxl_tells_its_controlnet_what_it_tells_the_unet(tmp_path: Path) -> None:
    model = load_model(str(write_sdxl(tmp_path, ["a", "grey", "wolf"])), device="cpu")
    net = controlnet(model.unet, scale=8)
    controlled, x = with_nets(model, (Net(net, "x"), 0.6), count=2), latents(2)
    ours = asked(controlled, x, "a grey wolf")
    text = model.encode_prompt("a grey wolf").expand(2, -1, -1)
    from vedit.models.sd.xl import picture_numbers, pooled_width

    added = {
        "text_embeds": text[:, -1, : pooled_width(model.unet.config)],
        "time_ids": picture_numbers(x, model.scale),
    }
    picture = torch.from_numpy(shown(2, 0)).movedim(-1, 1).float() / 255
    picture = torch.nn.functional.interpolate(picture, (64, 64), mode="bilinear", antialias=True)
    with torch.inference_mode():
        down, mid = net(x, 500, encoder_hidden_states=text[:, :-1], controlnet_cond=picture, conditioning_scale=0.6, added_cond_kwargs=added, return_dict=False)  # fmt: skip
        theirs = model.unet(
            x, 500, encoder_hidden_states=text[:, :-1], added_cond_kwargs=added, down_block_additional_residuals=down, mid_block_additional_residual=mid,
        ).sample  # fmt: skip
    assert (ours - theirs).abs().max() < 1e-5 < (ours - asked(model, x, "a grey wolf")).abs().max()
