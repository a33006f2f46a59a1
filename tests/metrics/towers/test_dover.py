"""vedit/metrics/towers/dover.py: equal to the published formulas written token by token, from the published
layout.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.metrics.seeded import moving_video, relative, seeded, towers_at, write_weights
from vedit.errors import ModelError
from vedit.metrics.towers import dover
from vedit.metrics.types import Options, Video

TINY = dover.DoverConfig(
    4, (2, 1, 1, 2), (1, 2, 2, 4), conv_widths=(8, 12, 16, 24), conv_depths=(2, 3, 1, 2), hidden=10
)
STRICT = Options(device="cpu", profile="strict")
State = dict[str, Tensor]


def shapes(config: dover.DoverConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of the published file."""
    found: dict[str, tuple[int, ...]] = {}

    def pair(name: str, *shape: int) -> None:
        found.update({f"{name}.weight": shape, f"{name}.bias": shape[:1]})

    technical, aesthetic, width = "technical_backbone", "aesthetic_backbone", config.swin_width
    pair(f"{technical}.patch_embed.proj", width, 3, 2, 4, 4)
    pair(f"{technical}.patch_embed.norm", width)
    for stage, (depth, heads) in enumerate(zip(config.swin_depths, config.swin_heads)):
        for index in range(depth):
            name = f"{technical}.layers.{stage}.blocks.{index}"
            pair(f"{name}.norm1", width)
            pair(f"{name}.norm2", width)
            pair(f"{name}.attn.qkv", 3 * width, width)
            pair(f"{name}.attn.proj", width, width)
            pair(f"{name}.mlp.fc1", 4 * width, width)
            pair(f"{name}.mlp.fc2", width, 4 * width)
            found[f"{name}.attn.relative_position_bias_table"] = (2535, heads)
            found[f"{name}.attn.relative_position_index"] = (392, 392)
            if stage < 3:
                found[f"{name}.attn.fragment_position_bias_table"] = (2535, heads)
        if stage < 3:
            pair(f"{technical}.layers.{stage}.downsample.norm", 4 * width)
            found[f"{technical}.layers.{stage}.downsample.reduction.weight"] = (2 * width, 4 * width)
            width *= 2
    pair(f"{technical}.norm", width)
    before = 3
    for stage, (after, depth) in enumerate(zip(config.conv_widths, config.conv_depths)):
        name = f"{aesthetic}.downsample_layers.{stage}"
        pair(f"{name}.{0 if stage == 0 else 1}", after, before, *((2, 4, 4) if stage == 0 else (1, 2, 2)))
        pair(f"{name}.{1 if stage == 0 else 0}", after if stage == 0 else before)
        for index in range(depth):
            name = f"{aesthetic}.stages.{stage}.{index}"
            pair(f"{name}.dwconv", after, 1, 3 if index % 3 == 1 else 1, 7, 7)
            pair(f"{name}.norm", after)
            pair(f"{name}.pwconv1", 4 * after, after)
            pair(f"{name}.pwconv2", after, 4 * after)
            found[f"{name}.gamma"] = (after,)
        before = after
    pair(f"{aesthetic}.norm", before)
    for branch, size in (("technical", width), ("aesthetic", before)):
        pair(f"{branch}_head.fc_hid", config.hidden, size, 1, 1, 1)
        pair(f"{branch}_head.fc_last", 1, config.hidden, 1, 1, 1)
    return found


def weights_of(config: dover.DoverConfig) -> State:
    state = seeded(shapes(config))
    return {
        name: value.long() if name.endswith("relative_position_index") else value
        for name, value in state.items()
    }


