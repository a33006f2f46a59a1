"""GMFlow's network: two pictures' features, mixed by attention and matched against each other.

Source: Xu et al. 2022 (haofeixu/gmflow), one scale without refinement, as trained for Sintel. Shape
letters: B images or windows, P pairs, Y X positions at an eighth of the size, N = Y * X, C = 128 channels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours
WIDTHS, BLOCKS, MULTIPLE, SPLITS = (64, 96, 128), 6, 16, 2


class Residual(nn.Module):
    """Two convolutions with parameter-free instance norms, beside a shortcut that is projected where the
    shape changes.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.downsample = (
            nn.Sequential(nn.Conv2d(before, after, 1, stride)) if stride != 1 or before != after else None
        )

    def forward(self, x_BCYX: Tensor) -> Tensor:
        inner = F.relu(F.instance_norm(self.conv1(x_BCYX)))
        inner = F.relu(F.instance_norm(self.conv2(inner)))
        shortcut = x_BCYX if self.downsample is None else F.instance_norm(self.downsample(x_BCYX))
        return F.relu(shortcut + inner)


class Encoder(nn.Module):
    """Features of an image at an eighth of its size."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third = WIDTHS
        self.conv1 = nn.Conv2d(3, first, 7, 2, 3, bias=False)
        self.layer1 = nn.Sequential(Residual(first, first, 1), Residual(first, first, 1))
        self.layer2 = nn.Sequential(Residual(first, second, 2), Residual(second, second, 1))
        self.layer3 = nn.Sequential(Residual(second, third, 2), Residual(third, third, 1))
        self.conv2 = nn.Conv2d(third, third, 1)

    def forward(self, image_B3YX: Tensor) -> Tensor:
        return self.conv2(
            self.layer3(self.layer2(self.layer1(F.relu(F.instance_norm(self.conv1(image_B3YX))))))
        )


class Attention(nn.Module):
    """Single-head attention inside windows, with or without a feed-forward part; no biases but the norms'."""

    def __init__(self, width: int, has_ffn: bool) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.merge = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )
        self.norm1 = nn.LayerNorm(width)
        self.has_ffn = has_ffn
        if has_ffn:
            self.mlp = nn.Sequential(
                nn.Linear(2 * width, 8 * width, bias=False),
                nn.GELU(),
                nn.Linear(8 * width, width, bias=False),
            )
            self.norm2 = nn.LayerNorm(width)

    def forward(self, x_BYXC: Tensor, other_BYXC: Tensor, is_shifted: bool) -> Tensor:
        """x attends to `other`; shifted windows start half a window later and wrap around."""
        query, key, value = (
            _to_windows(part, is_shifted)
            for part in (self.q_proj(x_BYXC), self.k_proj(other_BYXC), self.v_proj(other_BYXC))
        )
        mask = _shift_mask(*x_BYXC.shape[1:3]).to(x_BYXC) if is_shifted else None
        if mask is not None:
            mask = mask.repeat(len(x_BYXC), 1, 1)
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        message = self.norm1(self.merge(_from_windows(seen, x_BYXC.shape, is_shifted)))
        if self.has_ffn:
            message = self.norm2(self.mlp(torch.cat([x_BYXC, message], -1)))
        return x_BYXC + message


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, has_ffn=False)
        self.cross_attn_ffn = Attention(width, has_ffn=True)

    def forward(self, x_BYXC: Tensor, is_shifted: bool) -> Tensor:
        """Both images of a pair at once, (2, Y, X, C): each attends to itself and then to the other one as it
        came in.
        """
        return self.cross_attn_ffn(self.self_attn(x_BYXC, x_BYXC, is_shifted), x_BYXC.flip(0), is_shifted)


class GmflowNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        width = WIDTHS[-1]
        self.backbone = Encoder()
        self.transformer = nn.ModuleDict({"layers": nn.ModuleList(Block(width) for _ in range(BLOCKS))})
        self.feature_flow_attn = nn.ModuleDict(
            {"q_proj": nn.Linear(width, width), "k_proj": nn.Linear(width, width)}
        )
        self.upsampler = nn.Sequential(
            nn.Conv2d(2 + width, 256, 3, 1, 1), nn.ReLU(), nn.Conv2d(256, 9 * 64, 1)
        )

    def mix(self, first_1CYX: Tensor, second_1CYX: Tensor) -> Tensor:
        """The features of a pair after the transformer, (2, Y, X, C).

        Exchanging the images exchanges the rows.
        """
        x_2YXC = torch.cat([first_1CYX, second_1CYX]).permute(0, 2, 3, 1)
        x_2YXC = x_2YXC + _positions(x_2YXC.shape[1], x_2YXC.shape[2], x_2YXC.shape[3]).to(x_2YXC)
        for index, block in enumerate(self.transformer["layers"]):
            x_2YXC = block(x_2YXC, is_shifted=index % 2 == 1)
        return x_2YXC

    def match(self, first_YXC: Tensor, second_YXC: Tensor) -> Tensor:
        """The flow (2, 8 Y, 8 X) from the first image to the second: matched, propagated, enlarged."""
        rows, columns, _ = first_YXC.shape
        grid_N2 = _grid(rows, columns).to(first_YXC)
        first_NC, second_NC = first_YXC.flatten(0, 1), second_YXC.flatten(0, 1)
        flow_N2 = _attend(first_NC, second_NC, grid_N2) - grid_N2
        query_NC = self.feature_flow_attn["q_proj"](first_NC)
        key_NC = self.feature_flow_attn["k_proj"](
            query_NC
        )  # of the projected query, as in the released weights
        flow_2YX = _attend(query_NC, key_NC, flow_N2).T.reshape(2, rows, columns)
        return self._enlarge(flow_2YX, first_YXC.permute(2, 0, 1))

    def _enlarge(self, flow_2YX: Tensor, features_CYX: Tensor) -> Tensor:
        """Convex combination of the nine neighbours, with weights of its own for each of the 8 x 8 new
        pixels.
        """
        _, rows, columns = flow_2YX.shape
        weights = (
            self.upsampler(torch.cat([flow_2YX, features_CYX])[None]).view(9, 8, 8, rows, columns).softmax(0)
        )
        neighbours = F.unfold(8 * flow_2YX[None], 3, padding=1).view(2, 9, 1, 1, rows, columns)
        return (weights * neighbours).sum(1).permute(0, 3, 1, 4, 2).reshape(2, 8 * rows, 8 * columns)


