"""Train the judge: a small convolutional classifier that reads the fields of a drawn picture.

It shares nothing with the models it judges: no codec, no text, its own weights and its own
scenes. Its pictures are blurred and noisy to a random degree, since what it will judge is not
as crisp as what it learns from. Its accuracy is printed beside every verdict.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vedit.data import scenes
from vedit.models.shapes.judge import JUDGED, Judge
from vedit.training import shapes
from vedit.training.loop import seeded


class JudgeTask:
    """Cross-entropy of each field on softened pictures of every composition."""

    def __init__(self, *, seed: int, batch: int = 64, device: str = "cpu", precision: str = "fp32") -> None:
        torch.manual_seed(seed)
        self.model = Judge().to(device)
        self.seed, self.batch, self.precision = seed, batch, precision
        self.device = torch.device(device)
        self.config: dict[str, Any] = {"batch": batch, "digits": shapes.DIGIT_SHARE, "precision": precision}

    def pictures(self, step: int) -> int:
        return self.batch

    def losses(self, step: int) -> dict[str, Tensor]:
        generator = seeded(self.seed, 6, step, self.device)
        batch = scenes.sample(self.batch, generator, held_out=None, digits=shapes.DIGIT_SHARE)
        time_B = torch.rand(self.batch, generator=generator, device=self.device)
        pictures_BCYX = soften(scenes.draw(batch, time_B), generator)
        with shapes.precision(self.device, self.precision):
            logits = self.model(pictures_BCYX)
        losses = {name: functional.cross_entropy(logits[name].float(), batch.fields[name]) for name in JUDGED}
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}

    def measure(self, model: nn.Module, step: int) -> dict[str, Any]:
        shares = {**judge_accuracy(model, 512), "digit": judge_accuracy(model, 512, digits=1.0)["shape"]}
        return {name: round(value, 4) for name, value in shares.items()}


def soften(pictures_BCYX: Tensor, generator: torch.Generator) -> Tensor:
    """Blur each picture by 0 to 1.2 pixels and add noise of deviation 0 to 0.06."""
    count, device = len(pictures_BCYX), pictures_BCYX.device
    sigma_B1 = 0.05 + 1.15 * torch.rand(count, 1, generator=generator, device=device)
    offsets = torch.arange(-3, 4, device=device)
    kernel_BK = torch.softmax(-0.5 * (offsets / sigma_B1).square(), dim=1).repeat_interleave(3, dim=0)
    maps = pictures_BCYX.flatten(0, 1)[None]
    maps = functional.pad(maps, (3, 3, 3, 3), mode="replicate")
    maps = functional.conv2d(maps, kernel_BK[:, None, :, None], groups=3 * count)
    maps = functional.conv2d(maps, kernel_BK[:, None, None, :], groups=3 * count)
    level_B = 0.06 * torch.rand(count, 1, 1, 1, generator=generator, device=device)
    noise = torch.randn(pictures_BCYX.shape, generator=generator, device=device)
    return (maps.view_as(pictures_BCYX) + level_B * noise).clamp(0, 1)


@torch.no_grad()
def judge_accuracy(model: Judge, count: int, seed: int = 9_000_002, digits: float = 0.0) -> dict[str, float]:
    """Return the share of held-out scenes, as drawn, whose fields the judge reads right.

    digits: the share of scenes that show a digit.
    """
    device = next(model.parameters()).device
    generator = seeded(seed, 0, 0, device)
    batch = scenes.sample(count, generator, held_out=True, digits=digits)
    pictures_BCYX = scenes.draw(batch, torch.rand(count, generator=generator, device=device))
    noise = torch.randn(pictures_BCYX.shape, generator=generator, device=device)
    said = model.verdict(scenes.add_grain(pictures_BCYX, batch, noise))
    return {name: float((said[name] == batch.fields[name]).float().mean()) for name in JUDGED}
