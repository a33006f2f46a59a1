"""The hybrid loss: distance of the prediction, and distance of what it implies as VGG sees it.

    L_pix  = mean |target - output|   (l1)   or mean squared   (l2)
    L_perc = sum_l w_l mean | phi_l(x0hat) - phi_l(x0) |
    L      = L_pix + lambda * mean_B( g(t) L_perc )

Source: seed 004, section 2.1.2, whose formulas are lost; Johnson et al. 2016, eq. 2, with the
absolute difference. x0hat is the x0 that the output stands for; it is not clamped, which would
take its gradient. Our choices, where the seed is silent: g, which it does not have, keeps the
late timesteps, where x0hat explodes, from deciding everything; lambda.

Shape letters: B clips, C channels, F frames, Y X rows and columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vedit.models.alpha_bar import AlphaBar
from vedit.training.vgg import Vgg

BALANCE = (1e-3, 10.0)  # the balanced lambda stays between these


@dataclass(frozen=True)
class HybridLoss:
    """What a clip's prediction costs.

    pixel: "l1" or "l2". weight: lambda. vgg: None when lambda is 0. mode: "fixed" takes lambda as
    it is; "balanced" multiplies it by L_pix / L_perc of the batch, without gradient, within
    BALANCE. timesteps: g(t), "abar", "cut" (1 below `cut_below` of the schedule, else 0) or "all".
    """

    schedule: AlphaBar
    pixel: str = "l2"
    weight: float = 0.0
    mode: str = "fixed"
    timesteps: str = "abar"
    cut_below: float = 0.5
    layer_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)
    vgg: Vgg | None = None

    def __call__(
        self, output: Tensor, noisy: Tensor, x0: Tensor, noise: Tensor, timestep_B: Tensor, frames_BK: Tensor
    ) -> dict[str, Tensor]:
        """The loss and its parts; the clips are (B, 3, F, Y, X), all float32.

        frames_BK: which K frames of each clip VGG looks at.
        """
        level = self.schedule.alpha_bar.to(x0.device, x0.dtype)[timestep_B]
        level_B1111 = level[:, None, None, None, None]
        error = output - self.schedule.target(x0, noise, level_B1111)
        pixel = error.abs().mean() if self.pixel == "l1" else error.square().mean()
        if self.vgg is None:
            return {"loss": pixel, "l_pix": pixel}
        guess = self.schedule.to_x0(output, noisy, level_B1111)
        per_clip_B = perceptual(
            self.vgg, self.layer_weights, frames_of(guess, frames_BK), frames_of(x0, frames_BK)
        )
        seen = (self.share(timestep_B, level) * per_clip_B).mean()
        return {"loss": pixel + self._lambda(pixel, seen) * seen, "l_pix": pixel, "l_perc": seen}

    def share(self, timestep_B: Tensor, level_B: Tensor) -> Tensor:
        """g(t) of each clip."""
        if self.timesteps == "abar":
            return level_B
        if self.timesteps == "all":
            return torch.ones_like(level_B)
        return (timestep_B < self.cut_below * self.schedule.train_steps).to(level_B.dtype)

    def _lambda(self, pixel: Tensor, seen: Tensor) -> Tensor | float:
        if self.mode == "fixed":
            return self.weight
        return (self.weight * pixel.detach() / seen.detach().clamp(min=1e-12)).clamp(*BALANCE)


def perceptual(vgg: Vgg, weights: Sequence[float], guess_BKCYX: Tensor, truth_BKCYX: Tensor) -> Tensor:
    """L_perc of each clip, (B,): weighted mean absolute differences of features."""
    batch = len(guess_BKCYX)
    ours = vgg(guess_BKCYX.flatten(0, 1))
    with torch.no_grad():
        theirs = vgg(truth_BKCYX.flatten(0, 1))
    return torch.stack(
        [
            w * (a - b).abs().unflatten(0, (batch, -1)).flatten(1).mean(1)
            for w, a, b in zip(weights, ours, theirs, strict=True)
        ]
    ).sum(0)


def frames_of(clip_BCFYX: Tensor, frames_BK: Tensor) -> Tensor:
    """The K frames of each clip that are named, (B, K, C, Y, X)."""
    rows = torch.arange(len(clip_BCFYX), device=clip_BCFYX.device)[:, None]
    return clip_BCFYX.transpose(1, 2)[rows, frames_BK]
