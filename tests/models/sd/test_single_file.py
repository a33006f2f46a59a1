from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import torch
from safetensors.torch import save_file

from tests.engine.ldm import unet_name, vae_entry
from vedit.errors import ModelError
from vedit.models.sd.load import load_model
from vedit.models.sd.single_file import check, filled, tokenizer
from vedit.models.side import native_side

WIDTHS = (32, 32, 64, 64)


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    """A 1.x in small, whose widths are multiples of 32, as its group norms need."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(4)
    downs, ups = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
    text = CLIPTextConfig(
        vocab_size=49408, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=1
    )
    return {
        "unet": UNet2DConditionModel(
            sample_size=64,
            block_out_channels=WIDTHS,
            layers_per_block=2,
            attention_head_dim=8,
            cross_attention_dim=64,
        ),
        "vae": AutoencoderKL(
            down_block_types=downs,
            up_block_types=ups,
            block_out_channels=(32,) * 4,
            layers_per_block=2,
            latent_channels=4,
            norm_num_groups=32,
        ),
        "text_encoder": CLIPTextModel(text),
    }


@pytest.fixture(scope="module")
def tensors(parts: dict[str, Any]) -> dict[str, torch.Tensor]:
    found = {unet_name(name): value for name, value in parts["unet"].state_dict().items()}
    found.update(vae_entry(name, value) for name, value in parts["vae"].state_dict().items())
    for name, value in parts["text_encoder"].state_dict().items():
        found["cond_stage_model.transformer.text_model." + name.removeprefix("text_model.")] = value
    return {name: value.contiguous().clone() for name, value in found.items()}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, torch.Tensor]) -> Path:
    path = tmp_path_factory.mktemp("single") / "realistic.safetensors"
    save_file(tensors, path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_a_checkpoint_in_one_file_has_the_weights_of_its_folder(
    file: Path, parts: dict[str, Any], tensors: dict[str, torch.Tensor], suffix: str
) -> None:
    path = file.with_suffix(suffix)
    if suffix == ".ckpt":
        torch.save({"state_dict": tensors, "global_step": 7}, path)
    model = load_model(str(path))
    for name, part in parts.items():
        theirs, ours = part.state_dict(), getattr(model, name).state_dict()
        assert theirs.keys() == ours.keys() and all(torch.equal(theirs[key], ours[key]) for key in theirs), (
            name
        )
    assert (model.scale, model.native_size, model.schedule.prediction, model.vae.config.scaling_factor) == (
        8,
        512,
        "epsilon",
        0.18215,
    )
    assert native_side(str(path)) == 512
    assert set(model.identity()) >= {"unet_sha256"} and len(model.identity()["vae_sha256"]) == 64


@pytest.fixture(scope="module")
def second(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, torch.Tensor]
) -> tuple[Path, Any, Any]:
    """A 2.x in small under its published names; its network, and open_clip's own text encoder."""
    from diffusers import UNet2DConditionModel
    from open_clip.model import CLIP as OpenClip
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

    torch.manual_seed(5)
    unet = UNet2DConditionModel(
        sample_size=96,
        block_out_channels=WIDTHS,
        layers_per_block=2,
        attention_head_dim=[1, 1, 1, 1],
        cross_attention_dim=64,
        use_linear_projection=True,
    )
    clip = OpenClip(
        64,
        CLIPVisionCfg(layers=1, width=64, patch_size=32, image_size=32),
        CLIPTextCfg(width=64, heads=1, layers=3),
    ).eval()
    found = {name: value for name, value in tensors.items() if name.startswith("first_stage_model.")}
    found.update({unet_name(name): value for name, value in unet.state_dict().items()})
    found.update(
        {
            "cond_stage_model.model." + name: value
            for name, value in clip.state_dict().items()
            if not name.startswith("visual.")
        }
    )
    path = tmp_path_factory.mktemp("second") / "768-v.safetensors"
    save_file({name: value.contiguous().clone() for name, value in found.items()}, path)
    return path, unet, clip


