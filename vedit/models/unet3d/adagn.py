"""Adaptive group normalisation: time and text scale and shift normalised features.

    e = time MLP(sinusoid(t))
    [a_t ; b_t] = W_t SiLU(e) + w_t,   [a_c ; b_c] = W_c SiLU(c) + w_c
    [a ; b] = tau [a_t ; b_t] + [a_c ; b_c]
    AdaGN(h) = GroupNorm_G(h) (1 + a) + b

Source: seed 004, section 2.1.3, whose formula is lost; Dhariwal & Nichol 2021, section 3 gives it.
Ours: W and w start at zero, so that AdaGN starts as plain GroupNorm; tau is the seed's
`time_scale`; the "dynamic group count" is gcd(group_limit, C).

Shape letters: B clips, C channels, F frames, Y X rows and columns, E embedding width.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class AdaGN(nn.Module):
    """Normalise features of (B, C, F, Y, X) and modulate them by time and, where given, text.

    text_width: None for a model without text. group_limit: most groups there may be.
    norm_scope: "clip" takes statistics over (C/G, F, Y, X); "frame" takes those of each frame
    alone, which makes a frame independent of how many others are sampled with it.
    """

    def __init__(
        self,
        channels: int,
        time_width: int,
        text_width: int | None = None,
        *,
        group_limit: int = 32,
        norm_scope: str = "clip",
    ) -> None:
        super().__init__()
        self.groups = math.gcd(group_limit, channels)
        self.norm_scope = norm_scope
        self.from_time = zero(nn.Linear(time_width, 2 * channels))
        self.from_text = zero(nn.Linear(text_width, 2 * channels)) if text_width is not None else None
        self.time_scale = nn.Parameter(torch.ones(()))

    def forward(self, features_BCFYX: Tensor, time_BE: Tensor, text_BE: Tensor | None = None) -> Tensor:
        scale_shift = self.time_scale * self.from_time(functional.silu(time_BE))
        if self.from_text is not None and text_BE is not None:
            scale_shift = scale_shift + self.from_text(functional.silu(text_BE))
        scale_BC111, shift_BC111 = scale_shift[:, :, None, None, None].chunk(2, dim=1)
        return torch.addcmul(shift_BC111, self.normalised(features_BCFYX), 1 + scale_BC111)

    def normalised(self, features_BCFYX: Tensor) -> Tensor:
        if self.norm_scope == "clip":
            return functional.group_norm(features_BCFYX, self.groups)
        frames_FCYX = features_BCFYX.transpose(1, 2).flatten(0, 1)
        normal = functional.group_norm(frames_FCYX, self.groups)
        return normal.unflatten(0, (len(features_BCFYX), -1)).transpose(1, 2)


def zero(layer: nn.Linear | nn.Conv3d) -> nn.Linear | nn.Conv3d:
    """Set weight and bias to zero; the layer then starts by saying nothing."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
