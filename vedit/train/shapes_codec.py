"""Train the codec of the embedded models: an AutoencoderKL over drawn scenes.

First 32x32 crops around the object, where the detail is, at a quarter of the cost; then whole
pictures, because group norm sees other statistics there. At the end each latent channel is
brought to mean 0 and deviation 1 inside the 1x1 convolutions that exist for this
(`standardise`), so that the scaling factor is 1.

Tensor names: B pictures, C channels, Y X rows and columns.
"""

from typing import Any

import torch
from torch import Tensor

from vedit.data import scenes
from vedit.train import shapes
from vedit.train.loop import seeded

CROP = 32
KL_WEIGHT = 1e-3


class CodecTask:
    """L1 + 2 L2 + 1e-3 KL on crops, then on whole pictures from step `crop_steps`."""

    def __init__(
        self, *, seed: int, crop_steps: int, batch: int = 64, device: str = "cpu", precision: str = "fp32"
    ) -> None:
        torch.manual_seed(seed)
        self.model = shapes.codec().to(device)
        self.precision = precision
        self.seed, self.batch, self.crop_steps = seed, batch, crop_steps
        self.device = torch.device(device)
        self.config: dict[str, Any] = {
            "codec": shapes.CODEC,
            "batch": batch,
            "crop_steps": crop_steps,
            "kl_weight": KL_WEIGHT,
            "precision": precision,
        }

    def pictures(self, step: int) -> int:
        return self.batch if step < self.crop_steps else self.batch // 4

    def losses(self, step: int) -> dict[str, Tensor]:
        generator = seeded(self.seed, 1, step, self.device)
        pictures_BCYX = training_pictures(self.pictures(step), generator, crop=step < self.crop_steps)
        with shapes.precision(self.device, self.precision):
            posterior = self.model.encode(2 * pictures_BCYX - 1).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=generator, device=self.device)
            decoded_BCYX = self.model.decode(posterior.mean + posterior.std * noise).sample.float()
        error_BCYX = 0.5 * (decoded_BCYX + 1) - pictures_BCYX
        l1, l2 = error_BCYX.abs().mean(), error_BCYX.square().mean()
        kl = posterior.kl().float().mean() / posterior.mean[0].numel()
        return {"loss": l1 + 2 * l2 + KL_WEIGHT * kl, "l1": l1, "l2": l2, "kl": kl}

    def measure(self, model: Any, step: int) -> dict[str, Any]:
        return {"psnr": round(psnr_of_codec(model, 128), 3)}


def training_pictures(count: int, generator: torch.Generator, *, crop: bool) -> Tensor:
    """Draw grainy training pictures, whole or cropped around the object: BCYX in 0..1."""
    device = generator.device
    batch = scenes.sample(count, generator)
    time_B = torch.rand(count, generator=generator, device=device)
    pictures_BCYX = scenes.draw(batch, time_B)
    noise = torch.randn(pictures_BCYX.shape, generator=generator, device=device)
    pictures_BCYX = scenes.add_grain(pictures_BCYX, batch, noise)
    if not crop:
        return pictures_BCYX
    spread_B2 = 24 * (torch.rand(count, 2, generator=generator, device=device) - 0.5)
    centre_B2 = torch.stack([batch.floats["x"], batch.floats["y"]], dim=1) + spread_B2 - CROP / 2
    corner_B2 = centre_B2.long().clamp(0, scenes.SIDE - CROP)
    window = torch.arange(CROP, device=device)
    rows_BY, columns_BX = corner_B2[:, 1, None] + window, corner_B2[:, 0, None] + window
    index_B = torch.arange(count, device=device)[:, None, None]
    cropped_BYXC = pictures_BCYX.permute(0, 2, 3, 1)[index_B, rows_BY[:, :, None], columns_BX[:, None]]
    return cropped_BYXC.permute(0, 3, 1, 2).contiguous()


@torch.no_grad()
def psnr_of_codec(model: Any, count: int, seed: int = 9_000_001) -> float:
    """Return the mean PSNR in dB of coding held-out scenes once, film grain included."""
    return float(codec_psnrs(model, count, seed).mean())


@torch.no_grad()
def codec_psnrs(model: Any, count: int, seed: int = 9_000_001) -> Tensor:
    """Return one PSNR per held-out picture."""
    device = next(model.parameters()).device
    records = scenes.sample_records(count, seed, held_out=True)
    values = []
    for start in range(0, count, 64):
        pictures_BCYX = torch.cat([scenes.clip(record, 1) for record in records[start : start + 64]]).to(device)
        latents = model.encode(2 * pictures_BCYX - 1).latent_dist.mean
        decoded = (0.5 * (model.decode(latents).sample + 1)).clamp(0, 1)
        values.append(-10 * (decoded - pictures_BCYX).square().mean(dim=(1, 2, 3)).log10())
    return torch.cat(values)


@torch.no_grad()
def standardise(model: Any, *, seed: int, count: int = 2048) -> None:
    """Bring each latent channel to mean 0 and deviation 1, without changing what is decoded."""
    device = next(model.parameters()).device
    generator = seeded(seed, 2, 0, device)
    latents = [
        model.encode(2 * training_pictures(64, generator, crop=False) - 1).latent_dist.mean
        for _ in range(count // 64)
    ]
    latents_NC = torch.cat(latents).permute(0, 2, 3, 1).flatten(0, 2)
    mean_C, std_C = latents_NC.mean(dim=0), latents_NC.std(dim=0)
    into, out, channels = model.quant_conv, model.post_quant_conv, len(mean_C)
    into.weight[:channels] /= std_C[:, None, None, None]
    into.bias[:channels] = (into.bias[:channels] - mean_C) / std_C
    into.bias[channels:] -= 2 * std_C.log()  # the other half is the log variance
    out.bias += out.weight[:, :, 0, 0] @ mean_C
    out.weight *= std_C[None, :, None, None]
