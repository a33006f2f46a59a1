"""vedit/metrics/towers/dino.py: equal to transformers' models, positions resized as the published code
resizes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.metrics.seeded import moving_video, relative, towers_at, write_weights
from vedit.metrics.towers import dino
from vedit.metrics.types import Video

TINY = {
    "dinov2": dino.DinoConfig(14, 5, has_layer_scale=True, scaled=False, width=32, layers=2, heads=4),
    "dino-vitb16": dino.DinoConfig(16, 14, has_layer_scale=False, scaled=True, width=32, layers=2, heads=2),
}


def hf_model(name: str) -> Any:
    """transformers' model of the same sizes, every tensor of it random."""
    from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTModel

    config = TINY[name]
    sizes: dict[str, Any] = {
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "patch_size": config.patch,
    }
    image = config.grid * config.patch
    torch.manual_seed(1)
    if name == "dinov2":
        model: Any = Dinov2Model(Dinov2Config(**sizes, image_size=image, mlp_ratio=4))
    else:
        model = ViTModel(
            ViTConfig(**sizes, image_size=image, intermediate_size=4 * config.width, layer_norm_eps=1e-6),
            add_pooling_layer=False,
        )
    with torch.no_grad():
        for value in model.parameters():
            value.normal_(0.2 if value.ndim == 1 else 0, 0.5 if value.ndim == 1 else value.shape[-1] ** -0.5)
    return model.eval()


def published(name: str, model: Any, folder: Path) -> dict[str, Tensor]:
    """The tensors under the keys of the published file, as transformers saves them."""
    from safetensors.torch import load_file

    model.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


def pixels(video: Video, side: int = 256, crop: int = 224) -> Tensor:
    found = []
    for frame in video.frames_TYX3:
        image = Image.fromarray(frame)
        short = min(image.size)
        image = image.resize(
            tuple(int(side * length / short) for length in image.size), Image.Resampling.BICUBIC
        )
        left, top = ((length - crop) // 2 for length in image.size)
        values = np.asarray(image.crop((left, top, left + crop, top + crop)), np.float32) / 255
        found.append((values - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225])
    return torch.tensor(np.stack(found), dtype=torch.float32).permute(0, 3, 1, 2)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dino, "CONFIGS", TINY)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", list(TINY))
