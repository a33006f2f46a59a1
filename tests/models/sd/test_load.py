from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch

from tests.engine.folder import write_folder
from vedit.errors import ModelError, UsageError
from vedit.models.hub import check_complete, check_family, find_folder
from vedit.models.place import choose_device, choose_dtype
from vedit.models.sd.load import check_channels, load_model
from vedit.models.sd.model import codec_frames


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("model"))


def test_a_folder_in_the_official_layout_loads_and_nothing_of_it_can_learn(folder: Path) -> None:
    model = load_model(str(folder))
    assert model.schedule.prediction == "epsilon"
    assert (model.scale, model.native_size) == (4, 32)
    assert not any(
        weight.requires_grad
        for part in (model.unet, model.vae, model.text_encoder)
        for weight in part.parameters()
    )
    assert model.encode_prompt("a cat").shape == (1, 20, 16)


def test_the_text_embedding_is_what_the_encoder_gives_for_padded_tokens(folder: Path) -> None:
    model = load_model(str(folder))
    tokens = model.tokenizer(["a red cat"], padding="max_length", max_length=20, return_tensors="pt")
    with torch.no_grad():
        expected = model.text_encoder(tokens.input_ids).last_hidden_state
    assert torch.equal(model.encode_prompt("a red cat"), expected)


def test_latents_are_the_posterior_mean_times_the_scaling_factor(folder: Path) -> None:
    model = load_model(str(folder))
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected = model.vae.encode(pixels).latent_dist.mode() * model.vae.config.scaling_factor
    torch.testing.assert_close(model.encode_frames(pixels, chunk=2), expected, rtol=1e-4, atol=1e-4)


def test_a_prompt_too_long_is_refused_not_cut(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"25 tokens, the model reads 18"):
        load_model(str(folder)).encode_prompt("a cat " * 12 + "cat")


@pytest.mark.parametrize(
    "index, says",
    [
        (
            {"text_encoder_2": ["transformers", "CLIPTextModel"], "_class_name": "StableDiffusionXLPipeline"},
            "StableDiffusionXLPipeline",
        ),
        (
            {"transformer": ["diffusers", "WanTransformer3DModel"], "_class_name": "WanPipeline"},
            "WanPipeline",
        ),
        ({"unet": ["diffusers", "UNet3DConditionModel"]}, "UNet and the text encoders"),
        (
            {
                "text_encoder": ["alt_diffusion", "RobertaSeriesModelWithTransformation"],
                "_class_name": "AltDiffusionPipeline",
            },
            "AltDiffusionPipeline",
        ),
        (
            {"vae": ["diffusers", "VQModel"], "_class_name": "LDMTextToImagePipeline"},
            "LDMTextToImagePipeline",
        ),
    ],
)
def test_another_family_is_refused_by_name(tmp_path: Path, index: dict[str, object], says: str) -> None:
    base = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"],
    }
    (tmp_path / "model_index.json").write_text(json.dumps({**base, **index}))
    with pytest.raises(ModelError) as error:
        check_family("somebody/model", tmp_path)
    assert says in str(error.value)


def test_a_missing_part_and_a_missing_index_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model_index\.json cannot be read"):
        check_family("m", tmp_path)
    (tmp_path / "model_index.json").write_text(json.dumps({"unet": ["diffusers", "UNet2DConditionModel"]}))
    check_family("m", tmp_path)
    with pytest.raises(ModelError, match="lacks unet, vae, text_encoder, tokenizer, scheduler"):
        check_complete("m", tmp_path)


def test_damaged_and_missing_weights_of_a_folder_say_what_to_type_next(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "broken")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(ModelError, match="Name another folder, or a Hub id: --model OWNER/NAME"):
        load_model(str(folder))
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ModelError, match="lacks unet"):
        load_model(str(folder))


@pytest.mark.parametrize(
    "part, file",
    [("unet", "diffusion_pytorch_model"), ("vae", "diffusion_pytorch_model"), ("text_encoder", "model")],
)
def test_weights_that_lack_a_tensor_are_refused_not_made_up(tmp_path: Path, part: str, file: str) -> None:
    from safetensors.torch import load_file, save_file

    path = write_folder(tmp_path / "short") / part / f"{file}.safetensors"
    weights = load_file(path)
    gone = sorted(weights)[0]
    save_file(
        {name: value for name, value in weights.items() if name != gone}, path, metadata={"format": "pt"}
    )
    with pytest.raises(
        ModelError, match=f"{part} lacks 1 tensors, such as .*{gone.removeprefix('text_model.')}"
    ):
        load_model(str(tmp_path / "short"))


def test_a_name_that_is_neither_folder_nor_hub_id_is_refused_with_the_nearest() -> None:
    with pytest.raises(ModelError, match="did you mean shapes"):
        find_folder("shape")


def test_a_revision_of_a_model_that_has_none_is_refused(folder: Path) -> None:
    for name in ("shapes", str(folder)):
        with pytest.raises(UsageError, match="Leave out --revision"):
            find_folder(name, "v1")


def test_the_identity_follows_the_weights_not_their_place(tmp_path: Path) -> None:
    one, two = (
        load_model(str(write_folder(tmp_path / "one"))),
        load_model(str(write_folder(tmp_path / "two"))),
    )
    same = {key: value for key, value in one.identity().items() if key != "id"}
    assert same == {key: value for key, value in two.identity().items() if key != "id"}
    assert len(same["unet_sha256"]) == 64


def test_a_cpu_works_in_float32_and_unknown_devices_and_dtypes_are_refused() -> None:
    assert choose_dtype("auto", torch.device("cpu")) is torch.float32
    assert choose_dtype("bf16", torch.device("cpu")) is torch.bfloat16
    with pytest.raises(UsageError, match="cannot be used"):
        choose_device("nonsense")
    with pytest.raises(UsageError, match="did you mean fp16"):
        choose_dtype("fp61", torch.device("cpu"))


def test_the_autoencoder_takes_few_large_frames_at_once_and_many_small_ones() -> None:
    assert [codec_frames(8, side * side) for side in (64, 256, 512, 768, 2048)] == [8, 8, 2, 1, 1]


def test_a_network_that_takes_a_picture_beside_the_latents_is_refused() -> None:
    check_channels("ours", 4, 4)
    with pytest.raises(ModelError, match="the UNet takes 8 channels, and latents have 4") as error:
        check_channels("an/editor", 8, 4)
    assert "InstructPix2Pix" in error.value.right


def test_half_precision_leaves_the_autoencoder_in_float32(folder: Path) -> None:
    model = load_model(str(folder), dtype="fp16")
    assert (model.unet.dtype, model.text_encoder.dtype, model.vae.dtype) == (
        torch.float16,
        torch.float16,
        torch.float32,
    )
    half = load_model(str(folder), dtype="bf16")  # has the exponent of float32: no overflow
    assert half.vae.dtype == torch.bfloat16
