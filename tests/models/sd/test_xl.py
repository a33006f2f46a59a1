"""Stable Diffusion XL against diffusers' own pipeline, on a tiny folder of its layout."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import torch

from tests.engine.sdxl import FIRST, POOLED, SECOND, write_sdxl
from tests.models.test_lora import as_kohya, weights_of
from vedit.engine.controller import Controller
from vedit.engine.memory import network_peak
from vedit.engine.rules import Plan
from vedit.engine.rules.replace import Replace
from vedit.engine.sample import Stream, predict
from vedit.errors import ModelError, UsageError
from vedit.methods.sampled import sites_of_layers
from vedit.models.adapters import locate
from vedit.models.hub import find_folder
from vedit.models.layout import SDXL
from vedit.models.load import load_model
from vedit.models.lora import Names, merge
from vedit.models.sd.xl import XLModel
from vedit.models.side import native_side
from vedit.models.sites import Select
from vedit.presets import load_method

PROMPT = "a grey wolf"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sdxl(tmp_path_factory.mktemp("xl"), ["a", "grey", "wolf", "fox"])


@pytest.fixture(scope="module")
def model(folder: Path) -> XLModel:
    found = load_model(str(folder), device="cpu")
    assert isinstance(found, XLModel)
    return found


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Any:
    from diffusers import StableDiffusionXLPipeline

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def changed(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def latents(frames: int = 2) -> Any:
    return torch.randn(frames, 4, 8, 12, generator=torch.Generator().manual_seed(1))


def test_a_text_embedding_is_the_pipelines_with_the_pooled_text_below_it(model: XLModel, pipe: Any) -> None:
    with torch.inference_mode():
        text, none, pooled, pooled_none = pipe.encode_prompt(PROMPT, do_classifier_free_guidance=True)
    ours, empty = model.encode_prompt(PROMPT), model.encode_prompt("")
    assert ours.shape == empty.shape == (1, 78, FIRST + SECOND) and (model.text_tokens, model.marks) == (
        77,
        2,
    )
    assert torch.equal(ours[:, :-1], text) and torch.equal(ours[:, -1, :POOLED], pooled)
    assert not ours[:, -1, POOLED:].any()
    assert torch.equal(empty[:, :-1], none) and torch.equal(empty[:, -1, :POOLED], pooled_none)


def test_an_empty_prompt_is_encoded_where_the_model_says_so(copy: Path, pipe: Any) -> None:
    changed(copy / "model_index.json", force_zeros_for_empty_prompt=False)
    model = load_model(str(copy), device="cpu")
    with torch.inference_mode():
        text, _, pooled, _ = pipe.encode_prompt("")
    assert torch.equal(model.encode_prompt("")[:, :-1], text)
    assert torch.equal(model.encode_prompt("")[:, -1, :POOLED], pooled)
    assert model.identity()["zeros"] is False  # and an inversion of an empty prompt is another


def test_the_network_is_told_what_the_pipeline_tells_it(model: XLModel, pipe: Any) -> None:
    x = latents()
    numbers = pipe._get_add_time_ids((64, 96), (0, 0), (64, 96), torch.float32, POOLED).expand(2, -1)
    with torch.inference_mode():
        text, _, pooled, _ = pipe.encode_prompt(PROMPT)
        added = {"text_embeds": pooled.expand(2, -1), "time_ids": numbers}
        wanted = pipe.unet(
            x, 500, encoder_hidden_states=text.expand(2, -1, -1), added_cond_kwargs=added
        ).sample
        found = model.predict(x, 500, model.encode_prompt(PROMPT).expand(2, -1, -1))
        blind = model.predict(x, 500, torch.cat([model.encode_prompt(PROMPT)[:, :-1], torch.zeros(1, 1, 40)], 1).expand(2, -1, -1))  # fmt: skip
    assert (found - wanted).abs().max() < 1e-6 < (found - blind).abs().max()


def test_processors_that_change_nothing_give_what_the_stock_ones_give(model: XLModel) -> None:
    text = model.encode_prompt(PROMPT)
    always, kinds = (True,), (("self", ("q", "k", "v")), ("cross", ("q",)))
    rules = tuple(Replace(Select(kind), "src", ("src",), always, names) for kind, names in kinds)
    controller = Controller(model, Plan(rules), ("src",), 2, (8, 12), model.text_tokens)
    with torch.inference_mode():
        plain = predict(model, [Stream("src", latents(), text)], 500, 0, None, 8)["src"]
        with controller.installed():
            ruled = predict(model, [Stream("src", latents(), text)], 500, 0, controller, 8)["src"]
    assert (plain - ruled).abs().max() < 1e-6


def test_all_seventy_blocks_are_found_and_those_of_the_presets_too(model: XLModel) -> None:
    sites = model.sites()
    for kind in ("self", "cross"):
        found = [site for site in sites if site.kind == kind]
        assert len(found) == 70 and {site.scale for site in found} == {2, 4}
    layers = [site.layer for site in sites if site.kind == "self"]
    first = load_method("masactrl", "masactrl-sdxl")["start_layer"]
    assert next(site.path for site in sites if site.layer == layers[first]).startswith(
        "up_blocks.1.attentions.0"
    )
    for name in ("pnp", "tokenflow", "rave", "vidtome", "combine"):
        table = load_method(name, f"{name}-sdxl")
        table = table.get("pnp", table)
        assert len(sites_of_layers(model, "self", table["attention_layers"], "")) == 26
        assert len(sites_of_layers(model, "conv", table["feature_layers"], "")) == 1


def test_words_have_the_same_tokens_for_both_encoders(model: XLModel, copy: Path) -> None:
    assert model.words("a grey wolf").places == ((1,), (2,), (3,))
    pieces = model.words("a greyer wolf").places
    assert len(pieces[1]) > 1 and pieces[2][0] == pieces[1][-1] + 1
    with pytest.raises(UsageError, match=r"100 tokens, the model reads 75"):
        model.encode_prompt("wolf " * 100)
    merges = (copy / "tokenizer_2" / "merges.txt").read_text().splitlines()
    kept = [line for line in merges if line not in ("w o", "o l")]
    (copy / "tokenizer_2" / "merges.txt").write_text("\n".join(line for line in kept if not line.endswith("f</w>")) + "\n")  # fmt: skip
    with pytest.raises(ModelError, match="its two tokenizers split 'a wolf' differently"):
        load_model(str(copy), device="cpu").words("a wolf")


def test_half_precision_spares_the_autoencoder(folder: Path) -> None:
    model = load_model(str(folder), device="cpu", dtype="fp16")
    assert model.network_dtype == torch.float16 and model.vae.dtype == torch.float32
    assert model.text_encoder_2.dtype == torch.float16
    assert model.text_bytes() == 2 * sum(
        model.parameters()[part] for part in ("text_encoder", "text_encoder_2")
    )


@pytest.mark.slow
def test_memory_is_predicted_without_weights(model: XLModel) -> None:
    peaks = [network_peak(model, Plan(), ("src",), 1, (side, side)) for side in (16, 32)]
    assert 2 * peaks[0] < peaks[1]


def test_it_is_known_by_its_files_alone(folder: Path, model: XLModel) -> None:
    assert native_side(str(folder)) == model.native_size == 1024
    assert set(model.identity()) >= {"unet_sha256", "vae_sha256", "text_sha256", "text_encoder_2_sha256"}


def test_a_refiner_and_parts_that_do_not_fit_are_refused(copy: Path) -> None:
    changed(copy / "unet" / "config.json", projection_class_embeddings_input_dim=POOLED + 6 * 8 + 4)
    with pytest.raises(ModelError):  # the file of weights has another width as well
        load_model(str(copy), device="cpu")
    changed(copy / "model_index.json", text_encoder=[None, None], requires_aesthetics_score=True)
    with pytest.raises(ModelError, match=r"is a StableDiffusionXLPipeline") as error:
        find_folder(str(copy))
    assert "XL (its base)" in str(error.value)


def test_what_is_missing_is_named(copy: Path) -> None:
    shutil.rmtree(copy / "tokenizer_2")
    shutil.rmtree(copy / "text_encoder_2")
    with pytest.raises(ModelError, match="lacks text_encoder_2, tokenizer_2"):
        find_folder(str(copy))


def test_a_lora_of_kohyas_for_both_encoders_gives_what_diffusers_makes_of_it(
    pipe: Any, folder: Path, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    model = load_model(str(folder), device="cpu")
    names = Names(model.unet)
    original = {path: name for name, path in names.paths.items() if name.startswith(("input_blocks.", "middle_block.", "output_blocks."))}  # fmt: skip
    unet = weights_of(model.unet, ("attn2.to_k", "attn1.to_q", "proj_in", "proj_out"), 2, 3)
    tensors = as_kohya("lora_unet_", {f"{original[key.rpartition('.lora_')[0]]}.lora_{key.rpartition('.lora_')[2]}": one for key, one in unet.items()}, 1.0)  # fmt: skip
    # no q_proj: of kohya's SDXL files diffusers 0.42 drops these of the text encoders under transformers 5
    for prefix, part, seed in (("lora_te1_", model.text_encoder, 4), ("lora_te2_", model.text_encoder_2, 5)):
        halves = {f"text_model.{key.removeprefix('text_model.')}": one for key, one in weights_of(part, ("fc1", "fc2"), 2, seed).items()}  # fmt: skip
        tensors |= as_kohya(prefix, halves, 1.0)
    assert any(key.startswith("lora_unet_output_blocks_5_1_transformer_blocks_0") for key in tensors)
    save_file(tensors, tmp_path / "style.safetensors")
    parts = {name: getattr(model, name) for name in ("unet", "text_encoder", "text_encoder_2")}
    before = model.encode_prompt(PROMPT)
    merge("m", parts, locate([f"{tmp_path / 'style.safetensors'}:0.5"], SDXL, "m"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe.load_lora_weights(tmp_path, weight_name="style.safetensors", adapter_name="one")
    pipe.set_adapters(["one"], [0.5])
    try:
        with torch.inference_mode():
            text, _, pooled, _ = pipe.encode_prompt(PROMPT)
            x, numbers = latents(1), torch.tensor([[64.0, 96, 0, 0, 64, 96]])
            wanted = pipe.unet(x, 500, encoder_hidden_states=text, added_cond_kwargs={"text_embeds": pooled, "time_ids": numbers}).sample  # fmt: skip
            ours = model.encode_prompt(PROMPT)
            found = model.predict(x, 500, ours)
    finally:
        pipe.unload_lora_weights()
    assert (ours[:, :-1] - text).abs().max() < 1e-5 and (ours - before).abs().max() > 1e-3
    assert (found - wanted).abs().max() < 1e-6
