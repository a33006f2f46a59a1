"""vedit/metrics/towers/clip.py: equal to transformers' CLIPModel, from both published layouts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.metrics.seeded import moving_video, relative, towers_at, write_weights
from vedit.errors import ModelError
from vedit.metrics.towers import clip
from vedit.metrics.types import Options, Video

TINY = {
    "clip_l": clip.ClipConfig(56, 32, 2, 4, 24, 2, 3, 16, quick=True),
    "clip_b32": clip.ClipConfig(32, 32, 2, 2, 24, 2, 2, 16, quick=True),
    "clip_h": clip.ClipConfig(56, 48, 2, 3, 32, 3, 2, 40, quick=False),
}
PROMPT = "a silver jeep on a winding road"


def hf_model(config: clip.ClipConfig, seed: int = 0) -> Any:
    """transformers' model of the same sizes, with weights large enough to tell tokens apart."""
    from transformers import CLIPConfig, CLIPModel

    act = "quick_gelu" if config.quick else "gelu"
    vision = {
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "patch_size": config.patch,
    }
    text = {
        "hidden_size": config.text_width,
        "num_hidden_layers": config.text_layers,
        "num_attention_heads": config.text_heads,
        "eos_token_id": 49407,
    }
    torch.manual_seed(seed)
    model = CLIPModel(
        CLIPConfig(
            vision_config={
                **vision,
                "intermediate_size": 4 * config.width,
                "hidden_act": act,
                "image_size": config.image,
                "projection_dim": config.embed,
            },
            text_config={
                **text,
                "intermediate_size": 4 * config.text_width,
                "hidden_act": act,
                "vocab_size": config.vocabulary,
                "projection_dim": config.embed,
            },
            projection_dim=config.embed,
        )
    ).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim > 1 and "embedding" not in name:
                value.normal_(0, value.shape[1] ** -0.5)
            elif "bias" in name or "embedding" in name:
                value.normal_(0, 0.3)
    return model


def hf_state(model: Any) -> dict[str, Tensor]:
    """The tensors of the published file: the model's, and the buffers of positions that old versions saved."""
    state = dict(model.state_dict())
    state["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    state["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    return state


def pixels(video: Video) -> Tensor:
    """The published preprocessing, written down a second time: resize, crop, scale, normalise."""
    found = []
    for frame in video.frames_TYX3:
        image = Image.fromarray(frame)
        short = min(image.size)
        image = image.resize(tuple(int(224 * side / short) for side in image.size), Image.Resampling.BICUBIC)
        left, top = ((side - 224) // 2 for side in image.size)
        values = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) / 255
        found.append((values - [0.48145466, 0.4578275, 0.40821073]) / [0.26862954, 0.26130258, 0.27577711])
    return torch.tensor(np.stack(found), dtype=torch.float32).permute(0, 3, 1, 2)


@torch.no_grad()
def expected_of(model: Any, video: Video, prompt: str) -> dict[str, np.ndarray]:
    """The oracle's pooled and projected states, and its text embedding with tokens padded as OpenAI pads
    them.
    """
    import open_clip

    vision = model.vision_model(pixel_values=pixels(video)).pooler_output
    text = model.text_model(input_ids=open_clip.get_tokenizer("ViT-L-14")([prompt])).pooler_output
    return {
        "pooled": vision.numpy(),
        "projected": model.visual_projection(vision).numpy(),
        "text": model.text_projection(text).numpy(),
    }


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip, "CONFIGS", TINY)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", ["clip_l", "clip_h"])
def test_images_and_texts_equal_those_of_transformers(tmp_path: Path, name: str) -> None:
    model = hf_model(TINY[name])
    write_weights(tmp_path, name, hf_state(model))
    video = moving_video(3, 70, 100)
    expected = expected_of(model, video, PROMPT)
    tower = towers_at(tmp_path).get(name)
    assert relative(tower.images(video)["pooled"], expected["pooled"]) < 1e-5
    assert relative(tower.images(video)["projected"], expected["projected"]) < 1e-5
    assert relative(tower.text(PROMPT)["projected"], expected["text"]) < 1e-5
    assert tower.text(PROMPT)["scale"] == pytest.approx(model.logit_scale.exp().item(), rel=1e-6)


@pytest.mark.usefixtures("tiny")
def test_both_published_layouts_give_the_same_numbers(tmp_path: Path) -> None:
    model = hf_model(TINY["clip_b32"])
    write_weights(tmp_path / "hf", "clip_b32", hf_state(model), choice=1)
    write_weights(tmp_path / "open_clip", "clip_b32", open_clip_state(model))
    video = moving_video(2)
    towers = [towers_at(tmp_path / layout).get("clip_b32") for layout in ("hf", "open_clip")]
    for kind in ("pooled", "projected"):
        np.testing.assert_array_equal(*(tower.images(video)[kind] for tower in towers))
    np.testing.assert_array_equal(*(tower.text(PROMPT)["projected"] for tower in towers))
    assert [tower.found.file.repo.split("/")[0] for tower in towers] == ["openai", "timm"]


