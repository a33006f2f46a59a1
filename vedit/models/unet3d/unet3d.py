"""The denoiser of the text-to-video generator: a 3D U-Net whose layers see space or time, never both.

Source: Ho et al. 2022, Video Diffusion Models, section 3 (factorised space-time attention), in
the form of the public code that seed 004 improves (text2video-from-scratch). Ours: AdaGN instead
of one shared scale and shift, the last convolution starts at zero, an optional temporal
convolution, position by bias alone, and statistics per frame.

Shape letters: B clips, C channels, F frames, Y X rows and columns, N heads, S positions
attended over, D head width, E embedding width.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vedit.errors import UsageError
from vedit.models.unet3d.adagn import AdaGN, zero

BUCKETS = 32  # of relative distance, half of them per sign
FARTHEST = 32  # frames; distances beyond share the last bucket


class UNet3D(nn.Module):
    """Predict noise, v or x0 of clips (B, 3, F, Y, X) at timesteps (B,), given text (B, E) or none.

    dim: width of the first level. mults: width of each level as a multiple of it; every level
    but the last halves rows and columns, so sides are multiples of 2^(levels - 1).
    text_width: E, or None for a model without text. position: "bias+rotary" or "bias".
    temporal_conv: a (3,1,1) convolution in each level, the identity at the start. group_limit, norm_scope:
    see AdaGN.
    """

    def __init__(
        self,
        *,
        dim: int = 64,
        mults: Sequence[int] = (1, 2, 4, 8),
        text_width: int | None = None,
        channels: int = 3,
        heads: int = 8,
        head_width: int = 32,
        group_limit: int = 32,
        norm_scope: str = "clip",
        temporal_conv: bool = False,
        position: str = "bias+rotary",
    ) -> None:
        super().__init__()
        time_width = 4 * dim
        self.multiple = 2 ** (len(mults) - 1)
        self.sinusoid_width = 2 * math.ceil(dim / 2)
        self.time_mlp = nn.Sequential(
            nn.Linear(self.sinusoid_width, time_width), nn.GELU(), nn.Linear(time_width, time_width)
        )
        self.null_text = nn.Parameter(torch.randn(text_width)) if text_width is not None else None
        self.position_bias = PositionBias(heads)
        turns = position == "bias+rotary"

        def block(start: int, end: int) -> ResidualBlock:
            return ResidualBlock(start, end, time_width, text_width, group_limit, norm_scope)

        def level(start: int, middle: int, end: int) -> Level:
            return Level(
                block(start, end),
                block(end, end),
                SpatialLinearAttention(end, heads, head_width),
                TemporalConv(end) if temporal_conv else nn.Identity(),
                TemporalAttention(end, heads, head_width, turns),
                middle,
            )

        self.stem = nn.Conv3d(channels, dim, (1, 7, 7), padding=(0, 3, 3))
        self.stem_attention = TemporalAttention(dim, heads, head_width, turns)
        widths = [dim, *(dim * mult for mult in mults)]
        pairs = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(
            level(start, -1 if end_index < len(pairs) - 1 else 0, end)
            for end_index, (start, end) in enumerate(pairs)
        )
        deepest = widths[-1]
        self.middle = Level(
            block(deepest, deepest),
            block(deepest, deepest),
            SpatialAttention(deepest, heads, head_width),
            nn.Identity(),
            TemporalAttention(deepest, heads, head_width, turns),
            0,
        )
        self.up = nn.ModuleList(
            level(2 * end, 1 if index < len(pairs) - 1 else 0, start)
            for index, (start, end) in enumerate(reversed(pairs))
        )
        self.last_block = block(2 * dim, dim)
        self.out = zero(PointConv(dim, channels, 1))

    def forward(
        self,
        noisy_BCFYX: Tensor,
        timestep_B: Tensor,
        text_BE: Tensor | None = None,
        *,
        drop_B: Tensor | None = None,
        present_B: Tensor | None = None,
    ) -> Tensor:
        """drop_B: True puts the learnt null text in place of the caption. present_B: True keeps
        every frame of a clip from seeing the others, so that still pictures can be trained on.
        """
        rows, columns = noisy_BCFYX.shape[-2:]
        if rows % self.multiple or columns % self.multiple:
            raise UsageError(
                f"a picture of {columns}x{rows} does not fit the model.",
                f"Its sides are multiples of {self.multiple}.",
            )
        time_BE = self.time_mlp(sinusoid(timestep_B, self.sinusoid_width).to(self.time_mlp[0].weight.dtype))
        if text_BE is not None and self.null_text is not None and drop_B is not None:
            text_BE = torch.where(drop_B[:, None], self.null_text.to(text_BE.dtype), text_BE)
        bias = self.position_bias(noisy_BCFYX.shape[2], present_B)
        x = self.stem(noisy_BCFYX)
        x = self.stem_attention(x, bias)
        stem, skips = x, []
        for level in self.down:
            x = level(x, time_BE, text_BE, bias)
            skips.append(x)
            x = level.resize(x)
        x = self.middle.first(x, time_BE, text_BE)
        x = self.middle.spatial(x)
        x = self.middle.temporal(x, bias)
        x = self.middle.second(x, time_BE, text_BE)
        for level in self.up:
            x = level.resize(level(torch.cat([x, skips.pop()], dim=1), time_BE, text_BE, bias))
        return self.out(self.last_block(torch.cat([x, stem], dim=1), time_BE, text_BE))


class Level(nn.Module):
    """Two residual blocks, attention over space, then over time; `resize` leads to the next level.

    direction: -1 halves rows and columns, 1 doubles them, 0 leaves them.
    """

    def __init__(
        self,
        first: nn.Module,
        second: nn.Module,
        spatial: nn.Module,
        conv: nn.Module,
        temporal: nn.Module,
        direction: int,
    ) -> None:
        super().__init__()
        self.first, self.second, self.spatial, self.conv, self.temporal = (
            first,
            second,
            spatial,
            conv,
            temporal,
        )
        width = temporal.width
        kinds = {-1: nn.Conv3d, 1: nn.ConvTranspose3d}
        self.resize = (
            kinds[direction](width, width, (1, 4, 4), (1, 2, 2), (0, 1, 1)) if direction else nn.Identity()
        )

    def forward(self, x: Tensor, time_BE: Tensor, text_BE: Tensor | None, bias: Tensor) -> Tensor:
        x = self.second(self.first(x, time_BE, text_BE), time_BE, text_BE)
        return self.temporal(self.conv(self.spatial(x)), bias)


class ResidualBlock(nn.Module):
    """Convolution, AdaGN and SiLU, twice, beside a 1x1x1 skip."""

    def __init__(
        self, start: int, end: int, time_width: int, text_width: int | None, group_limit: int, norm_scope: str
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(start, end, (1, 3, 3), padding=(0, 1, 1))
        self.norm1 = AdaGN(end, time_width, text_width, group_limit=group_limit, norm_scope=norm_scope)
        self.conv2 = nn.Conv3d(end, end, (1, 3, 3), padding=(0, 1, 1))
        self.norm2 = AdaGN(end, time_width, text_width, group_limit=group_limit, norm_scope=norm_scope)
        self.skip = PointConv(start, end, 1) if start != end else nn.Identity()

    def forward(self, x: Tensor, time_BE: Tensor, text_BE: Tensor | None) -> Tensor:
        h = functional.silu(self.norm1(self.conv1(x), time_BE, text_BE))
        h = functional.silu(self.norm2(self.conv2(h), time_BE, text_BE))
        return h + self.skip(x)


class Attention(nn.Module):
    """Residual pre-norm attention of `heads` heads; subclasses choose what attends to what."""

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.width, self.heads, self.head_width = width, heads, head_width
        self.norm = nn.LayerNorm(width, bias=False)
        self.qkv = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.out = nn.Linear(heads * head_width, width)

    def project(self, x_TSC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q, k, v of T independent sequences, (T, S, N, D) each."""
        q, k, v = self.qkv(self.norm(x_TSC)).unflatten(-1, (3, self.heads, self.head_width)).unbind(dim=2)
        return q, k, v


