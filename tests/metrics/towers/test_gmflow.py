"""vedit/metrics/towers/gmflow.py: equal to the paper's formulas written pixel by pixel, from the published
layout.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.metrics.seeded import moving_video, relative, seeded, towers_at, write_weights
from vedit.errors import ModelError
from vedit.metrics.towers import FeatureStore
from vedit.metrics.types import Video

State = dict[str, Tensor]


def shapes() -> dict[str, tuple[int, ...]]:
    """Every tensor of the published file."""
    found: dict[str, tuple[int, ...]] = {
        "backbone.conv1.weight": (64, 3, 7, 7),
        "backbone.conv2.weight": (128, 128, 1, 1),
        "backbone.conv2.bias": (128,),
    }
    before = 64
    for layer, width in ((1, 64), (2, 96), (3, 128)):
        for block in range(2):
            name = f"backbone.layer{layer}.{block}"
            found |= {
                f"{name}.conv1.weight": (width, before, 3, 3),
                f"{name}.conv2.weight": (width, width, 3, 3),
            }
            if before != width:
                found |= {
                    f"{name}.downsample.0.weight": (width, before, 1, 1),
                    f"{name}.downsample.0.bias": (width,),
                }
            before = width
    for layer in range(6):
        for part in ("self_attn", "cross_attn_ffn"):
            name = f"transformer.layers.{layer}.{part}"
            found |= {
                f"{name}.{matrix}.weight": (128, 128) for matrix in ("q_proj", "k_proj", "v_proj", "merge")
            }
            found |= {f"{name}.norm1.weight": (128,), f"{name}.norm1.bias": (128,)}
        found |= {
            f"{name}.mlp.0.weight": (1024, 256),
            f"{name}.mlp.2.weight": (128, 1024),
            f"{name}.norm2.weight": (128,),
            f"{name}.norm2.bias": (128,),
        }
    for part in ("q_proj", "k_proj"):
        found |= {f"feature_flow_attn.{part}.weight": (128, 128), f"feature_flow_attn.{part}.bias": (128,)}
    return found | {
        "upsampler.0.weight": (256, 130, 3, 3),
        "upsampler.0.bias": (256,),
        "upsampler.2.weight": (576, 256, 1, 1),
        "upsampler.2.bias": (576,),
    }


def instance_norm(x_CYX: Tensor) -> Tensor:
    centred = x_CYX - x_CYX.mean((1, 2), keepdim=True)
    return centred / (centred.pow(2).mean((1, 2), keepdim=True) + 1e-5).sqrt()


def layer_norm(x: Tensor, state: State, name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return (
        centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * state[f"{name}.weight"]
        + state[f"{name}.bias"]
    )


def encode(image_3YX: Tensor, state: State) -> Tensor:
    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(x[None], weight, state.get(f"{name}.bias"), stride, weight.shape[-1] // 2)[0]

    x = instance_norm(conv(image_3YX, "backbone.conv1", 2)).relu()
    for layer in (1, 2, 3):
        for block in range(2):
            name, stride = f"backbone.layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            inner = instance_norm(conv(x, f"{name}.conv1", stride)).relu()
            inner = instance_norm(conv(inner, f"{name}.conv2")).relu()
            if layer > 1 and block == 0:
                x = instance_norm(conv(x, f"{name}.downsample.0", 2))
            x = (x + inner).relu()
    return conv(x, "backbone.conv2")


def positions(rows: int, columns: int) -> Tensor:
    found = torch.zeros(128, rows, columns)
    for place, side in ((0, rows // 2), (1, columns // 2)):
        for y in range(rows):
            for x in range(columns):
                angle = ((y, x)[place] % side + 1) / (side + 1e-6) * 2 * math.pi
                for k in range(0, 64, 2):
                    found[64 * place + k, y, x] = math.sin(angle / 10000 ** (k / 64))
                    found[64 * place + k + 1, y, x] = math.cos(angle / 10000 ** (k / 64))
    return found


def attend(x_YXC: Tensor, other_YXC: Tensor, state: State, name: str, is_shifted: bool) -> Tensor:
    """Each token sees those of its quarter; a shifted quarter that wraps around keeps its sides apart by
    -100.
    """
    rows, columns, _ = x_YXC.shape
    height, width = rows // 2, columns // 2
    down, right = (height // 2, width // 2) if is_shifted else (0, 0)
    q, k, v = (
        x_YXC @ state[f"{name}.q_proj.weight"].T,
        other_YXC @ state[f"{name}.k_proj.weight"].T,
        other_YXC @ state[f"{name}.v_proj.weight"].T,
    )
    seen = torch.zeros_like(x_YXC)
    for top in (0, height):
        for left in (0, width):
            ys, xs = [(top + i + down) for i in range(height)], [(left + j + right) for j in range(width)]
            tokens = [(y % rows, x % columns) for y in ys for x in xs]
            side = torch.tensor([2 * (y >= rows) + (x >= columns) for y in ys for x in xs])
            y, x = torch.tensor(tokens).T
            scores = torch.einsum("qc,kc->qk", q[y, x], k[y, x]) / math.sqrt(128) - 100.0 * (
                side[:, None] != side[None]
            )
            seen[y, x] = torch.einsum("qk,kc->qc", scores.softmax(-1), v[y, x])
    return layer_norm(seen @ state[f"{name}.merge.weight"].T, state, f"{name}.norm1")


def block(x: Tensor, other: Tensor, state: State, layer: int) -> Tensor:
    name, is_shifted = f"transformer.layers.{layer}", layer % 2 == 1
    x = x + attend(x, x, state, f"{name}.self_attn", is_shifted)
    message = torch.cat([x, attend(x, other, state, f"{name}.cross_attn_ffn", is_shifted)], -1)
    message = (
        F.gelu(message @ state[f"{name}.cross_attn_ffn.mlp.0.weight"].T)
        @ state[f"{name}.cross_attn_ffn.mlp.2.weight"].T
    )
    return x + layer_norm(message, state, f"{name}.cross_attn_ffn.norm2")


def expected_flow(first_3YX: Tensor, second_3YX: Tensor, state: State) -> Tensor:
    """The flow (2, Y, X) of normalised images with sides that are multiples of 16."""
    a, b = (encode(image, state) for image in (first_3YX, second_3YX))
    _, rows, columns = a.shape
    a, b = ((x + positions(rows, columns)).permute(1, 2, 0) for x in (a, b))
    for layer in range(6):
        a, b = block(a, b, state, layer), block(b, a, state, layer)
    grid = torch.tensor([[float(x), float(y)] for y in range(rows) for x in range(columns)])
    flow = (
        torch.einsum("qc,kc->qk", a.flatten(0, 1), b.flatten(0, 1)).div(math.sqrt(128)).softmax(-1) @ grid
        - grid
    )
    query = (
        a.flatten(0, 1) @ state["feature_flow_attn.q_proj.weight"].T + state["feature_flow_attn.q_proj.bias"]
    )
    key = query @ state["feature_flow_attn.k_proj.weight"].T + state["feature_flow_attn.k_proj.bias"]
    flow = (torch.einsum("qc,kc->qk", query, key) / math.sqrt(128)).softmax(-1) @ flow
    return enlarge(flow.T.reshape(2, rows, columns), a.permute(2, 0, 1), state)


def enlarge(flow_2YX: Tensor, features_CYX: Tensor, state: State) -> Tensor:
    hidden = F.conv2d(
        torch.cat([flow_2YX, features_CYX])[None],
        state["upsampler.0.weight"],
        state["upsampler.0.bias"],
        padding=1,
    ).relu()
    weights = (
        F.conv2d(hidden, state["upsampler.2.weight"], state["upsampler.2.bias"])[0]
        .view(9, 8, 8, *flow_2YX.shape[1:])
        .softmax(0)
    )
    _, rows, columns = flow_2YX.shape
    padded, found = F.pad(flow_2YX, (1, 1, 1, 1)), torch.zeros(2, 8 * rows, 8 * columns)
    for y in range(rows):
        for x in range(columns):
            around = 8 * padded[:, y : y + 3, x : x + 3].flatten(1)
            found[:, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = torch.einsum(
                "kij,ck->cij", weights[:, :, :, y, x], around
            )
    return found


def normalised(video: Video) -> Tensor:
    values = (video.frames_TYX3.astype(np.float32) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return torch.tensor(values, dtype=torch.float32).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeded weights whose matching is sharp: flows of several pixels."""
    folder = tmp_path_factory.mktemp("gmflow")
    write_weights(folder, "gmflow", seeded(shapes()))
    return folder


