"""vedit/metrics/towers/viclip.py: equal to the paper's formulas written with einsum, from the published
layout.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.metrics.seeded import moving_video, relative, seeded, towers_at, write_weights
from tests.metrics.towers.test_clip import pixels
from vedit.errors import ModelError
from vedit.metrics.towers import viclip
from vedit.metrics.viclip_text_alignment import choose_frames

TINY = viclip.ViclipConfig(
    patch=56,
    width=32,
    layers=2,
    heads=4,
    text_width=24,
    text_layers=2,
    text_heads=3,
    embed=16,
    vocabulary=49408,
)
PROMPT = "a red car drives by the sea"


def shapes(config: viclip.ViclipConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of the published file."""
    found: dict[str, tuple[int, ...]] = {
        "temp": (),
        "vision_encoder.class_embedding": (config.width,),
        "vision_encoder.positional_embedding": (1 + (config.image // config.patch) ** 2, config.width),
        "vision_encoder.temporal_positional_embedding": (1, 8, config.width),
        "vision_encoder.conv1.weight": (config.width, 3, 1, config.patch, config.patch),
        "vision_encoder.proj": (config.width, config.embed),
        "text_encoder.token_embedding.weight": (config.vocabulary, config.text_width),
        "text_encoder.positional_embedding": (config.context, config.text_width),
        "text_encoder.text_projection": (config.text_width, config.embed),
    }
    for name, width in (
        ("vision_encoder.ln_pre", config.width),
        ("vision_encoder.ln_post", config.width),
        ("text_encoder.ln_final", config.text_width),
    ):
        found |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    for tower, width, layers in (
        ("vision_encoder", config.width, config.layers),
        ("text_encoder", config.text_width, config.text_layers),
    ):
        for layer in range(layers):
            block = f"{tower}.transformer.resblocks.{layer}"
            for part, (rows, columns) in {
                "attn.in_proj_": (3 * width, width),
                "attn.out_proj.": (width, width),
                "mlp.c_fc.": (4 * width, width),
                "mlp.c_proj.": (width, 4 * width),
            }.items():
                found |= {f"{block}.{part}weight": (rows, columns), f"{block}.{part}bias": (rows,)}
            for norm in ("ln_1", "ln_2"):
                found |= {f"{block}.{norm}.weight": (width,), f"{block}.{norm}.bias": (width,)}
    return found


def norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return (
        centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * state[f"{name}.weight"]
        + state[f"{name}.bias"]
    )


def blocks(
    x_LE: Tensor, state: dict[str, Tensor], tower: str, layers: int, heads: int, is_causal: bool
) -> Tensor:
    """Pre-norm residual blocks with quick-GELU, (L, E), attention by einsum."""
    length = len(x_LE)
    mask = torch.full((length, length), float("-inf")).triu(1) if is_causal else torch.zeros(length, length)
    for layer in range(layers):
        name = f"{tower}.transformer.resblocks.{layer}"
        seen = (
            norm(x_LE, state, f"{name}.ln_1") @ state[f"{name}.attn.in_proj_weight"].T
            + state[f"{name}.attn.in_proj_bias"]
        )
        q, k, v = seen.view(length, 3, heads, -1).unbind(1)
        weights = (torch.einsum("qhd,khd->hqk", q, k) / q.shape[-1] ** 0.5 + mask).softmax(-1)
        mixed = torch.einsum("hqk,khd->qhd", weights, v).flatten(1)
        x_LE = x_LE + mixed @ state[f"{name}.attn.out_proj.weight"].T + state[f"{name}.attn.out_proj.bias"]
        inner = (
            norm(x_LE, state, f"{name}.ln_2") @ state[f"{name}.mlp.c_fc.weight"].T
            + state[f"{name}.mlp.c_fc.bias"]
        )
        x_LE = (
            x_LE
            + (inner * torch.sigmoid(1.702 * inner)) @ state[f"{name}.mlp.c_proj.weight"].T
            + state[f"{name}.mlp.c_proj.bias"]
        )
    return x_LE


def expected_video(state: dict[str, Tensor], config: viclip.ViclipConfig, frames_T3YX: Tensor) -> Tensor:
    """The order of patches is frame by patch here and patch by frame there: it must not matter."""
    kernel = state["vision_encoder.conv1.weight"][:, :, 0].flatten(1)
    positions = state["vision_encoder.positional_embedding"]
    tokens = [state["vision_encoder.class_embedding"] + positions[0]]
    side = config.image // config.patch
    for place in range(side * side):
        row, column = divmod(place, side)
        for t, frame in enumerate(frames_T3YX):
            patch = frame[
                :,
                row * config.patch : (row + 1) * config.patch,
                column * config.patch : (column + 1) * config.patch,
            ]
            tokens.append(
                kernel @ patch.flatten()
                + positions[1 + place]
                + state["vision_encoder.temporal_positional_embedding"][0, t]
            )
    x = blocks(
        norm(torch.stack(tokens), state, "vision_encoder.ln_pre"),
        state,
        "vision_encoder",
        config.layers,
        config.heads,
        is_causal=False,
    )
    return norm(x[0], state, "vision_encoder.ln_post") @ state["vision_encoder.proj"]


def expected_text(state: dict[str, Tensor], config: viclip.ViclipConfig, prompt: str) -> Tensor:
    from open_clip.tokenizer import SimpleTokenizer

    ids = [49406, *SimpleTokenizer().encode(prompt), 49407]
    x = (
        state["text_encoder.token_embedding.weight"][ids]
        + state["text_encoder.positional_embedding"][: len(ids)]
    )
    x = blocks(x, state, "text_encoder", config.text_layers, config.text_heads, is_causal=True)
    return norm(x[-1], state, "text_encoder.ln_final") @ state["text_encoder.text_projection"]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viclip, "CONFIG", TINY)


@pytest.mark.usefixtures("tiny")
def test_videos_and_texts_equal_the_formulas(tmp_path: Path) -> None:
    state = seeded(shapes(TINY))
    write_weights(tmp_path, "viclip", state)
    video = moving_video(8, 60, 80)
    tower = towers_at(tmp_path).get("viclip")
    assert (
        relative(
            tower.video(video, range(8))["projected"][0], expected_video(state, TINY, pixels(video)).numpy()
        )
        < 1e-5
    )
    assert relative(tower.text(PROMPT)["projected"][0], expected_text(state, TINY, PROMPT).numpy()) < 1e-5


@pytest.mark.usefixtures("tiny")
def test_the_order_of_frames_matters(tmp_path: Path) -> None:
    write_weights(tmp_path, "viclip", seeded(shapes(TINY)))
    tower, video = towers_at(tmp_path).get("viclip"), moving_video(8)
    forwards, backwards = (tower.video(video, order)["projected"] for order in (range(8), range(7, -1, -1)))
    assert relative(backwards, forwards) > 1e-3


@pytest.mark.usefixtures("tiny")
def test_the_published_pickle_and_the_safetensors_file_give_the_same_numbers(tmp_path: Path) -> None:
    state = seeded(shapes(TINY))
    write_weights(tmp_path / "pickle", "viclip", state)
    write_weights(tmp_path / "safe", "viclip", state, choice=2)
    found = [
        towers_at(tmp_path / kind).get("viclip").text(PROMPT)["projected"] for kind in ("pickle", "safe")
    ]
    np.testing.assert_array_equal(*found)


@pytest.mark.usefixtures("tiny")
def test_a_patch_convolution_without_its_time_axis_is_refused(tmp_path: Path) -> None:
    state = seeded(shapes(TINY))
    state["vision_encoder.conv1.weight"] = state["vision_encoder.conv1.weight"][:, :, 0]
    write_weights(tmp_path, "viclip", state)
    with pytest.raises(
        ModelError, match=r"conv1.weight has shape \[32, 3, 56, 56\], not \[32, 3, 1, 56, 56\]"
    ):
        towers_at(tmp_path).get("viclip").text(PROMPT)


def test_the_real_sizes_are_those_of_the_published_file() -> None:
    found: Any = shapes(viclip.CONFIG)
    assert len(found) == 447
    assert sum(int(np.prod(shape)) for shape in found.values()) == 427_590_145


@pytest.mark.parametrize(
    ("total", "strict", "indices", "rule"),
    [
        (8, False, [0, 1, 2, 3, 4, 5, 6, 7], "all"),
        (24, False, [0, 3, 6, 9, 12, 15, 18, 21], "every third"),
        (22, False, [0, 3, 6, 9, 12, 15, 18, 21], "every third"),
        (24, True, [0, 3, 6, 9, 12, 15, 18, 21], "spread"),
        (25, False, [0, 3, 6, 9, 12, 15, 18, 21], "spread"),
        (9, False, [0, 1, 2, 3, 4, 5, 6, 7], "spread"),
        (16, False, [0, 2, 4, 6, 8, 10, 12, 14], "spread"),
        (2, False, [0, 0, 0, 0, 1, 1, 1, 1], "repeated"),
        (1, True, [0] * 8, "repeated"),
    ],
)
def test_eight_frames_are_chosen_for_every_length(
    total: int, strict: bool, indices: list[int], rule: str
) -> None:
    assert choose_frames(total, strict) == (indices, rule)
