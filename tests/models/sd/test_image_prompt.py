"""IP-Adapters against diffusers' own processors, on tiny networks of the true classes."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import torch
from PIL import Image

from tests.engine.beside import write_adapter
from tests.engine.folder import write_folder
from vedit.engine.rules import Plan, Replace
from vedit.engine.sample import Stream, predict
from vedit.errors import ModelError
from vedit.methods.base import Picture, Request
from vedit.methods.sampled import bound, with_image
from vedit.models import images
from vedit.models.load import load_model
from vedit.models.sd.image_prompt import ImageAdapter, load_adapter
from vedit.models.sd.model import Model
from vedit.models.sites import Select

PROMPT = "a red cat"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    found = load_model(str(write_folder(tmp_path_factory.mktemp("model"))), device="cpu")
    assert isinstance(found, Model)
    return found


@pytest.fixture(scope="module", params=["plain", "plus"])
def file(request: pytest.FixtureRequest, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(tmp_path_factory.mktemp(request.param), model.unet, request.param)


def picture(seed: int = 0) -> Image.Image:
    pixels = torch.randint(
        0, 256, (48, 40, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8
    )
    return Image.fromarray(pixels.numpy())


def loaded(model: Model, file: Path) -> ImageAdapter:
    return load_adapter(images.find(str(file), 16, model.name), model)


def latents(frames: int = 2) -> torch.Tensor:
    return torch.randn(frames, 4, 8, 8, generator=torch.Generator().manual_seed(1))


def asked(model: Model, adapter: ImageAdapter | None, weight: float = 1.0, plan: Plan = Plan(), mask: Any = None) -> dict[str, torch.Tensor]:  # fmt: skip
    """What the network says of a source and a guided target that sees the picture."""
    image = None
    if adapter is not None:
        image = Picture(*adapter.tokens(picture()), adapter.keys_of, weight)
    request = Request(PROMPT, PROMPT, (500,), (4, 8, 8), 2, image=image)
    text, none = model.encode_prompt(PROMPT), model.encode_prompt("")
    streams = [Stream("src", latents(), text), Stream("tgt", latents(), text, none, 3.0)]
    branches = ("src", "tgt/uncond", "tgt")
    if mask is not None and image is not None:
        plan = Plan((*plan.rules, image.rule(branches, (True,), mask)))
    controller = bound(model, request, plan, branches, 2)
    with torch.inference_mode(), controller.installed():
        return predict(model, streams, 500, 0, controller, 8)


def of_diffusers(model: Model, file: Path, weight: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The noise foreseen without and with the prompt, by diffusers' loader, encoder and processors."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    unet = copy.deepcopy(model.unet)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = StableDiffusionPipeline(
            vae=model.vae, text_encoder=model.text_encoder, tokenizer=model.tokenizer, unet=unet, scheduler=DDIMScheduler(), safety_checker=None,
            feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
        pipe.load_ip_adapter(str(file.parent), subfolder="", weight_name=file.name)
        pipe.set_ip_adapter_scale(weight)
        (embeds,) = pipe.prepare_ip_adapter_image_embeds(picture(), None, "cpu", 1, True)
    none, text = model.encode_prompt(""), model.encode_prompt(PROMPT)
    found = []
    with torch.inference_mode():
        for row, words in zip(embeds.chunk(2), (none, text), strict=True):
            shown = {"image_embeds": [row.expand(2, *row.shape[1:])]}
            found.append(unet(latents(), 500, encoder_hidden_states=words.expand(2, -1, -1), added_cond_kwargs=shown).sample)  # fmt: skip
    return found[0], found[1]


def test_the_noise_foreseen_is_that_of_stock_processors(model: Model, file: Path) -> None:
    ours, plain = asked(model, loaded(model, file), 0.7), asked(model, None)
    none, cond = of_diffusers(model, file, 0.7)
    assert (ours["tgt"] - cond).abs().max() < 1e-5 < (ours["tgt"] - plain["tgt"]).abs().max()
    assert (ours["tgt/uncond"] - none).abs().max() < 1e-5
    assert (ours["src"] - plain["src"]).abs().max() < 1e-6  # the clip does not look like the picture


def test_an_adapter_of_weight_zero_is_none(model: Model, file: Path) -> None:
    ours, plain = asked(model, loaded(model, file), 0.0), asked(model, None)
    assert all((ours[name] - plain[name]).abs().max() < 1e-6 for name in plain)


def test_a_mask_of_ones_shows_the_picture_everywhere_and_one_of_zeros_nowhere(
    model: Model, file: Path
) -> None:
    adapter = loaded(model, file)
    everywhere, nowhere, plain = asked(model, adapter), asked(model, adapter, mask=torch.zeros(1, 1, 8, 8)), asked(model, None)  # fmt: skip
    assert torch.equal(asked(model, adapter, mask=torch.ones(1, 1, 8, 8))["tgt"], everywhere["tgt"])
    assert (nowhere["tgt"] - plain["tgt"]).abs().max() < 1e-6


def test_control_of_attention_goes_on_beside_a_picture(model: Model, file: Path) -> None:
    """Self-attention, queries of cross-attention, and maps that are replaced: with the same source they change nothing."""
    from vedit.engine.rules import MapColumns

    adapter = loaded(model, file)
    rules = (
        Replace(Select("self"), "tgt/uncond", ("src",), (True,), ("q", "k", "v")),
        MapColumns(Select("cross"), "tgt", "tgt", lambda own, theirs, step: theirs, (True,)),
    )
    free, held = asked(model, adapter), asked(model, adapter, plan=Plan(rules))
    assert (free["tgt"] - held["tgt"]).abs().max() < 1e-5
    other = (Replace(Select("self"), "src", ("tgt",), (True,), ("q", "k")),)
    assert (asked(model, adapter, plan=Plan(other))["tgt"] - free["tgt"]).abs().max() > 1e-6


def test_a_plan_shows_a_picture_once(model: Model, file: Path) -> None:
    adapter = loaded(model, file)
    image = Picture(*adapter.tokens(picture()), adapter.keys_of, 1.0)
    request = Request(PROMPT, PROMPT, (500,), (4, 8, 8), 2, image=image)
    once = with_image(request, Plan(), ("src", "tgt"))
    assert len(once.rules) == 1 and with_image(request, once, ("src", "tgt")) == once
    assert (
        with_image(request, Plan(), ("src",))
        == Plan()
        == with_image(replace(request, image=None), Plan(), ("tgt",))
    )


def test_a_pickle_holds_the_same_adapter(model: Model, tmp_path: Path) -> None:
    safe = loaded(model, write_adapter(tmp_path / "a", model.unet))
    pickled = loaded(model, write_adapter(tmp_path / "b", model.unet, suffix=".bin"))
    assert torch.equal(safe.tokens(picture())[0], pickled.tokens(picture())[0])
    assert safe.keys.keys() == pickled.keys.keys() and all(torch.equal(safe.keys[path], pickled.keys[path]) for path in safe.keys)  # fmt: skip


def test_an_adapter_of_another_family_is_refused(model: Model, tmp_path: Path) -> None:
    from tests.engine.sdxl import unet

    file = write_adapter(tmp_path, unet())
    with pytest.raises(
        ModelError, match=r"is for \d+ layers that read text of width 40, and .* has 16 of width 16"
    ):
        loaded(model, file)


def test_files_that_are_not_adapters_are_refused(model: Model, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    file = write_adapter(tmp_path, model.unet)
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="is not an IP-Adapter"):
        loaded(model, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="holds 2 files of weights"):
        images.find(str(tmp_path), 16, "m")
    file.write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="cannot be read"):
        loaded(model, file)
    (tmp_path / "image_encoder" / "config.json").unlink()
    with pytest.raises(ModelError, match="lacks its image encoder"):
        images.find(str(file), 16, "m")
