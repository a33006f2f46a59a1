"""Stable Diffusion XL in one file: under the names of the original code, without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("torch")
import torch
from safetensors.torch import save_file

from tests.conftest import vedit
from tests.engine.ldm import unet_name, vae_entry
from vedit.errors import ModelError
from vedit.jobs.edit.settings import own_preset
from vedit.jobs.record import SUFFIX
from vedit.models.layout import SDXL
from vedit.models.sd import single_file
from vedit.models.sd.load import load_model
from vedit.models.sd.xl import XLModel
from vedit.models.side import native_side

torch.set_num_threads(1)
POOLED, TIMES = 48, 8
ADDED = {"add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2"}


class Small(NamedTuple):
    """An XL in small, its open_clip text encoder, and all tensors under their published names."""

    unet: Any
    vae: Any
    first: Any
    clip: Any
    tensors: dict[str, torch.Tensor]


def xl_name(name: str) -> str:
    stem, _, last = name.rpartition(".")
    if stem in ADDED:
        return f"model.diffusion_model.{ADDED[stem]}.{last}"
    # attention stands between the residual blocks and the upsampler of the coarsest level too
    return unet_name(name).replace("output_blocks.2.1.conv.", "output_blocks.2.2.conv.")


@pytest.fixture(scope="module")
def small() -> Small:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from open_clip.model import CLIP as OpenClip
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(4)
    unet = UNet2DConditionModel(
        sample_size=128, block_out_channels=(32, 32, 64), layers_per_block=2, cross_attention_dim=128,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 3), attention_head_dim=(1, 1, 1), use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=TIMES,
        projection_class_embeddings_input_dim=POOLED + 6 * TIMES,
    )  # fmt: skip
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32,) * 4, layers_per_block=2, latent_channels=4, norm_num_groups=32,
    )  # fmt: skip
    text = CLIPTextConfig(
        vocab_size=49408, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=1
    )
    first = CLIPTextModel(text)
    clip = OpenClip(
        POOLED, CLIPVisionCfg(layers=1, width=64, patch_size=32, image_size=32),
        CLIPTextCfg(width=64, heads=1, layers=3),
    ).eval()  # fmt: skip
    found = {xl_name(name): value for name, value in unet.state_dict().items()}
    found.update(vae_entry(name, value) for name, value in vae.state_dict().items())
    for name, value in first.state_dict().items():
        found["conditioner.embedders.0.transformer.text_model." + name.removeprefix("text_model.")] = value
    for name, value in clip.state_dict().items():
        if not name.startswith("visual."):
            found["conditioner.embedders.1.model." + name] = value
    tensors = {name: value.contiguous().clone() for name, value in found.items()}
    return Small(unet, vae, first, clip, tensors)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, small: Small) -> Path:
    path = tmp_path_factory.mktemp("single") / "juggernaut.safetensors"
    save_file(small.tensors, path)
    return path


def test_a_checkpoint_in_one_file_has_the_weights_and_numbers_of_its_folder(file: Path, small: Small) -> None:
    model = load_model(str(file))
    assert isinstance(model, XLModel)
    for name, part in (("unet", small.unet), ("vae", small.vae), ("text_encoder", small.first)):
        theirs, ours = part.state_dict(), getattr(model, name).state_dict()
        assert theirs.keys() == ours.keys() and all(torch.equal(theirs[key], ours[key]) for key in theirs), (
            name
        )
    config = model.unet.config
    assert list(config.transformer_layers_per_block) == [1, 1, 3] and config.addition_time_embed_dim == TIMES
    assert (model.scale, model.native_size, native_side(str(file))) == (8, 1024, 1024)
    assert (model.schedule.prediction, model.vae.config.scaling_factor) == ("epsilon", 0.13025)
    assert len(model.identity()["text_encoder_2_sha256"]) == 64
    assert single_file.layout(str(file)) is SDXL and own_preset("pnp", str(file)) == "pnp-sdxl"


@torch.no_grad()
def test_its_text_is_clip_s_and_open_clip_s_last_but_one_states_with_the_pooled_text(
    file: Path, small: Small
) -> None:
    model = load_model(str(file))
    assert isinstance(model, XLModel)
    found = model.encode_prompt("a red car")
    ids = model.tokenizer_2("a red car", padding="max_length", max_length=77, return_tensors="pt").input_ids
    states = small.clip.token_embedding(ids) + small.clip.positional_embedding
    for block in small.clip.transformer.resblocks[:-1]:
        states = block(states, attn_mask=small.clip.attn_mask)
    assert torch.allclose(found[:, :-1, 64:], states, atol=1e-5)
    assert torch.allclose(found[0, -1, :POOLED], small.clip.encode_text(ids)[0], atol=1e-5)
    padded = model.tokenizer("a red car", padding="max_length", max_length=77, return_tensors="pt").input_ids
    first = small.first(padded, output_hidden_states=True).hidden_states[-2]
    assert torch.allclose(found[:, :-1, :64], first, atol=1e-5)
    assert bool((model.encode_prompt("") == 0).all())


def test_a_file_edits_a_clip_and_its_record_is_repeated(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDIT_CACHE_DIR", str(tmp_path / "cache"))
    clip = tmp_path / "c.gif"
    drawn = vedit("scene", "a red circle on a grey background", "-o", clip)
    assert drawn.code == 0, drawn.err
    made = vedit("edit", clip, "-o", tmp_path / "o.gif", "--model", file, "--method", "sdedit", "--size", "32",
                 "--prompt", "a red car", "--steps", "2", "--frames", "1")  # fmt: skip
    assert made.code == 0, made.err
    record = json.loads((tmp_path / f"o.gif{SUFFIX}").read_text())
    assert record["model"]["text_encoder_2_sha256"] == single_file.digest_of(file)
    again = vedit("replay", tmp_path / "o.gif", "-o", tmp_path / "p.gif")
    assert again.code == 0, again.err
    assert (tmp_path / "o.gif").read_bytes() == (tmp_path / "p.gif").read_bytes()


def test_velocity_and_a_last_level_without_signal_are_told_by_tensors_or_a_yaml(
    small: Small, tmp_path: Path
) -> None:
    from vedit.models.sd.single_xl import scheduler_config

    name = str(tmp_path / "m.safetensors")
    told = scheduler_config(name, {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)})
    assert told["prediction_type"] == "v_prediction" and told["rescale_betas_zero_snr"]
    assert scheduler_config(name, {})["prediction_type"] == "epsilon"
    (tmp_path / "m.yaml").write_text("model:\n  params:\n    parameterization: 'v'\n", encoding="utf-8")
    assert scheduler_config(name, {})["prediction_type"] == "v_prediction"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda name: not name.startswith("conditioner.embedders.0."), "without its text encoder"),
        (lambda name: not name.startswith("conditioner.embedders.1."), "without its second text encoder"),
        (lambda name: "label_emb.0.0.weight" not in name, r"there is no model.diffusion_model.label_emb.0.0"),
        (lambda name: "text_projection" not in name, r"there is no conditioner.embedders.1.model.text_proj"),
        (lambda name: "middle_block.2" not in name, "UNet2DConditionModel lacks"),
        (lambda name: "resblocks.1." not in name, "CLIPTextModelWithProjection lacks"),
    ],
)
def test_what_is_missing_is_named(small: Small, tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / "x.safetensors"
    save_file({name: value for name, value in small.tensors.items() if change(name)}, path)
    with pytest.raises(ModelError, match=message.replace(".", r"\.")):
        load_model(str(path))


def test_levels_of_edm_and_a_pickle_are_refused(small: Small, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({**small.tensors, "edm_vpred.sigma_max": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="noise levels of another kind"):
        load_model(str(path))
    torch.save({"state_dict": small.tensors}, tmp_path / "x.ckpt")
    with pytest.raises(ModelError, match="is a Stable Diffusion XL in a pickle"):
        load_model(str(tmp_path / "x.ckpt"))