def _attend(query_NC: Tensor, key_NC: Tensor, value_N2: Tensor) -> Tensor:
    return (query_NC @ key_NC.T / math.sqrt(query_NC.shape[1])).softmax(-1) @ value_N2


def _grid(rows: int, columns: int) -> Tensor:
    """Column and row of each position, (N, 2)."""
    down, right = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([right, down], -1).flatten(0, 1).float()


def _positions(rows: int, columns: int, width: int) -> Tensor:
    """Sines of row and column (Y, X, C), which start anew in each window."""
    parts = []
    for side, axis in ((rows // SPLITS, 0), (columns // SPLITS, 1)):
        place = torch.arange(1, side + 1, dtype=torch.float32) / (side + 1e-6) * 2 * math.pi
        angle = place[:, None] / 10000 ** (torch.arange(0, width // 2, 2) / (width // 2))
        waves = torch.stack([angle.sin(), angle.cos()], -1).flatten(1).repeat(SPLITS, 1)
        parts.append(waves.unsqueeze(1 - axis).expand(rows, columns, -1))
    return torch.cat(parts, -1)


def _to_windows(x_BYXC: Tensor, is_shifted: bool) -> Tensor:
    """(B, Y, X, C) to (4 B, N / 4, C)."""
    height, width = x_BYXC.shape[1] // SPLITS, x_BYXC.shape[2] // SPLITS
    if is_shifted:
        x_BYXC = x_BYXC.roll((-(height // 2), -(width // 2)), (1, 2))
    return (
        x_BYXC.unflatten(2, (SPLITS, width))
        .unflatten(1, (SPLITS, height))
        .permute(0, 1, 3, 2, 4, 5)
        .flatten(0, 2)
        .flatten(1, 2)
    )


def _from_windows(windows_BNC: Tensor, shape: torch.Size, is_shifted: bool) -> Tensor:
    height, width = shape[1] // SPLITS, shape[2] // SPLITS
    x_BYXC = (
        windows_BNC.view(shape[0], SPLITS, SPLITS, height, width, -1).permute(0, 1, 3, 2, 4, 5).reshape(shape)
    )
    return x_BYXC.roll((height // 2, width // 2), (1, 2)) if is_shifted else x_BYXC


def _shift_mask(rows: int, columns: int) -> Tensor:
    """-100 between positions that a shifted window joins from opposite borders, (4, N / 4, N / 4)."""
    regions = torch.zeros(1, rows, columns, 1)
    for axis, side in ((1, rows), (2, columns)):
        window, place = side // SPLITS, torch.arange(side)
        region = (place >= side - window).int() + (place >= side - window // 2).int()
        regions = regions * 3 + region.view(*(-1 if axis == other else 1 for other in range(4)))
    seen_4N = _to_windows(regions, is_shifted=False)[..., 0]
    return torch.where(seen_4N[:, :, None] == seen_4N[:, None], 0.0, -100.0)


def padding(rows: int, columns: int) -> tuple[int, int, int, int]:
    """What makes both sides multiples of 16, for `F.pad`: left, right, above, below; the odd pixel goes right
    and below.
    """
    down, right = -rows % MULTIPLE, -columns % MULTIPLE
    return right // 2, right - right // 2, down // 2, down - down // 2


@torch.inference_mode()
def flow_between(net: GmflowNet, a_13YX: Tensor, b_13YX: Tensor) -> Tensor:
    """The flow (2, Y, X) in pixels from one picture to another, colours in 0..1.

    Sides that are not multiples of 16 are padded by repeating the border, and the flow is cropped back.
    """
    rows, columns = a_13YX.shape[-2:]
    left, right, above, below = padding(rows, columns)
    mean, std = (a_13YX.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    first, second = (
        net.backbone(F.pad((one - mean) / std, (left, right, above, below), mode="replicate"))
        for one in (a_13YX, b_13YX)
    )
    return net.match(*net.mix(first, second))[:, above : above + rows, left : left + columns]