def test_the_sizes_are_those_of_the_published_file() -> None:
    assert len(shapes()) == 123
    assert sum(int(np.prod(shape)) for shape in shapes().values()) == 4_680_288


def test_flow_equals_the_formulas_in_both_directions(weights: Path) -> None:
    video = moving_video(3, 64, 96)
    tower, images = towers_at(weights).get("gmflow"), normalised(video)
    state = seeded(shapes())
    forward, backward = tower.flow(video), tower.flow(video, backward=True)
    for pair in range(2):
        expected = expected_flow(images[pair], images[pair + 1], state).numpy()
        assert np.abs(expected).mean() > 1  # there is something to be wrong about
        assert np.abs(forward[pair] - expected).mean() < 1e-3
        assert (
            np.abs(backward[pair] - expected_flow(images[pair + 1], images[pair], state).numpy()).mean()
            < 1e-3
        )


def test_sides_that_are_no_multiples_of_16_are_padded_and_cropped_back(weights: Path) -> None:
    video = moving_video(2, 50, 65)
    padded = Video(np.pad(video.frames_TYX3, ((0, 0), (7, 7), (7, 8), (0, 0)), mode="edge"))
    tower = towers_at(weights).get("gmflow")
    assert tower.flow(video).shape == (1, 2, 50, 65)
    np.testing.assert_allclose(tower.flow(video), tower.flow(padded)[:, :, 7:57, 7:72], atol=1e-4)


def test_the_backward_pass_keeps_the_forward_flow_for_later(weights: Path) -> None:
    video, store = moving_video(2), FeatureStore()
    tower = towers_at(weights, store=store).get("gmflow")
    tower.flow(video, backward=True)
    before = store.misses
    kept = tower.flow(video)
    assert store.misses == before
    assert relative(kept, towers_at(weights).get("gmflow").flow(video)) < 1e-5


def test_a_file_without_its_upsampler_is_refused(tmp_path: Path) -> None:
    write_weights(
        tmp_path,
        "gmflow",
        {name: value for name, value in seeded(shapes()).items() if "upsampler" not in name},
    )
    with pytest.raises(ModelError, match=r"upsampler.0.bias is missing \(and 3 more\)"):
        towers_at(tmp_path).get("gmflow").flow(moving_video(2))