def open_clip_state(model: Any) -> dict[str, Tensor]:
    """The same weights under the names of OpenAI's release, written down block by block."""
    old, new = model.state_dict(), {}
    for prefix, tower, layers in (
        ("visual.", "vision_model", TINY["clip_b32"].layers),
        ("", "text_model", TINY["clip_b32"].text_layers),
    ):
        for layer in range(layers):
            here, there = f"{prefix}transformer.resblocks.{layer}", f"{tower}.encoder.layers.{layer}"
            for kind in ("weight", "bias"):
                new[f"{here}.attn.in_proj_{kind}"] = torch.cat(
                    [old[f"{there}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
                )
                new[f"{here}.attn.out_proj.{kind}"] = old[f"{there}.self_attn.out_proj.{kind}"]
                new[f"{here}.ln_1.{kind}"], new[f"{here}.ln_2.{kind}"] = (
                    old[f"{there}.layer_norm1.{kind}"],
                    old[f"{there}.layer_norm2.{kind}"],
                )
                new[f"{here}.mlp.c_fc.{kind}"], new[f"{here}.mlp.c_proj.{kind}"] = (
                    old[f"{there}.mlp.fc1.{kind}"],
                    old[f"{there}.mlp.fc2.{kind}"],
                )
    for kind in ("weight", "bias"):
        new[f"visual.ln_pre.{kind}"], new[f"visual.ln_post.{kind}"] = (
            old[f"vision_model.pre_layrnorm.{kind}"],
            old[f"vision_model.post_layernorm.{kind}"],
        )
        new[f"ln_final.{kind}"] = old[f"text_model.final_layer_norm.{kind}"]
    new["visual.class_embedding"] = old["vision_model.embeddings.class_embedding"]
    new["visual.conv1.weight"] = old["vision_model.embeddings.patch_embedding.weight"]
    new["visual.positional_embedding"] = old["vision_model.embeddings.position_embedding.weight"]
    new["visual.proj"], new["text_projection"] = (
        old["visual_projection.weight"].T,
        old["text_projection.weight"].T,
    )
    new["token_embedding.weight"] = old["text_model.embeddings.token_embedding.weight"]
    new["positional_embedding"] = old["text_model.embeddings.position_embedding.weight"]
    new["logit_scale"] = old["logit_scale"]
    return new


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state.pop("vision_model.encoder.layers.1.self_attn.k_proj.bias"),
            "vision_model.encoder.layers.1.self_attn.k_proj.bias is missing",
        ),
        (
            lambda state: state.update({"vision_model.extra": torch.zeros(1)}),
            "vision_model.extra is unexpected",
        ),
        (
            lambda state: state.update({"text_projection.weight": torch.zeros(24, 16)}),
            r"text_projection.weight has shape \[24, 16\], not \[16, 24\]",
        ),
    ],
    ids=["missing", "extra", "misshapen"],
)
def test_a_key_that_does_not_fit_is_named_as_the_file_has_it(
    tmp_path: Path, change: Any, message: str
) -> None:
    state = hf_state(hf_model(TINY["clip_l"]))
    change(state)
    path = write_weights(tmp_path, "clip_l", state)
    with pytest.raises(ModelError, match=message) as caught:
        towers_at(tmp_path).get("clip_l").images(moving_video(1))
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 5


@pytest.mark.usefixtures("tiny")
def test_a_long_prompt_is_cut_with_its_end_token_kept_and_says_so(tmp_path: Path) -> None:
    write_weights(tmp_path, "clip_l", hf_state(hf_model(TINY["clip_l"])))
    tower = towers_at(tmp_path).get("clip_l")
    fits, long = " ".join(["car"] * 75), " ".join(["car"] * 76)
    assert [float(tower.text(prompt)["truncated"][0]) for prompt in (PROMPT, fits, long)] == [0, 0, 1]
    np.testing.assert_array_equal(tower.text(fits)["projected"], tower.text(long)["projected"])


@pytest.mark.usefixtures("tiny")
def test_the_batch_size_does_not_change_the_features(tmp_path: Path) -> None:
    write_weights(tmp_path, "clip_l", hf_state(hf_model(TINY["clip_l"])))
    video = moving_video(5)
    one, eight = (
        towers_at(tmp_path, Options(device="cpu", batch=batch)).get("clip_l").images(video)
        for batch in (1, 8)
    )
    assert relative(one["projected"], eight["projected"]) < 1e-5


@pytest.mark.usefixtures("tiny")
def test_half_precision_stays_within_two_thousandths_of_each_cosine(tmp_path: Path) -> None:
    write_weights(tmp_path, "clip_l", hf_state(hf_model(TINY["clip_l"])))
    video = moving_video(3)
    options = Options(device="cpu")
    full, half = (
        towers_at(tmp_path, replace(options, dtype=dtype)).get("clip_l").images(video)["pooled"]
        for dtype in ("fp32", "bf16")
    )
    cosine = (full * half).sum(1) / np.linalg.norm(full, axis=1) / np.linalg.norm(half, axis=1)
    assert (cosine > 1 - 2e-3).all()
    assert not np.array_equal(full, half)