def test_cropped_frames_have_the_states_that_transformers_gives(tmp_path: Path, name: str) -> None:
    model = hf_model(name)
    write_weights(tmp_path, name, published(name, model, tmp_path / "saved"))
    video = moving_video(3, 70, 100)
    with torch.no_grad():
        expected = model(pixels(video)).last_hidden_state[:, 0].numpy()
    assert relative(towers_at(tmp_path).get(name).cropped(video)["cls"], expected) < 1e-5


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", list(TINY))
def test_keys_are_those_of_the_last_layer_of_transformers(tmp_path: Path, name: str) -> None:
    model = hf_model(name)
    write_weights(tmp_path, name, published(name, model, tmp_path / "saved"))
    video = moving_video(2, 70, 100)
    keys = [part for at, part in model.named_modules() if at.rpartition(".")[2] in ("key", "k_proj")]
    kept: list[torch.Tensor] = []
    keys[-1].register_forward_hook(lambda module, given, out: kept.append(out))
    with torch.no_grad():
        model(pixels(video))
    found = towers_at(tmp_path).get(name).keys(video)["keys"]
    assert found.shape == (2, 1 + (224 // TINY[name].patch) ** 2, 32)
    assert relative(found, kept[0].flatten(2).numpy()) < 1e-5


@pytest.mark.usefixtures("tiny")
def test_whole_frames_of_dinov2_keep_their_aspect(tmp_path: Path) -> None:
    model = hf_model("dinov2")
    write_weights(tmp_path, "dinov2", published("dinov2", model, tmp_path / "saved"))
    video = moving_video(2, 112, 140)
    image = np.stack(
        [
            np.asarray(Image.fromarray(frame).resize((280, 224), Image.Resampling.BICUBIC))
            for frame in video.frames_TYX3
        ]
    )
    values = (image.astype(np.float32) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.no_grad():
        expected = (
            model(torch.tensor(values, dtype=torch.float32).permute(0, 3, 1, 2))
            .last_hidden_state[:, 0]
            .numpy()
        )
    assert relative(towers_at(tmp_path).get("dinov2").whole(video)["cls"], expected) < 1e-5


def bicubic(table_EYX: np.ndarray, rows: int, columns: int, scale: tuple[float, float]) -> np.ndarray:
    """Cubic convolution with A = -0.75 and clamped borders, one output entry after another."""

    def weight(x: float) -> float:
        x, a = abs(x), -0.75
        return (
            (a + 2) * x**3 - (a + 3) * x**2 + 1
            if x <= 1
            else a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
            if x < 2
            else 0.0
        )

    _, height, width = table_EYX.shape
    found = np.zeros((len(table_EYX), rows, columns))
    for row in range(rows):
        for column in range(columns):
            y, x = (row + 0.5) / scale[0] - 0.5, (column + 0.5) / scale[1] - 0.5
            for i in range(int(np.floor(y)) - 1, int(np.floor(y)) + 3):
                for j in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
                    found[:, row, column] += (
                        weight(y - i)
                        * weight(x - j)
                        * table_EYX[:, np.clip(i, 0, height - 1), np.clip(j, 0, width - 1)]
                    )
    return found


@pytest.mark.parametrize(("scaled", "rows", "columns"), [(False, 4, 7), (False, 16, 3), (True, 5, 9)])
def test_positions_are_resized_by_plain_cubic_convolution(scaled: bool, rows: int, columns: int) -> None:
    table = torch.randn(1, 1 + 36, 3, generator=torch.Generator().manual_seed(0))
    found = dino.positions(table, rows, columns, scaled)
    scale = ((rows + 0.1) / 6, (columns + 0.1) / 6) if scaled else (rows / 6, columns / 6)
    expected = bicubic(table[0, 1:].T.reshape(3, 6, 6).numpy(), rows, columns, scale)
    np.testing.assert_allclose(found[0, 1:].T.reshape(3, rows, columns).numpy(), expected, atol=1e-5)
    assert torch.equal(found[:, 0], table[:, 0])


@pytest.mark.usefixtures("tiny")
def test_the_file_of_timm_gives_the_same_states_as_that_of_transformers(tmp_path: Path) -> None:
    old = published("dino-vitb16", hf_model("dino-vitb16"), tmp_path / "saved")
    new = {"cls_token": old["embeddings.cls_token"], "pos_embed": old["embeddings.position_embeddings"]}
    for kind in ("weight", "bias"):
        new[f"patch_embed.proj.{kind}"] = old[f"embeddings.patch_embeddings.projection.{kind}"]
        new[f"norm.{kind}"] = old[f"layernorm.{kind}"]
        for layer in range(2):
            here, there = f"blocks.{layer}", f"encoder.layer.{layer}"
            new[f"{here}.attn.qkv.{kind}"] = torch.cat(
                [old[f"{there}.attention.attention.{part}.{kind}"] for part in ("query", "key", "value")]
            )
            new[f"{here}.attn.proj.{kind}"] = old[f"{there}.attention.output.dense.{kind}"]
            new[f"{here}.norm1.{kind}"], new[f"{here}.norm2.{kind}"] = (
                old[f"{there}.layernorm_before.{kind}"],
                old[f"{there}.layernorm_after.{kind}"],
            )
            new[f"{here}.mlp.fc1.{kind}"], new[f"{here}.mlp.fc2.{kind}"] = (
                old[f"{there}.intermediate.dense.{kind}"],
                old[f"{there}.output.dense.{kind}"],
            )
    for choice, state in ((0, old), (2, new)):
        write_weights(tmp_path / str(choice), "dino-vitb16", state, choice)
    video = moving_video(2)
    found = [towers_at(tmp_path / choice).get("dino-vitb16").cropped(video)["cls"] for choice in ("0", "2")]
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-6)
