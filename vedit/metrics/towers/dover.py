"""DOVER: technical and aesthetic quality of a video.

Source: Wu et al. 2023 (VQAssessment/DOVER). The technical branch is a Video Swin-T over fragments, small
squares cut out at native resolution, with torchvision's blocks; the aesthetic branch is a ConvNeXt-T with
time.
Shape letters: N clips, W windows, H heads, M tokens of a window, D Y X frames (in pairs), rows, columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vedit.metrics.towers.features import Features
from vedit.metrics.towers.tower import Part, Tower, empty, renamed, same_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vedit.metrics.towers.tower import State
    from vedit.metrics.types import Pixels, Video

MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
FRAMES, CLIPS, CELLS, CELL = 32, 3, 7, 32
SIDE = CELLS * CELL


@dataclass(frozen=True)
class DoverConfig:
    """Sizes of both branches."""

    swin_width: int = 96
    swin_depths: tuple[int, ...] = (2, 2, 6, 2)
    swin_heads: tuple[int, ...] = (3, 6, 12, 24)
    window: tuple[int, int, int] = (8, 7, 7)
    conv_widths: tuple[int, ...] = (96, 192, 384, 768)
    conv_depths: tuple[int, ...] = (3, 3, 9, 3)
    hidden: int = 64


CONFIG = DoverConfig()


class Views(NamedTuple):
    """Frame indices of both branches, and what they were drawn by."""

    technical_NT: list[list[int]]
    aesthetic_T: list[int]


def choose_frames(total: int, is_strict: bool) -> Views:
    """Which frames each branch sees.

    As V2VBench: three clips of every other frame, and one frame out of each 32nd of the video; indices wrap
    around, so that the aesthetic branch sees only the first frame of a video shorter than 32.
    Strict: 32 frames spread over the video for both, one clip (three would be equal).
    """
    if is_strict:
        spread = [index * total // FRAMES for index in range(FRAMES)]
        return Views([spread], spread)
    random = np.random.RandomState(0)
    third, share = total // CLIPS, total // FRAMES
    starts = random.randint(0, third - 2 * FRAMES, CLIPS) if third > 2 * FRAMES else np.zeros(CLIPS, int)
    offsets = random.randint(0, share - 2, FRAMES) if share > 2 else np.zeros(FRAMES, int)
    technical = [[int((2 * k + c * third + starts[c]) % total) for k in range(FRAMES)] for c in range(CLIPS)]
    return Views(technical, [int((share * i + offsets[i]) % total) for i in range(FRAMES)])


def normalised(frames_TYX3: Pixels) -> Tensor:
    """Frames of any size as (3, T, Y, X), float32."""
    pixels_3TYX = torch.from_numpy(np.ascontiguousarray(frames_TYX3)).permute(3, 0, 1, 2).float()
    return (pixels_3TYX - torch.tensor(MEAN).view(3, 1, 1, 1)) / torch.tensor(STD).view(3, 1, 1, 1)


def fragments(
    frames_TYX3: Pixels, clips_NT: Sequence[Sequence[int]], *, is_strict: bool = False
) -> Iterator[Tensor]:
    """Cut 7 x 7 cells of 32 x 32 pixels out of each clip at native resolution and join them: (3, T, 224,
    224).

    Each cell and clip has an offset of its own, from one generator seeded with 0, rows before columns; the
    published code draws from an unseeded one, so that its scores change from run to run. A clip below 224
    pixels is enlarged first. As published, the cells' origins and offsets are nevertheless those of the size
    before, so that they lie in the upper left of the enlarged frames; strict takes the size after. A side
    below 32 pixels, at which the published code fails, has all its origins at 0.
    """
    generator = torch.Generator().manual_seed(0)
    down = right = None
    for n, indices in enumerate(clips_NT):
        distinct, back = np.unique(indices, return_inverse=True)
        clip = enlarged(normalised(frames_TYX3[distinct]))
        size = (clip.shape[2], clip.shape[3]) if is_strict else frames_TYX3.shape[1:3]
        if down is None or right is None:
            down, right = (_offsets(side // CELLS - CELL, len(clips_NT), generator) for side in size)
        yield _join(clip, size, down[:, :, n], right[:, :, n])[:, back]


def enlarged(clip_3TYX: Tensor) -> Tensor:
    """A clip whose shorter side is below 224 enlarged to that, bilinearly, by one factor for both sides."""
    ratio = min(clip_3TYX.shape[2] / SIDE, clip_3TYX.shape[3] / SIDE)
    return F.interpolate(clip_3TYX, scale_factor=1 / ratio, mode="bilinear") if ratio < 1 else clip_3TYX


def _offsets(free: int, clips: int, generator: torch.Generator) -> Tensor:
    shape = (CELLS, CELLS, clips)
    return (
        torch.randint(free, shape, generator=generator) if free > 0 else torch.zeros(shape, dtype=torch.long)
    )


def _join(clip_3TYX: Tensor, size: Sequence[int], down_IJ: Tensor, right_IJ: Tensor) -> Tensor:
    rows, columns = size
    joined = clip_3TYX.new_empty(*clip_3TYX.shape[:2], SIDE, SIDE)
    for i in range(CELLS):
        for j in range(CELLS):
            top = max(0, min(rows // CELLS * i, rows - CELL)) + int(down_IJ[i, j])
            left = max(0, min(columns // CELLS * j, columns - CELL)) + int(right_IJ[i, j])
            joined[:, :, i * CELL : (i + 1) * CELL, j * CELL : (j + 1) * CELL] = clip_3TYX[
                :, :, top : top + CELL, left : left + CELL
            ]
    return joined


class Windows(NamedTuple):
    """The tokens of each window of a map, (W, M): their places in the flattened map, and which of three sides
    they wrapped around.

    gate_Wmm: how many cells of the 7 x 7 grid lie between two tokens of one frame, summed over both axes. It
    is not clamped to 1 in the published code, so that values up to 6 occur in the trained weights.
    """

    place_WM: Tensor
    side_WM: Tensor
    gate_Wmm: Tensor


@cache
def windows_of(size: tuple[int, int, int], window: tuple[int, int, int], is_shifted: bool) -> Windows:
    """Cut a map into windows; shifted ones start half a window later and wrap around, except along an axis
    with one window.
    """
    assert all(side % part == 0 for side, part in zip(size, window))
    place, side_of, cells = torch.zeros((), dtype=torch.long), torch.zeros((), dtype=torch.long), []
    for axis, (side, part) in enumerate(zip(size, window)):
        start = torch.arange(side) + (part // 2 if is_shifted and side > part else 0)
        shape = [-1 if other % 3 == axis else 1 for other in range(6)]
        shape[axis] = side // part
        place = place * side + (start % side).view(shape)
        side_of = side_of * 2 + (start >= side).view(shape)
        if axis > 0:
            cells.append(
                ((start % side) * CELLS // side)
                .view(shape)
                .expand(*(n // w for n, w in zip(size, window)), 1, *window[1:])
            )
    cells_2Wm = torch.stack([cell.flatten(0, 2).flatten(1) for cell in cells])
    gate = (cells_2Wm[:, :, :, None] - cells_2Wm[:, :, None]).abs().sum(0)
    return Windows(place.flatten(0, 2).flatten(1), side_of.flatten(0, 2).flatten(1), gate.float())


@cache
def relative_index(window: tuple[int, int, int]) -> Tensor:
    """For each two tokens of a window the row of the bias table that belongs to their offset, (M, M)."""
    token_M3 = torch.cartesian_prod(*(torch.arange(side) for side in window))
    offset_MM3 = token_M3[:, None] - token_M3[None] + torch.tensor(window) - 1
    spans = [2 * side - 1 for side in window]
    return (offset_MM3[..., 0] * spans[1] + offset_MM3[..., 1]) * spans[2] + offset_MM3[..., 2]


class FragmentAttention(nn.Module):
    """Window attention with a bias g * relative + (1 - g) * fragment, g the distance of the tokens' cells.

    The signature is that of torchvision's window attention. Windows are taken one by one, so that the bias of
    each, which is different, stays in the cache of the processor: five times faster than with all of them at
    once.
    """

    def __init__(
        self,
        dim: int,
        window_size: list[int],
        shift_size: list[int],
        num_heads: int,
        attention_dropout: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.window, self.is_shifted, self.heads = tuple(window_size), any(shift_size), num_heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        rows = int(np.prod([2 * side - 1 for side in window_size]))
        self.relative_position_bias_table = nn.Parameter(torch.empty(rows, num_heads))
        self.register_parameter("fragment_position_bias_table", None)

    def forward(self, x_NDYXC: Tensor) -> Tensor:
        parts = windows_of(tuple(x_NDYXC.shape[1:4]), self.window, self.is_shifted)
        qkv_NLC = self.qkv(x_NDYXC).flatten(1, 3)
        seen_NLC = torch.empty_like(x_NDYXC).flatten(1, 3)
        relative_HMM = self._by_offset(self.relative_position_bias_table)
        fragment_HMM = (
            None
            if self.fragment_position_bias_table is None
            else self._by_offset(self.fragment_position_bias_table)
        )
        for place, side, gate in zip(*(part.to(x_NDYXC.device) for part in parts)):
            bias = relative_HMM
            if fragment_HMM is not None:
                bias = fragment_HMM + gate.repeat(self.window[0], self.window[0]) * (
                    relative_HMM - fragment_HMM
                )
            if self.is_shifted:
                bias = bias.where(side[:, None] == side[None], bias - 100)
            q, k, v = qkv_NLC[:, place].unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
            seen_NLC[:, place] = (
                F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)
            )
        return self.proj(seen_NLC).view_as(x_NDYXC)

    def _by_offset(self, table: Tensor) -> Tensor:
        return table[relative_index(self.window).to(table.device)].permute(2, 0, 1).contiguous()


class Technical(nn.Module):
    """Video Swin-T with fragment biases in all stages but the last; gives the normed map, channels last."""

    def __init__(self, config: DoverConfig) -> None:
        from torchvision.models.swin_transformer import PatchMerging, SwinTransformerBlock
        from torchvision.models.video.swin_transformer import PatchEmbed3d

        super().__init__()
        norm = partial(nn.LayerNorm, eps=1e-5)
        last = len(config.swin_depths) - 1
        self.patch_embed = PatchEmbed3d(patch_size=[2, 4, 4], embed_dim=config.swin_width, norm_layer=norm)
        self.features = nn.Sequential()
        for stage, (depth, heads) in enumerate(zip(config.swin_depths, config.swin_heads)):
            width = config.swin_width * 2**stage
            shifts = [
                [0, 0, 0] if block % 2 == 0 else [side // 2 for side in config.window]
                for block in range(depth)
            ]
            blocks = [
                SwinTransformerBlock(
                    width, heads, list(config.window), shift, norm_layer=norm, attn_layer=FragmentAttention
                )
                for shift in shifts
            ]
            if stage < last:
                for block in blocks:
                    block.attn.fragment_position_bias_table = nn.Parameter(
                        torch.empty_like(block.attn.relative_position_bias_table)
                    )
            self.features.append(nn.Sequential(*blocks))
            if stage < last:
                self.features.append(PatchMerging(width, norm))
        self.norm = norm(config.swin_width * 2**last)

    def forward(self, clips_N3TYX: Tensor) -> Tensor:
        return self.norm(self.features(self.patch_embed(clips_N3TYX)))


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of a map, (N, C, D, Y, X)."""

    def forward(self, map_NCDYX: Tensor) -> Tensor:
        return super().forward(map_NCDYX.movedim(1, -1)).movedim(-1, 1)