@torch.no_grad()
def test_a_second_version_in_one_file_predicts_v_and_reads_the_layer_before_open_clip_s_last(
    second: tuple[Path, Any, Any],
) -> None:
    path, unet, clip = second
    model = load_model(str(path))
    assert (model.schedule.prediction, model.native_size) == ("v_prediction", 768)
    assert all(torch.equal(value, model.unet.state_dict()[name]) for name, value in unet.state_dict().items())
    ids = model.tokenizer("a red car", padding="max_length", max_length=77, return_tensors="pt").input_ids
    assert ids[0, 5:].eq(0).all()  # open_clip fills a prompt up with zeros
    states = clip.token_embedding(ids) + clip.positional_embedding
    for block in clip.transformer.resblocks[:-1]:
        states = block(states, attn_mask=clip.attn_mask)
    assert torch.allclose(model.text_encoder(ids)[0], clip.ln_final(states), atol=1e-5)


def test_the_yaml_beside_a_second_version_says_that_it_predicts_noise(second: tuple[Path, Any, Any]) -> None:
    yaml = second[0].with_suffix(".yaml")
    yaml.write_text("model:\n  params:\n    parameterization: eps\n", encoding="utf-8")
    try:
        model = load_model(str(second[0]))
    finally:
        yaml.unlink()
    assert (model.schedule.prediction, model.native_size) == ("epsilon", 512)


def test_weights_of_half_precision_become_float32() -> None:
    part = torch.nn.Linear(3, 2)
    half = {name: torch.randn(value.shape).half() for name, value in part.state_dict().items()}
    found = filled("m", part, half).state_dict()
    assert all(found[name].dtype == torch.float32 for name in half)
    assert all(torch.equal(found[name], value.float()) for name, value in half.items())


def test_the_vocabulary_is_clip_s() -> None:
    """Numbers of the published tokenizer: openai/clip-vit-large-patch14."""
    words = tokenizer("<|endoftext|>")
    assert words("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert len(words) == 49408 and words.pad_token_id == 49407 and tokenizer("!").pad_token_id == 0


def without(start: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda tensors: {name: value for name, value in tensors.items() if not name.startswith(start)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: {"lora_unet_down_blocks_0.lora_down.weight": torch.zeros(4, 8)}, "is a LoRA"),
        (
            lambda tensors: {"conditioner.embedders.0.model.x": torch.zeros(1)},
            "is the refiner of Stable Diffusion XL",
        ),
        (lambda tensors: {"double_blocks.0.x": torch.zeros(1)}, "is a FLUX"),
        (lambda tensors: {"control_model.zero_convs.0.0.weight": torch.zeros(1)}, "is a ControlNet"),
        (lambda tensors: {"emb_params": torch.zeros(1, 8)}, "textual inversion"),
        (lambda tensors: {"encoder.conv_in.weight": torch.zeros(1)}, "an autoencoder alone"),
        (lambda tensors: {"x": torch.zeros(1)}, "not a model that is known here"),
        (without("first_stage_model."), "without its autoencoder"),
        (without("cond_stage_model."), "without its text encoder"),
        (without("first_stage_model.decoder.conv_out"), "AutoencoderKL lacks 2 tensors"),
        (without("model.diffusion_model.middle_block"), "UNet2DConditionModel lacks"),
    ],
)
def test_what_is_not_a_whole_checkpoint_is_named(
    tmp_path: Path, tensors: dict[str, torch.Tensor], change: Any, message: str
) -> None:
    save_file(change(tensors), tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match=message):
        load_model(str(tmp_path / "x.safetensors"))


@pytest.mark.parametrize(
    "content", [b"", b"<html>", (10**15).to_bytes(8, "little"), (2).to_bytes(8, "little") + b"[]"]
)
def test_damaged_files_are_refused_by_their_header(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="not a safetensors file"):
        check(str(tmp_path / "x.safetensors"))
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(str(tmp_path / "x.ckpt"))


def test_a_pickle_that_would_run_code_is_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"state_dict": {"x": torch.zeros(1)}, "more": Bomb()}, tmp_path / "x.ckpt")
    with pytest.raises(ModelError, match="cannot be read") as error:
        load_model(str(tmp_path / "x.ckpt"))
    assert "convert it to safetensors" in error.value.next_step and not (tmp_path / "ran").exists()