def norm(x: Tensor, state: State, name: str, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return (
        centred / (centred.pow(2).mean(-1, keepdim=True) + eps).sqrt() * state[f"{name}.weight"]
        + state[f"{name}.bias"]
    )


def linear(x: Tensor, state: State, name: str) -> Tensor:
    return x @ state[f"{name}.weight"].flatten(1).T + state.get(f"{name}.bias", torch.zeros(()))


def attend(x_DYXC: Tensor, state: State, name: str, heads: int, is_shifted: bool) -> Tensor:
    """Window attention over lists of token places.

    Tokens that wrapped around are kept from the others by -100.
    """
    size = x_DYXC.shape[:3]
    window = [min(8, size[0]), min(7, size[1]), min(7, size[2])]
    shift = [w // 2 if is_shifted and side > w else 0 for w, side in zip(window, size)]
    qkv = linear(x_DYXC, state, f"{name}.qkv").unflatten(-1, (3, heads, -1))
    found = torch.zeros_like(x_DYXC)
    local = np.array(list(product(*(range(w) for w in window))))
    step = local[:, None] - local[None] + np.array([7, 6, 6])
    index = torch.tensor(step[..., 0] * 13 * 13 + step[..., 1] * 13 + step[..., 2])
    relative, fragment = (
        state[key][index] if key in state else None
        for key in (f"{name}.relative_position_bias_table", f"{name}.fragment_position_bias_table")
    )
    for start in product(*(range(0, side, w) for side, w in zip(size, window))):
        place = local + start + np.array(shift)
        wrapped = torch.tensor(place >= size)
        place %= np.array(size)
        q, k, v = qkv[tuple(place.T)].unbind(1)
        bias = relative
        if fragment is not None:
            cell = torch.tensor(place[:, 1:] * 7 // np.array(size[1:]))
            gate = (cell[:, None] - cell[None]).abs().sum(-1)[..., None]
            bias = gate * relative + (1 - gate) * fragment
        scores = torch.einsum("qhd,khd->qkh", q, k) / q.shape[-1] ** 0.5 + bias
        scores = scores - 100.0 * (wrapped[:, None] != wrapped[None]).any(-1)[..., None]
        found[tuple(place.T)] = torch.einsum("qkh,khd->qhd", scores.softmax(1), v).flatten(1)
    return linear(found, state, f"{name}.proj")


def technical(clip_3TYX: Tensor, state: State, config: dover.DoverConfig) -> float:
    prefix = "technical_backbone"
    patches = clip_3TYX.unflatten(3, (-1, 4)).unflatten(2, (-1, 4)).unflatten(1, (-1, 2))  # 3 D 2 Y 4 X 4
    x = norm(
        linear(patches.permute(1, 3, 5, 0, 2, 4, 6).flatten(3), state, f"{prefix}.patch_embed.proj"),
        state,
        f"{prefix}.patch_embed.norm",
        1e-5,
    )
    for stage, (depth, heads) in enumerate(zip(config.swin_depths, config.swin_heads)):
        for index in range(depth):
            name = f"{prefix}.layers.{stage}.blocks.{index}"
            x = x + attend(
                norm(x, state, f"{name}.norm1", 1e-5), state, f"{name}.attn", heads, index % 2 == 1
            )
            inner = F.gelu(linear(norm(x, state, f"{name}.norm2", 1e-5), state, f"{name}.mlp.fc1"))
            x = x + linear(inner, state, f"{name}.mlp.fc2")
        if stage < 3:
            x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
            name = f"{prefix}.layers.{stage}.downsample"
            x = linear(norm(x, state, f"{name}.norm", 1e-5), state, f"{name}.reduction")
    x = norm(x, state, f"{prefix}.norm", 1e-5)
    return float(
        linear(F.gelu(linear(x, state, "technical_head.fc_hid")), state, "technical_head.fc_last").mean()
    )


def aesthetic(clip_3TYX: Tensor, state: State, config: dover.DoverConfig) -> float:
    """Three-dimensional convolutions as sums of two-dimensional ones, channels last in between."""
    x = clip_3TYX.permute(1, 2, 3, 0)  # T Y X C
    for stage, depth in enumerate(config.conv_depths):
        name = f"aesthetic_backbone.downsample_layers.{stage}"
        if stage == 0:
            kernel = state[f"{name}.0.weight"]
            x = sum(F.conv2d(x[tap::2].permute(0, 3, 1, 2), kernel[:, :, tap], stride=4) for tap in range(2))
            x = norm(x.permute(0, 2, 3, 1) + state[f"{name}.0.bias"], state, f"{name}.1", 1e-6)
        else:
            x = norm(x, state, f"{name}.0", 1e-6).permute(0, 3, 1, 2)
            x = F.conv2d(x, state[f"{name}.1.weight"][:, :, 0], state[f"{name}.1.bias"], stride=2).permute(
                0, 2, 3, 1
            )
        for index in range(depth):
            name = f"aesthetic_backbone.stages.{stage}.{index}"
            kernel = state[f"{name}.dwconv.weight"]
            taps = kernel.shape[2]
            padded = F.pad(x.permute(0, 3, 1, 2), (0, 0, 0, 0, 0, 0, taps // 2, taps // 2))
            mixed = sum(
                F.conv2d(padded[tap : tap + len(x)], kernel[:, :, tap], padding=3, groups=len(kernel))
                for tap in range(taps)
            )
            inner = norm(
                mixed.permute(0, 2, 3, 1) + state[f"{name}.dwconv.bias"], state, f"{name}.norm", 1e-6
            )
            x = x + state[f"{name}.gamma"] * linear(
                F.gelu(linear(inner, state, f"{name}.pwconv1")), state, f"{name}.pwconv2"
            )
    x = norm(x, state, "aesthetic_backbone.norm", 1e-6)
    return float(
        linear(F.gelu(linear(x, state, "aesthetic_head.fc_hid")), state, "aesthetic_head.fc_last").mean()
    )


def normalised(frames_TYX3: np.ndarray) -> Tensor:
    values = (frames_TYX3 - np.array([123.675, 116.28, 103.53])) / np.array([58.395, 57.12, 57.375])
    return torch.tensor(values, dtype=torch.float32).permute(3, 0, 1, 2)


def cut(frames_TYX3: np.ndarray, clips: list[list[int]]) -> list[np.ndarray]:
    """The fragments of each clip, of frames of 224 pixels or more a side."""
    _, rows, columns, _ = frames_TYX3.shape
    generator = torch.Generator().manual_seed(0)
    down, right = (
        (
            torch.randint(side // 7 - 32, (7, 7, len(clips)), generator=generator).numpy()
            if side // 7 > 32
            else np.zeros((7, 7, len(clips)), int)
        )
        for side in (rows, columns)
    )
    found = []
    for n, indices in enumerate(clips):
        clip = np.zeros((len(indices), 224, 224, 3), np.uint8)
        for i, j in product(range(7), range(7)):
            y, x = (
                min(rows // 7 * i, rows - 32) + down[i, j, n],
                min(columns // 7 * j, columns - 32) + right[i, j, n],
            )
            clip[:, 32 * i : 32 * i + 32, 32 * j : 32 * j + 32] = frames_TYX3[indices, y : y + 32, x : x + 32]
        found.append(clip)
    return found


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> State:
    monkeypatch.setattr(dover, "CONFIG", TINY)
    state = weights_of(TINY)
    write_weights(tmp_path, "dover", state)
    return state


def test_the_sizes_are_those_of_the_published_file() -> None:
    found = shapes(dover.CONFIG)
    assert len(found) == 381
    assert (
        sum(int(np.prod(shape)) for name, shape in found.items() if not name.endswith("_index")) == 56_218_302
    )


def test_raw_scores_equal_the_formulas(tiny: State, tmp_path: Path) -> None:
    video = moving_video(33, 232, 300)
    found = towers_at(tmp_path, STRICT).get("dover").scores(video)
    indices = [i * 33 // 32 for i in range(32)]
    small = F.interpolate(
        normalised(video.frames_TYX3[indices]), size=(224, 224), mode="bilinear", antialias=False
    )
    assert found["technical"] == pytest.approx(
        [technical(normalised(cut(video.frames_TYX3, [indices])[0]), tiny, TINY)], abs=1e-5
    )
    assert found["aesthetic"] == pytest.approx([aesthetic(small, tiny, TINY)], abs=1e-5)


def test_three_clips_have_fragments_of_their_own() -> None:
    frames = moving_video(8, 256, 400).frames_TYX3
    clips = [[(2 * k + 2 * c) % 8 for k in range(32)] for c in range(3)]
    found = list(dover.fragments(frames, clips))
    for clip, expected in zip(found, cut(frames, clips), strict=True):
        assert torch.allclose(clip, normalised(expected), atol=1e-6)
    assert not torch.equal(
        found[0][:, 0, :32, :32], found[1][:, 3, :32, :32]
    )  # the same frame, another offset


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("size", [(100, 60), (224, 224), (230, 90), (1, 5), (31, 500)])
def test_small_frames_are_enlarged_until_the_cells_fit(size: tuple[int, int], strict: bool) -> None:
    clip = next(iter(dover.fragments(moving_video(2, *size).frames_TYX3, [[0, 1]], is_strict=strict)))
    assert clip.shape == (3, 2, 224, 224)
    assert torch.isfinite(clip).all()


@pytest.mark.parametrize("size", [(64, 64), (180, 320), (100, 600), (223, 224), (33, 40)])
def test_fragments_of_small_frames_have_the_places_of_the_size_before(size: tuple[int, int]) -> None:
    """The published `get_spatial_fragments`, cell by cell: it takes the size before it enlarges."""
    frames, clips = moving_video(4, *size).frames_TYX3, [[0, 1, 2, 3], [1, 2, 3, 0], [2, 3, 0, 1]]
    large = F.interpolate(normalised(frames), scale_factor=224 / min(size), mode="bilinear")
    generator = torch.Generator().manual_seed(0)
    offsets = [
        (
            torch.randint(side // 7 - 32, (7, 7, 3), generator=generator)
            if side // 7 > 32
            else torch.zeros((7, 7, 3), dtype=torch.long)
        )
        for side in size
    ]
    for n, found in enumerate(dover.fragments(frames, clips)):
        for i, j in product(range(7), range(7)):
            y, x = (
                min(side // 7 * k, side - 32) + int(drawn[i, j, n])
                for side, k, drawn in zip(size, (i, j), offsets, strict=True)
            )
            expected = large[:, clips[n], y : y + 32, x : x + 32]
            assert torch.allclose(
                found[:, :, 32 * i : 32 * i + 32, 32 * j : 32 * j + 32], expected, atol=1e-5
            )
    strict = next(dover.fragments(frames, clips, is_strict=True))
    corner = large[:, :, -32:, -32:] if size[0] == size[1] else None
    assert corner is None or torch.allclose(strict[:, :, -32:, -32:], corner, atol=1e-5)
    assert not torch.equal(strict, next(dover.fragments(frames, clips)))


@pytest.mark.parametrize(
    ("total", "strict", "technical_start", "aesthetic_start"),
    [
        (8, False, [[0, 2, 4, 6, 0], [2, 4, 6, 0, 2], [4, 6, 0, 2, 4]], [0, 0, 0, 0]),
        (1, False, [[0, 0], [0, 0], [0, 0]], [0, 0]),
        (24, False, [[0, 2, 4], [8, 10, 12], [16, 18, 20]], [0, 0]),
        (64, False, [[0, 2], [21, 23], [42, 44]], [0, 2, 4]),
        (8, True, [[0, 0, 0, 0, 1]], [0, 0, 0, 0, 1]),
        (64, True, [[0, 2, 4]], [0, 2, 4]),
    ],
)
def test_frame_indices_follow_the_profile(
    total: int, strict: bool, technical_start: list[list[int]], aesthetic_start: list[int]
) -> None:
    views = dover.choose_frames(total, strict)
    assert [
        clip[: len(start)] for clip, start in zip(views.technical_NT, technical_start, strict=True)
    ] == technical_start
    assert views.aesthetic_T[: len(aesthetic_start)] == aesthetic_start
    assert all(len(clip) == 32 and max(clip) < total for clip in [*views.technical_NT, views.aesthetic_T])


def test_long_videos_draw_their_starts_technical_first() -> None:
    random = np.random.RandomState(0)
    starts, offsets = random.randint(0, 1000 // 3 - 64, 3), random.randint(0, 1000 // 32 - 2, 32)
    views = dover.choose_frames(1000, False)
    assert [clip[0] for clip in views.technical_NT] == [
        (333 * c + start) % 1000 for c, start in enumerate(starts)
    ]
    assert views.aesthetic_T == [31 * i + offset for i, offset in enumerate(offsets)]


def test_time_has_a_direction_and_the_same_seed_gives_the_same_score(tiny: State, tmp_path: Path) -> None:
    video = moving_video(8, 224, 224)
    first, again, backwards = (
        towers_at(tmp_path, STRICT).get("dover").scores(clip)
        for clip in (video, video, Video(video.frames_TYX3[::-1]))
    )
    assert first["technical"] == again["technical"]
    assert relative(backwards["technical"], first["technical"]) > 1e-5


def test_antialias_changes_only_the_aesthetic_branch(tiny: State, tmp_path: Path) -> None:
    video = moving_video(2, 448, 448)
    plain, smooth = (
        towers_at(tmp_path, replace(STRICT, dover_antialias=flag)).get("dover").scores(video)
        for flag in (False, True)
    )
    assert plain["technical"] == smooth["technical"]
    assert plain["aesthetic"] != smooth["aesthetic"]


def test_a_missing_fragment_table_is_named(tiny: State, tmp_path: Path) -> None:
    key = "technical_backbone.layers.1.blocks.0.attn.fragment_position_bias_table"
    write_weights(tmp_path, "dover", {name: value for name, value in tiny.items() if name != key})
    with pytest.raises(ModelError, match=f"{key} is missing"):
        towers_at(tmp_path, STRICT).get("dover").scores(moving_video(2))