class ConvBlock(nn.Module):
    """A ConvNeXt block; every third one, from the second on, sees the neighbouring frames."""

    def __init__(self, width: int, index: int) -> None:
        super().__init__()
        depth = 3 if index % 3 == 1 else 1
        self.dwconv = nn.Conv3d(width, width, (depth, 7, 7), padding=(depth // 2, 3, 3), groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1 = nn.Linear(width, 4 * width)
        self.pwconv2 = nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.empty(width))

    def forward(self, map_NCDYX: Tensor) -> Tensor:
        mixed = self.norm(self.dwconv(map_NCDYX).movedim(1, -1))
        return map_NCDYX + (self.gamma * self.pwconv2(F.gelu(self.pwconv1(mixed)))).movedim(-1, 1)


class Aesthetic(nn.Module):
    """ConvNeXt-T over (time, rows, columns); gives the normed map, channels last."""

    def __init__(self, config: DoverConfig) -> None:
        super().__init__()
        widths = config.conv_widths
        self.downsample_layers = nn.ModuleList(
            [nn.Sequential(nn.Conv3d(3, widths[0], (2, 4, 4), (2, 4, 4)), ChannelNorm(widths[0], eps=1e-6))]
        )
        for before, after in pairwise(widths):
            self.downsample_layers.append(
                nn.Sequential(ChannelNorm(before, eps=1e-6), nn.Conv3d(before, after, (1, 2, 2), (1, 2, 2)))
            )
        self.stages = nn.ModuleList(
            nn.Sequential(*(ConvBlock(width, j) for j in range(depth)))
            for width, depth in zip(widths, config.conv_depths)
        )
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)

    def forward(self, clips_N3TYX: Tensor) -> Tensor:
        for downsample, stage in zip(self.downsample_layers, self.stages):
            clips_N3TYX = stage(downsample(clips_N3TYX))
        return self.norm(clips_N3TYX.movedim(1, -1))