class SpatialLinearAttention(Attention):
    """Attend over the pixels of each frame at a cost linear in them.

    Source: Shen et al. 2021, Efficient Attention, eq. 3: softmax of q over features, of k over positions.
    """

    def forward(self, x_BCFYX: Tensor) -> Tensor:
        q, k, v = self.project(frames_as_sequences(x_BCFYX))
        q, k = q.softmax(dim=-1), k.softmax(dim=1)
        # (q (k v)) W = q ((k v) W): the bracket has one row per feature, not per pixel
        weight_NDC = self.out.weight.T.unflatten(0, (self.heads, self.head_width)) * self.head_width**-0.5
        mix_TNDC = k.permute(0, 2, 3, 1) @ v.transpose(1, 2) @ weight_NDC
        out = q.flatten(2) @ mix_TNDC.flatten(1, 2) + self.out.bias
        return x_BCFYX + sequences_as_frames(out, x_BCFYX)


class SpatialAttention(Attention):
    """Attend over the pixels of each frame, every one to every other."""

    def forward(self, x_BCFYX: Tensor) -> Tensor:
        q, k, v = (x_TSND.transpose(1, 2) for x_TSND in self.project(frames_as_sequences(x_BCFYX)))
        joined_TSE = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x_BCFYX + sequences_as_frames(self.out(joined_TSE), x_BCFYX)