class Head(nn.Module):
    """Two layers at each position of the map, then their mean."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc_hid = nn.Linear(width, hidden)
        self.fc_last = nn.Linear(hidden, 1)

    def forward(self, map_NDYXC: Tensor) -> Tensor:
        """A score by clip, (N,)."""
        return self.fc_last(F.gelu(self.fc_hid(map_NDYXC))).float().mean((1, 2, 3, 4))


class DoverNet(nn.Module):
    def __init__(self, config: DoverConfig) -> None:
        super().__init__()
        self.technical_backbone = Technical(config)
        self.aesthetic_backbone = Aesthetic(config)
        self.technical_head = Head(config.swin_width * 2 ** (len(config.swin_depths) - 1), config.hidden)
        self.aesthetic_head = Head(config.conv_widths[-1], config.hidden)


class DoverTower(Tower):
    half_is_safe = False

    def build(self, state: State) -> nn.Module:
        return self.ready(
            empty(lambda: DoverNet(CONFIG)), state, layout, ignore=(r".*\.relative_position_index",)
        )

    def scores(self, video: Video) -> Features:
        """Raw scores: `technical` by clip, (1 or 3,), and `aesthetic` (1,)."""
        how = (
            f"{'strict' if self.options.is_strict else 'v2vbench'}, antialias {self.options.dover_antialias},"
            f" fragments seeded 0, places of the size {'after' if self.options.is_strict else 'before'}"
        )
        return self.kept(lambda: self._scores(video.frames_TYX3), "scores", how, video.digest)

    def _scores(self, frames_TYX3: Pixels) -> Features:
        views = choose_frames(len(frames_TYX3), self.options.is_strict)
        net = self.net
        technical = [
            net.technical_head(net.technical_backbone(self._batch(clip)))
            for clip in fragments(frames_TYX3, views.technical_NT, is_strict=self.options.is_strict)
        ]
        aesthetic = net.aesthetic_head(
            net.aesthetic_backbone(self._batch(self._small(frames_TYX3, views.aesthetic_T)))
        )
        return {"technical": torch.cat(technical).cpu().numpy(), "aesthetic": aesthetic.cpu().numpy()}

    def _small(self, frames_TYX3: Pixels, indices: Sequence[int]) -> Tensor:
        """The frames of the aesthetic branch, (3, T, 224, 224), the aspect not kept."""
        distinct, back = np.unique(indices, return_inverse=True)
        small = F.interpolate(
            normalised(frames_TYX3[distinct]),
            size=(SIDE, SIDE),
            mode="bilinear",
            antialias=self.options.dover_antialias,
        )
        return small[:, back]

    def _batch(self, clip_3TYX: Tensor) -> Tensor:
        return clip_3TYX[None].to(self.device, self.dtype)


_NAMES = renamed([(r"\.mlp\.0\.", ".mlp.fc1."), (r"\.mlp\.3\.", ".mlp.fc2.")])


def layout(name: str, shape: tuple[int, ...]) -> Part:
    """The file's names: `layers.L.blocks.B` and `layers.L.downsample`; heads are 1 x 1 x 1 convolutions."""
    part, _, rest = name.partition(".features.")
    if rest:
        index, _, rest = rest.partition(".")
        stage, is_merge = divmod(int(index), 2)
        return same_names(
            _NAMES(f"{part}.layers.{stage}.{'downsample' if is_merge else 'blocks'}.{rest}"), shape
        )
    if "_head." in name and name.endswith("weight"):
        return Part((name,), (*shape, 1, 1, 1), lambda tensor: tensor[:, :, 0, 0, 0])
    return same_names(name, shape)