class TemporalAttention(Attention):
    """Attend over the frames at each pixel, knowing how far apart they are."""

    def __init__(self, width: int, heads: int, head_width: int, turns: bool) -> None:
        super().__init__(width, heads, head_width)
        self.turns = turns

    def forward(self, x_BCFYX: Tensor, bias: Tensor) -> Tensor:
        """bias: what PositionBias gives."""
        batch, _, _, rows, columns = x_BCFYX.shape
        q, k, v = (
            x_TSND.transpose(1, 2) for x_TSND in self.project(x_BCFYX.permute(0, 3, 4, 2, 1).flatten(0, 2))
        )
        scale = self.head_width**-0.5
        q, k = (rotated(q, scale), rotated(k)) if self.turns else (q * scale, k)
        logits = (q @ k.mT).unflatten(0, (-1, rows * columns)) + bias[:, None]
        out_TNSD = logits.softmax(dim=-1).to(v.dtype).flatten(0, 1) @ v
        out = self.out(out_TNSD.transpose(1, 2).flatten(2)).unflatten(0, (batch, rows, columns))
        return x_BCFYX + out.permute(0, 4, 3, 1, 2)


class PositionBias(nn.Module):
    """One learnt number per head and bucket of distance, shared by all temporal attention.

    Source: Raffel et al. 2020 (T5), section 2.1, bidirectional: half of the buckets per sign,
    exact below a quarter of them, logarithmic up to FARTHEST.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.weight = nn.Embedding(BUCKETS, heads)

    def forward(self, frames: int, present_B: Tensor | None = None) -> Tensor:
        """The bias (1 or B, N, F, F) of attention from row to column; minus infinity off the
        diagonal of clips that are `present`.
        """
        place = torch.arange(frames, device=self.weight.weight.device)
        bias_1NFF = self.weight(buckets(place[None, :] - place[:, None])).permute(2, 0, 1)[None]
        if present_B is None:
            return bias_1NFF
        others_FF = ~torch.eye(frames, dtype=torch.bool, device=place.device)
        return bias_1NFF.masked_fill(present_B[:, None, None, None] & others_FF, -torch.inf)


def buckets(distance: Tensor) -> Tensor:
    """The bucket of each signed distance in frames."""
    half = BUCKETS // 2
    exact = half // 2
    size = distance.abs()
    share = torch.log(size.clamp(min=1) / exact) / math.log(FARTHEST / exact)
    far = (exact + share * (half - exact)).long().clamp(max=half - 1)
    return torch.where(size < exact, size, far) + half * (distance > 0)


def rotated(x_SD: Tensor, scale: float = 1.0) -> Tensor:
    """Turn each pair of features by an angle that grows with its position; any dimensions may lead.

    scale: what the result is multiplied with.
    Source: Su et al. 2021 (RoFormer), eq. 34, with base 10000. A pair is a complex number here.
    """
    length, width = x_SD.shape[-2:]
    frequency = 10_000 ** (-torch.arange(0, width, 2, device=x_SD.device, dtype=torch.float32) / width)
    angle = torch.arange(length, device=x_SD.device, dtype=torch.float32)[:, None] * frequency
    pairs = torch.view_as_complex(
        x_SD.to(torch.promote_types(x_SD.dtype, torch.float32)).unflatten(-1, (-1, 2))
    )
    return (
        torch.view_as_real(pairs * torch.polar(torch.full_like(angle, scale), angle))
        .flatten(-2)
        .to(x_SD.dtype)
    )


class TemporalConv(nn.Module):
    """Convolve three neighbouring frames; the identity at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(width, width, (3, 1, 1), padding=(1, 0, 0))
        nn.init.dirac_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x_BCFYX: Tensor) -> Tensor:
        plane_BCFP = functional.conv2d(
            x_BCFYX.flatten(3), self.conv.weight.flatten(3), self.conv.bias, padding=(1, 0)
        )
        return plane_BCFP.unflatten(3, x_BCFYX.shape[3:])


class PointConv(nn.Conv3d):
    """A 1x1x1 convolution as one of two dimensions, which CPUs have a fast one for."""

    def forward(self, x_BCFYX: Tensor) -> Tensor:
        return functional.conv2d(x_BCFYX.flatten(3), self.weight.flatten(3), self.bias).unflatten(
            3, x_BCFYX.shape[3:]
        )


def sinusoid(timestep_B: Tensor, width: int) -> Tensor:
    """Sines and cosines of timesteps, (B, width), as in Vaswani et al. 2017 with base 10000."""
    half = width // 2
    frequency = torch.exp(
        torch.arange(half, device=timestep_B.device) * (-math.log(10_000) / max(1, half - 1))
    )
    angle = timestep_B[:, None].float() * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def frames_as_sequences(x_BCFYX: Tensor) -> Tensor:
    """Each frame's pixels as one sequence: (B F, Y X, C)."""
    return x_BCFYX.permute(0, 2, 3, 4, 1).flatten(2, 3).flatten(0, 1)


def sequences_as_frames(x_TSC: Tensor, like_BCFYX: Tensor) -> Tensor:
    batch, _, _, rows, columns = like_BCFYX.shape
    return x_TSC.unflatten(1, (rows, columns)).unflatten(0, (batch, -1)).permute(0, 4, 1, 2, 3)
